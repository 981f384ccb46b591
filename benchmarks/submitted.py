"""Check the records of other people's machines, and write their table.

    python -m benchmarks submissions          # checks benchmarks/submissions, writes its page's table
    python -m benchmarks submissions FILE...  # checks these; changes nothing

Exit status 1 names each field for which a record is refused. benchmarks/submissions/README.md says how to
make and send one.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimamba_edge.bench.submission import problems
from mimamba_edge.bench.table import milliseconds
from mimamba_edge.strict_json import Malformed, read_json

__all__ = ["FOLDER", "HEADER", "PAGE", "refused", "table"]

FOLDER = Path(__file__).resolve().parent / "submissions"
PAGE = FOLDER / "README.md"
HEADER = (
    *("device", "power mode, clocks", "model", "runner", "batch", "p50 ms", "p90 ms", "p99 ms", "max ms"),
    *("at stream pace p50 ms", "at stream pace p99 ms", "energy a run", "SQNR dB", "record"),
)
_MOST_BYTES = 64_000
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,80}\.json")


def refused(path: Path) -> list[str]:
    """Return why a file is refused, each beginning with its name and the field's; empty if it is right."""
    found = []
    if not _NAME.fullmatch(path.name):
        found.append("its name: expected small letters, digits, dots and hyphens, then .json")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Malformed(f"more than {_MOST_BYTES:,} bytes")
        found += problems(read_json(path, dict[str, Any]))
    except (Malformed, OSError) as error:
        found.append(str(error))
    return [f"{path.name}: {problem}" for problem in found]


def table(results: Path) -> str:
    """Return the table of all records in the folder beside ``results`` that are right, by file name."""
    paths = [path for path in sorted((results.parent / FOLDER.name).glob("*.json")) if not refused(path)]
    rows = [
        [*map(_cell, cells), f"[{path.stem}](benchmarks/submissions/{path.name})"]
        for path in paths
        for cells in _rows(read_json(path, dict[str, Any]))
    ]
    rule = [":--" if i < 4 else "--:" for i in range(len(HEADER))]
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEADER, rule, *rows)]
    return "\n".join(lines) if rows else "No record was sent yet."


def _cell(text: str) -> str:
    """Return a text of a stranger as plain text of a table's cell."""
    return re.sub(r"[^\w .,:;()@%+/-]", " ", text)[:80]


def _rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    env = record["environment"]
    board, gpus = env["board"], env["gpus"] or []
    device, state = env["device"], ""
    if board is not None:
        held = sorted({*board["throttled"], *env["board_after"]["throttled"]})
        device += f", JetPack {board['jetpack']}"
        state = f"{board['power_mode']}, {'locked' if board['clocks_locked'] else 'not locked'}"
        state += f", GPU {board['gpu_clock_mhz']['high_mhz']:.0f} MHz"
        state += f", throttled: {' '.join(held)}" if held else ""
    elif gpus:
        device += ", " + ", ".join(f"{gpu['name']} (driver {gpu['driver']})" for gpu in gpus)
    rows = []
    for row in record["rows"]:
        figures = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "paced_p50_ms", "paced_p99_ms")
        rails = (row["energy"] or {"rails": {}})["rails"]
        energy = ", ".join(f"{name} {rail['mj_per_run']:.2f} mJ" for name, rail in rails.items())
        model = f"{row['artifact']} ({row['sha256'][:8]})"
        rows.append(
            (
                *(device, state, model, f"{row['runner']} {row['precision']}", str(row["batch"])),
                *(milliseconds(row[name]) for name in figures),
                *(energy or "not measured", f"{row['verification']['sqnr_db']:.0f}"),
            )
        )
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="*", type=Path, help="records to check (default: all that were sent)")


def run(arguments: argparse.Namespace) -> int:
    """Check the records; write the table if all are right."""
    paths: Sequence[Path] = arguments.files or sorted(FOLDER.glob("*.json"))
    found = [problem for path in paths for problem in refused(path)]
    for problem in found:
        print(problem)
    if found:
        return 1
    print(f"{len(paths)} records are right")
    if not arguments.files:
        from benchmarks.render import rendered

        PAGE.write_text(rendered(PAGE), encoding="utf-8")
    return 0

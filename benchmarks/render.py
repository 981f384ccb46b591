"""Write the tables of README.md and of docs/ from the records.

    python -m benchmarks render            # rewrites what stands between the markers
    python -m benchmarks render --check    # exit 1 if a table is not what the records say

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``; everything else is left alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import evaluation, footprint, live_latency, personal_minutes, stream_stages, training
from benchmarks.compat import table as compat
from benchmarks.front_page import front_page
from benchmarks.kernel_cycles import tables
from benchmarks.native_ops import tables as native_ops
from benchmarks.page_tables import (
    accuracy,
    as_table,
    latency,
    made,
    of_each,
    personal,
    precision,
    sensitivity,
    targets,
)
from benchmarks.record import RESULTS
from benchmarks.stress_30 import tables as stress_30
from benchmarks.submitted import table as submissions

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(
    ROOT / name
    for name in (
        "README.md",
        *(f"docs/{page}.md" for page in ("compatibility", "edge", "evaluation", "measured", "signals")),
        *("plugins/README.md", "benchmarks/submissions/README.md"),
    )
)
_BLOCK = re.compile(r"(<!-- table:([\w-]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
_Rows = Callable[[dict[str, Any]], Sequence[tuple[str, ...]]]
_OPENED = re.compile(r"<!-- table:[\w-]+ -->")


def _sourced(
    results: Path,
    kind: str,
    header: tuple[str, ...],
    rows_of: _Rows,
    left: int,
    notes_of: Callable[[dict[str, Any]], Sequence[str]] = lambda _: (),
) -> str:
    """Return a table of each device's newest record with a line on where it comes from."""

    def one(record: dict[str, Any], path: Path) -> str:
        return (
            f"{as_table(header, rows_of(record), left)}\n\n{made(record, path, results, *notes_of(record))}"
        )

    return of_each(results, kind, one)


def _soaked(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    return [(one["what"], str(one["n"]), str(one["as_expected"])) for one in record["checks"]]


def _killed(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    rows = []
    for way, pace in dict.fromkeys((kill["way"], kill["pace"]) for kill in record["kills"]):
        of = [kill for kill in record["kills"] if (kill["way"], kill["pace"]) == (way, pace)]
        equal = sum(kill["bit_equal"] for kill in of)
        worst = max(kill["missing_s"] for kill in of)
        shown = f"{pace:g} x" if pace < 1e6 else "as fast as it can"
        rows.append((f"`{way}`", shown, str(len(of)), f"{equal} of {len(of)}", f"{worst:g} s"))
    return rows


def _registers(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    kernels = record["kernels"]
    return [
        (
            f"sm_{arch}",
            str(len(kernels)),
            str(max(kernel["registers"][arch] for kernel in kernels)),
            str(sum(kernel["spilled_bytes"][arch] for kernel in kernels)),
        )
        for arch in kernels[0]["registers"]
    ]


TABLES: dict[str, Callable[[Path], str]] = {
    "results": front_page,
    "submissions": submissions,
    "latency": latency,
    "latency-targets": targets,
    "ssvep-baseline": accuracy,
    "evaluation": lambda results: _sourced(
        results, "evaluation", evaluation.HEADER, evaluation.to_rows, 2, evaluation.notes
    ),
    "training": lambda results: _sourced(
        results, "training", training.HEADER, training.to_rows, 3, training.notes
    ),
    "precision": precision,
    "sensitivity": sensitivity,
    "personal": personal,
    "personal-minutes": lambda results: _sourced(
        results,
        "personal-minutes",
        personal_minutes.HEADER,
        personal_minutes.to_rows,
        2,
        personal_minutes.notes,
    ),
    "live-latency": lambda results: _sourced(
        results, "live-latency", live_latency.HEADER, live_latency.to_rows, 1, live_latency.notes
    ),
    "stream-stages": lambda results: _sourced(
        results, "stream-stages", stream_stages.HEADER, stream_stages.to_rows, 2, stream_stages.notes
    ),
    "soak": lambda results: _sourced(results, "soak", ("checked", "times", "as expected"), _soaked, 1),
    "crash-recovery": lambda results: _sourced(
        *(results, "crash-recovery", ("killed", "pace", "times", "equal to the bit", "most missing")),
        *(_killed, 2),
    ),
    "footprint": lambda results: _sourced(results, "footprint", ("", "found"), footprint.to_rows, 2),
    "kernel-cycles": lambda results: _sourced(results, "kernel-cycles", tables.TIMES, tables.times, 1),
    "kernel-loops": lambda results: _sourced(results, "kernel-cycles", tables.LOOPS, tables.loops, 2),
    "native-ops": lambda results: _sourced(
        results, "native-ops", native_ops.TARGETS, native_ops.targets, 1, native_ops.notes
    ),
    "native-scans": lambda results: _sourced(
        results, "native-ops", native_ops.SCANS, native_ops.first_scan, 2
    ),
    "native-network": lambda results: _sourced(
        results, "native-ops", native_ops.NETWORK, native_ops.network, 1
    ),
    "compat": lambda results: _sourced(results, "compat", compat.HEADER, compat.to_rows, 2, compat.notes),
    "compat-others": lambda results: _sourced(results, "compat", compat.OTHERS, compat.others, 2),
    "stress-30": lambda results: _sourced(
        results, "stress-30", stress_30.FORMS, stress_30.forms, 2, stress_30.notes
    ),
    "stress-30-mixer": lambda results: _sourced(results, "stress-30", stress_30.MIXER, stress_30.mixer, 1),
    "kernel-registers": lambda results: _sourced(
        *(results, "kernel-registers", ("for", "kernels", "most registers", "spilled bytes"), _registers, 1)
    ),
}


def render(text: str, results: Path = RESULTS) -> str:
    """Return the text with every table rewritten.

    Raises:
        ValueError: A table of an unknown name, or one that is not closed.
    """

    def block(match: re.Match[str]) -> str:
        start, name, _, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        return f"{start}\n{TABLES[name](results)}\n\n{end}"

    if len(_OPENED.findall(text)) != len(_BLOCK.findall(text)):
        raise ValueError("a table marker is not closed by <!-- /table -->")
    return _BLOCK.sub(block, text)


def rendered(page: Path) -> str:
    """Return the text of a page with its tables, links made relative to it."""
    text = render(page.read_text(encoding="utf-8").replace(_up(page), "](benchmarks/"))
    return text.replace("](benchmarks/", _up(page))


def _up(page: Path) -> str:
    return "](" + "../" * (len(page.relative_to(ROOT).parts) - 1) + "benchmarks/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a table is out of date"
    )


def run(arguments: argparse.Namespace) -> int:
    """Rewrite or check the pages."""
    stale = [page for page in PAGES if rendered(page) != page.read_text(encoding="utf-8")]
    for page in stale:
        if arguments.check:
            print(f"{page.name}: a table is not what the records say; run python -m benchmarks render")
        else:
            page.write_text(rendered(page), encoding="utf-8")
    return int(arguments.check and bool(stale))

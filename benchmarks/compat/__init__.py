"""Models of others through `export --model`: parity, nodes, size and time (docs/compatibility.md).

Needs transformers, mambapy, einops and timm, and in the folder that ``MIMAMBA_CHECKOUTS`` names checkouts of
``mamba``, ``Vim``, ``VMamba``, ``S-D-Mamba``, ``Time-Series-Library`` and ``SEMamba``. What is missing
is said in its row. Weights are random. Each model runs in a process of its own: packages have the same names.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.compat.families import FAMILIES
from mimamba_edge.artifact import write_bytes
from mimamba_edge.console import show_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
_START = "<!-- compat -->\n"
_HEADER = (
    "model",
    "source",
    "parameters",
    "scans",
    "nodes",
    "export s",
    "file / weights",
    "SQNR dB",
    "against",
    "ms",
    "eager ms",
)
_LIMIT_S = 900


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--only", help="names of models, separated by commas")
    parser.add_argument("--write", action="store_true", help="put the table into docs/compatibility.md")


def run(arguments: argparse.Namespace) -> int:
    """Export, verify and time each model; return 1 if one that could be made did not pass."""
    names = arguments.only.split(",") if arguments.only else list(FAMILIES)
    rows, failed = [], False
    for name in names:
        found = _one(name)
        failed = failed or "failed" in found
        rows.append(_row(name, found))
    show_table("", _HEADER, rows, left=(0, 1))
    if arguments.write:
        lines = [" | ".join(row).join(("| ", " |")) for row in (_HEADER, ["---"] * len(_HEADER), *rows)]
        head, _, _ = PAGE.read_text(encoding="utf-8").partition(_START)
        write_bytes(PAGE, (head + _START + "\n" + "\n".join(lines) + "\n").encode())
    return int(failed)


def _one(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "benchmarks.compat.one", name, str(report)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            return {"failed": f"no end within {_LIMIT_S} s"}
        if not report.is_file():
            lines = done.stderr.strip().splitlines() or ["no word"]
            return {"failed": lines[-1][:160]}
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def _row(name: str, found: dict[str, Any]) -> list[str]:
    family = FAMILIES[name]
    head = [family.title, family.source]
    why = found.get("failed") or found.get("missing")
    if why:
        return [
            *head,
            *[""] * (len(_HEADER) - 3),
            f"not run: {why}" if "missing" in found else f"failed: {why}",
        ]
    return [
        *head,
        f"{found['parameters']:,}",
        str(found["scans"]),
        str(found["nodes"]),
        f"{found['export_s']:.1f}",
        f"{found['file_bytes'] / found['weight_bytes']:.2f}",
        f"{found['sqnr_db']:.1f}",
        "own code" if found["own_code"] else "our scan",
        f"{found['ort_ms']:.1f}",
        f"{found['eager_ms']:.1f}",
    ]

"""The one table of README.md: the figures that a reader asks for first, each a link to its table.

All come from the newest records; a row is left out while its record is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.page_tables import as_table, newest
from mimamba_edge.bench.table import milliseconds

__all__ = ["front_page"]

PAGE = "docs/measured.md"
_EAGER, _PORTABLE, _NATIVE = "torch-eager-parallel", "onnxruntime-cpu", "onnxruntime-cpu-native"


def _record(results: Path, kind: str) -> dict[str, Any] | None:
    """Return the newest record of a kind, of whichever device."""
    paths = sorted(newest(results, kind), key=lambda path: path.name)
    if not paths:
        return None
    record: dict[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
    return record


def _linked(text: str, anchor: str) -> str:
    return f"[{text}]({PAGE}#{anchor})"


def _latency(results: Path) -> list[tuple[str, ...]]:
    record = _record(results, "latency")
    if record is None:
        return []
    p50 = {(row["runner"], row["batch"]): row["p50_ms"] for row in record["rows"]}
    cells = (
        ("one window, ONNX Runtime", _PORTABLE, 1),
        ("one window, with the native ops", _NATIVE, 1),
    )
    rows: list[tuple[str, ...]] = []
    for what, runner, batch in cells:
        ours, eager = p50.get((runner, batch)), p50.get((_EAGER, batch))
        if ours is None or eager is None:
            continue
        beside = f"PyTorch {_linked(f'{milliseconds(eager)} ms', 'latency')}, {eager / ours:.0f} x"
        rows.append((f"{what}, median", _linked(f"{milliseconds(ours)} ms", "latency"), beside))
    return rows


def _live(results: Path) -> list[tuple[str, ...]]:
    record = _record(results, "live-latency")
    if record is None:
        return []
    one = record["one"]
    p50, p99 = (f"{one['latency_ms'][key]:.1f}" for key in ("p50", "p99"))
    delay = f"{one['algorithmic_delay_ms']:.0f} ms"
    what = "live, newest sample to decision, median and p99"
    beside = f"the signal that it describes is {_linked(delay, 'live')} old"
    return [(what, _linked(f"{p50} and {p99} ms", "live"), beside)]


def _accuracy(results: Path) -> list[tuple[str, ...]]:
    record = _record(results, "ssvep-baseline")
    rows: list[tuple[str, ...]] = []
    for row in record["rows"] if record else ():
        low, high = row["network"]["interval"]
        ours = f"{row['network']['mean']:.2f} ({low:.2f} to {high:.2f})"
        beside = f"linear model {_linked('{:.2f}'.format(row['baseline']['mean']), 'accuracy')}; chance 0.50"
        what = f"accuracy on held-out runs, {len(row['ch_names'])} channels"
        rows.append((what, _linked(ours, "accuracy"), beside))
    return rows


def front_page(results: Path) -> str:
    """Return the table of README.md."""
    rows = [*_latency(results), *_live(results), *_accuracy(results)]
    if not rows:
        return "Not measured on a clean commit yet: `python -m benchmarks latency`."
    record = _record(results, "latency") or _record(results, "ssvep-baseline")
    about = f"One core of an {record['environment']['device']}; " if record else ""
    about += "Muse recordings of one person who saw flickering light, two classes: no emotion. "
    about += f"[All tables]({PAGE}), each with the command that makes it."
    return f"{as_table(('MS-iMamba, default network', 'mimamba-edge', 'beside it'), rows, 1)}\n\n{about}"

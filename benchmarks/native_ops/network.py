"""MS-iMamba's default network at batch 1 on one thread, by everything that runs it, on the same windows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.native_ops.timing import in_turn
from mimamba_edge.bench.entries import Variant, entries_of
from mimamba_edge.bench.run import run_bench, unverified
from mimamba_edge.contract import WINDOWS
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.parity import find_windows
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.base import Runner

__all__ = ["NATIVE", "measure_network"]

NATIVE, BODY = "onnxruntime-cpu-native", "onnxruntime-cpu"
_PAIRS = 1000
_KEPT = ("runner", "p50_ms", "p99_ms", "min_ms", "n_runs", "floor_ratio", "why_not", "unstable_why")


def untrained(folder: Path, data: Path | None) -> Path:
    """Write the reference model's network with untrained weights, and its export; return the exported file.

    What a window costs follows from sizes and its rhythms, not from what was learnt; the reference model
    itself comes without the checkpoint that PyTorch would need.
    """
    import torch

    from mimamba_edge.export.api import export_model
    from mimamba_edge.export.checkpoint import save_checkpoint
    from mimamba_edge.family import family_of

    contract = load_model(builtin_model()).contract
    torch.manual_seed(0)
    save_checkpoint(folder / "default.pt", family_of(contract).network(contract.model).eval(), contract)
    export_model(folder / "default.pt", folder / "default.onnx", data=data, progress=lambda _: None)
    return folder / "default.onnx"


def measure_network(folder: Path, data: Path | None) -> tuple[dict[str, Any], bool]:
    """Return the figures and whether every answer of ours is right.

    ``rows``: by the clock, in blocks that take turns (``mimamba-edge bench``). ``paired``: native ops and
    function bodies window by window, by the thread's CPU time. ``floor``: the network's dense arithmetic at
    the rate of an sgemm measured between the blocks.
    """
    model = untrained(folder, data)
    windows = find_windows(load_model(model).contract, data=data)
    entries = entries_of([Variant(str(model), "cpu")], windows, threads=1, others=True)
    record = run_bench(entries, windows, threads=1)
    rows = [{key: row[key] for key in _KEPT} for row in record["rows"]]
    native = next((row["p50_ms"] for row in rows if row["runner"] == NATIVE), None)
    for row in rows:
        if native is not None and row["p50_ms"] is not None:
            row["against_native"] = round(row["p50_ms"] / native, 4)
    figures = {
        "windows": str(windows),
        "weights": "untrained, seed 0",
        "rows": rows,
        "floor": record["floor"],
        "paired": _paired(model, windows),
    }
    return figures, native is not None and not unverified(record)


def _paired(model: Path, windows: WindowSet) -> dict[str, Any]:
    """Return milliseconds of native ops and of function bodies, both on the same window in turn."""
    many = windows.data[:512]
    with load_model(model, threads=1) as native, load_model(model, threads=1, native_ops=False) as bodies:

        def over_windows(runner: Runner) -> Callable[[], Any]:
            turns = itertools.count()

            def call() -> Any:
                at = next(turns) % len(many)
                return runner.infer({WINDOWS: many[at : at + 1]})

            return call

        found = in_turn({NATIVE: over_windows(native), BODY: over_windows(bodies)}, _PAIRS, near_s=0.001)
    return {**found, "native_against_body": round(found[NATIVE]["cpu_ms"] / found[BODY]["cpu_ms"], 4)}

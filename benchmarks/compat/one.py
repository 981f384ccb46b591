"""One model of the table, in a process of its own: ``python -m benchmarks.compat.one NAME REPORT.json``."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.compat.catalogue import ENTRIES
from benchmarks.compat.entry import Compared, commit_of, version_of
from benchmarks.compat.others import export_by_others
from benchmarks.compat.reference import by_own_references
from benchmarks.compat.timing import medians_ms
from mimamba_edge.errors import DependencyError, MimambaError
from mimamba_edge.export.capture import capture
from mimamba_edge.export.capture.stubs import without_compiled_modules
from mimamba_edge.export.foreign.export import ModuleExport, export_module
from mimamba_edge.export.foreign.factory import frozen
from mimamba_edge.export.foreign.flat import flat
from mimamba_edge.export.foreign.inputs import find_inputs, parse_shape
from mimamba_edge.numerics.metrics import sqnr_db
from mimamba_edge.runtime.ort import OrtRunner

LEAST_SQNR_DB = 90.0
MOST_EXPORT_S = 60.0
MOST_OVER_WEIGHTS = 1.05
_JUDGED = 4
"""Inputs that a package's own references answer."""
_GRAPH_BYTES = 1 << 18
"""A small network's graph is larger than its weights; no file has more than this besides them."""


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Export a model by us and by others; time ONNX Runtime and PyTorch in turn, one thread each."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    entry = ENTRIES[name]
    with without_compiled_modules():
        model = frozen(entry.make(), name)
    inputs = find_inputs(parse_shape(entry.input), None, model)
    out = folder / f"{name}.onnx"
    start = time.process_time()
    result = export_module(model, out, inputs, name=name)
    found = {"export_s": time.process_time() - start, **_export_figures(model, out, result)}
    with np.load(out.with_suffix("").with_suffix(".ref.npz")) as held:
        windows, *answers = (held[key] for key in held.files)
    if not result.own_code:
        found |= _judged_by_references(model, entry, out, windows)
    others = export_by_others(model, entry, windows, answers, folder) if entry.scans else {}
    found |= _times(model, out, result, others)
    found["others"] = {key: figures for key, (figures, _) in others.items()}
    found["missed"] = _missed(entry, found)
    return found


def _export_figures(model: torch.nn.Module, out: Path, result: ModuleExport) -> dict[str, Any]:
    graph = onnx.load(out).graph
    held = [*model.parameters(), *model.buffers()]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "weight_bytes": sum(value.numel() * value.element_size() for value in held),
        "file_bytes": out.stat().st_size,
        "scans": sum(node.op_type == "SelectiveScan" for node in graph.node),
        "nodes": len(graph.node),
        "sqnr_db": result.parity.sqnr_db,
        "against": "own code" if result.own_code else "our scan",
        "any_batch": result.batch is None,
    }


def _judged_by_references(
    model: torch.nn.Module, entry: Compared, out: Path, windows: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Return the SQNR against the package's own references, where the model runs by them."""
    few = windows[:_JUDGED]
    with OrtRunner(out) as runner:
        given = [runner.infer({runner.signature.input.name: one[None]}) for one in few]
    got = [np.concatenate([one[name] for one in given]) for name in given[0]]
    try:
        with torch.no_grad(), flat(model), by_own_references(model) as ran:
            right = [value.numpy() for value in model(torch.from_numpy(few))]
    except Exception:  # a mixer without a slow path
        return {}
    if len(ran) != entry.scans:
        return {}
    return {
        "sqnr_db": min(
            sqnr_db(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(right, got, strict=True)
        ),
        "against": "its references",
    }


def _times(model: torch.nn.Module, out: Path, result: ModuleExport, others: dict[str, Any]) -> dict[str, Any]:
    """Return medians at batch 1, PyTorch by the model's own code where it runs; add to others theirs."""
    windows = result.windows.data
    scans = contextlib.nullcontext() if result.own_code else capture(model)
    with OrtRunner(out, threads=1, native_ops=True) as runner, torch.no_grad(), scans:
        name = runner.signature.input.name
        called: dict[str, Callable[[Any], object]] = {
            "ort_ms": lambda one: runner.infer({name: one}),
            "eager_ms": lambda one: model(torch.from_numpy(one)),
        }
        called |= {key: session for key, (_, session) in others.items() if session is not None}
        taken = medians_ms(called, windows)
    for key, (figures, session) in others.items():
        if session is not None:
            figures["ort_ms"] = taken.pop(key)
    return taken


def _missed(entry: Compared, found: dict[str, Any]) -> list[str]:
    """Return in words which of the bounds that every row is held to were missed."""
    most_bytes = max(MOST_OVER_WEIGHTS * found["weight_bytes"], found["weight_bytes"] + _GRAPH_BYTES)
    bounds = {
        f"{found['sqnr_db']:.1f} dB": found["sqnr_db"] >= LEAST_SQNR_DB,
        f"{found['scans']} scans, not {entry.scans}": found["scans"] == entry.scans,
        "one batch size only": found["any_batch"] or not entry.any_batch,
        f"export took {found['export_s']:.0f} s": found["export_s"] < MOST_EXPORT_S,
        f"file of {found['file_bytes']:,} bytes": found["file_bytes"] <= most_bytes,
    }
    return [text for text, held in bounds.items() if not held]


def _rounded(value: Any) -> Any:
    """Return figures with five digits each: a record is small."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> int:
    """Write the report; return 0."""
    name, report = sys.argv[1:]
    entry = ENTRIES[name]
    warnings.simplefilter("ignore")
    sources = {package: version_of(package) for package in entry.packages}
    sources |= {folder: commit_of(folder) for folder in entry.checkouts}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = measure(name, Path(folder))
        except DependencyError as error:
            found = {"missing": error.what}
        except MimambaError as error:
            found = {"failed": " ".join(str(error).split())[:300]}
    found["sources"] = {key: value for key, value in sources.items() if value}
    Path(report).write_text(json.dumps(_rounded(found)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

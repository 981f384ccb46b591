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
from benchmarks.compat.timing import medians_ms
from mimamba_edge.errors import DependencyError, MimambaError
from mimamba_edge.export.capture import capture
from mimamba_edge.export.capture.stubs import without_compiled_modules
from mimamba_edge.export.foreign.export import ModuleExport, export_module
from mimamba_edge.export.foreign.factory import frozen
from mimamba_edge.export.foreign.inputs import find_inputs, parse_shape
from mimamba_edge.runtime.ort import OrtRunner

LEAST_SQNR_DB = 90.0
MOST_EXPORT_S = 60.0
MOST_OVER_WEIGHTS = 1.05
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
        "own_code": result.own_code,
        "any_batch": result.batch is None,
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

"""One model of the table, in a process of its own: ``python -m benchmarks.compat.one NAME REPORT.json``."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from benchmarks.compat.families import FAMILIES
from mimamba_edge.errors import DependencyError, MimambaError
from mimamba_edge.export.capture import capture
from mimamba_edge.export.capture.stubs import without_compiled_modules
from mimamba_edge.export.foreign.export import export_module
from mimamba_edge.export.foreign.factory import frozen
from mimamba_edge.export.foreign.inputs import find_inputs, parse_shape
from mimamba_edge.runtime.ort import OrtRunner

_RUNS = 15


def measure(name: str) -> dict[str, Any]:
    """Export a model, and time ONNX Runtime and PyTorch in turn, one thread each."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    family = FAMILIES[name]
    with without_compiled_modules():
        model = frozen(family.make(), name)
    inputs = find_inputs(parse_shape(family.input), None, model)
    with tempfile.TemporaryDirectory() as folder:
        out, start = Path(folder) / f"{name}.onnx", time.perf_counter()
        result = export_module(model, out, inputs, name=name)
        export_s = time.perf_counter() - start
        graph = onnx.load(out).graph
        held = [*model.parameters(), *model.buffers()]
        return {
            "parameters": sum(p.numel() for p in model.parameters()),
            "weight_bytes": sum(value.numel() * value.element_size() for value in held),
            "file_bytes": out.stat().st_size,
            "scans": sum(node.op_type == "SelectiveScan" for node in graph.node),
            "nodes": len(graph.node),
            "export_s": export_s,
            "sqnr_db": result.parity.sqnr_db,
            "own_code": result.own_code,
            **_times(model, out, result),
        }


def _times(model: torch.nn.Module, out: Path, result: Any) -> dict[str, float]:
    """Return medians of the process's time at batch 1; PyTorch by the model's own code where it runs."""
    windows = result.windows.data
    taken: dict[str, list[float]] = {"ort_ms": [], "eager_ms": []}
    scans = contextlib.nullcontext() if result.own_code else capture(model)
    with OrtRunner(out, threads=1, native_ops=True) as runner, torch.no_grad(), scans:
        for turn in range(_RUNS + 2):
            one = windows[turn % len(windows)][None]
            start = time.process_time()
            runner.infer({runner.signature.input.name: one})
            middle = time.process_time()
            model(torch.from_numpy(one))
            end = time.process_time()
            if turn >= 2:
                taken["ort_ms"].append(middle - start)
                taken["eager_ms"].append(end - middle)
    return {key: statistics.median(values) * 1e3 for key, values in taken.items()}


def main() -> int:
    """Write the report; return 0."""
    name, report = sys.argv[1:]
    warnings.simplefilter("ignore")
    try:
        found = measure(name)
    except DependencyError as error:
        found = {"missing": error.what}
    except MimambaError as error:
        found = {"failed": " ".join(str(error).split())[:300]}
    Path(report).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The same weights as torch's tracing exporter writes them: each scan a Loop over time, or all its steps."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from benchmarks.stress_30.network import Mamba, scan_steps
from mimamba_edge.export.onnx.translate import quiet

__all__ = ["export_loops", "export_unrolled"]

_OPSET = 18


def _export(model: nn.Module, path: Path, example: torch.Tensor) -> Path:
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example,), str(path), dynamo=False, opset_version=_OPSET)
    return path


def export_loops(model: nn.Module, path: Path, example: torch.Tensor) -> Path:
    """Write a file whose scans are ONNX Loops, by ``torch.jit.script`` as in the issue; return its path."""
    Mamba.scripted = torch.jit.script(scan_steps)
    try:
        return _export(model, path, example)
    finally:
        Mamba.scripted = None


def export_unrolled(model: nn.Module, path: Path, example: torch.Tensor) -> Path:
    """Write a file of every step of every scan; return its path."""
    return _export(model, path, example)

"""Optional packages: what to install when a verb needs one that is not there."""

from __future__ import annotations

import importlib.util

from mimamba_edge.errors import DependencyError

__all__ = ["need_export"]


def need_export(what: str) -> None:
    """Check that the workstation half can be imported.

    Raises:
        DependencyError: torch, onnx, onnxscript or safetensors is not installed.
    """
    missing = [
        m for m in ("torch", "onnx", "onnxscript", "safetensors") if importlib.util.find_spec(m) is None
    ]
    if missing:
        raise DependencyError(
            f"{what} needs packages that are not installed: {', '.join(missing)}",
            do='on a workstation: pip install "mimamba-edge[export,cpu]"',
        )

"""Optional packages: what to install when a verb needs one that is not there."""

from __future__ import annotations

import importlib.util

from mimamba_edge.errors import DependencyError

__all__ = ["EXPORT_PACKAGES", "need_export"]

EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "safetensors")
"""What the workstation half imports."""


def need_export(what: str) -> None:
    """Check that the workstation half can be imported.

    Raises:
        DependencyError: One of :data:`EXPORT_PACKAGES` is not installed.
    """
    missing = [name for name in EXPORT_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"{what} needs packages that are not installed: {', '.join(missing)}",
            do='on a workstation: pip install "mimamba-edge[export,cpu]"',
        )

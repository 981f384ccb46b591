"""Optional packages: what to install when a verb needs one that is not there."""

from __future__ import annotations

import importlib.util
import resource

from mimamba_edge.errors import ConfigError, DependencyError, pip_install

__all__ = ["EXPORT_PACKAGES", "need_export"]

EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "safetensors", "joblib")
"""What the workstation half imports."""
_LEAST_BYTES = 1 << 30
"""Of address space: torch and onnx take 0.7 GiB, and libtorch aborts the process where it finds none."""


def need_export(what: str) -> None:
    """Check that the workstation half can be imported.

    Raises:
        ConfigError: The process may not take the memory for it.
        DependencyError: One of :data:`EXPORT_PACKAGES` is not installed.
    """
    missing = [name for name in EXPORT_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyError(
            f"{what} needs packages that are not installed: {', '.join(missing)}",
            do=f"on a workstation: {pip_install('cpu', 'export')}",
        )
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_BYTES:
        raise ConfigError(
            f"{what} needs more memory than this process may take",
            got=f"a limit of {limit >> 20:,} MiB",
            expected=f"at least {_LEAST_BYTES >> 20:,} MiB",
            do="raise the limit (`ulimit -v`)",
        )

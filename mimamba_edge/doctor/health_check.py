"""One line of `doctor`, and what its checks share."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

__all__ = ["HealthCheck", "import_version"]


@dataclass(frozen=True)
class HealthCheck:
    """One line: what was looked at, how it stands (``ok``, ``warning``, ``wrong``), what to do."""

    name: str
    state: str
    value: str
    remedy: str = ""


def import_version(name: str) -> tuple[str | None, str]:
    """Return a package's version, or ``None`` and why it cannot be imported."""
    if importlib.util.find_spec(name) is None:
        return None, "not installed"
    try:
        return str(importlib.import_module(name).__version__), ""
    except Exception as error:
        return None, f"cannot be imported: {type(error).__name__}: {error}"

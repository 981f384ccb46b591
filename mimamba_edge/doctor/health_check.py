"""One line of `doctor`, and what its checks share."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HealthCheck", "import_version", "with_own_pip"]


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


def with_own_pip(remedy: str) -> str:
    """Return a remedy whose pip is that of the Python that runs, which need not be the one on the PATH."""
    pip = Path(sys.prefix) / "bin" / "pip"
    if not pip.is_file() or shutil.which("pip") == str(pip):
        return remedy
    sudo = "" if os.access(pip.parent, os.W_OK) else "sudo "
    return re.sub(r"(?<![\w/])pip (?=(?:un)?install )", f"{sudo}{pip} ", remedy)

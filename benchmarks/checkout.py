"""Lets a checkout that is not installed import all of ``mimamba_edge``: a GPU machine may have no index.

``export/`` and ``plugins/`` are packages of ``mimamba_edge`` by pyproject's ``package-dir`` alone, which only
an installation knows.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import mimamba_edge

__all__ = ["make_importable"]

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("export", "plugins")


def make_importable() -> None:
    """Put the mapped folders where ``import`` finds them; nothing where the package is installed."""
    for folder in MAPPED:
        name = f"mimamba_edge.{folder}"
        if importlib.util.find_spec(name) is not None:
            continue
        spec = importlib.util.spec_from_file_location(
            name, ROOT / folder / "__init__.py", submodule_search_locations=[str(ROOT / folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        setattr(mimamba_edge, folder, module)

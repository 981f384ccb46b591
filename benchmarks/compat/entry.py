"""What a row of the table needs, and how entries find the code of others: packages and checkouts."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.errors import DependencyError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Compared", "called_with", "checkout", "commit_of", "imported", "version_of"]

VARIABLE = "MIMAMBA_CHECKOUTS"
"""Names the folder that holds checkouts of repositories."""


@dataclass(frozen=True)
class Compared:
    """One model of the table.

    Attributes:
        title: For people, with its size if that is not the usual one.
        source: Package, or repository as ``owner/name``, for people.
        input: Its shape, as ``--input``.
        make: Returns it with random weights; everything that is not in our own ``export`` extra is imported
            there, so that a row whose package is missing says so.
        scans: Selective scans that it runs, and nodes that the graph must have.
        packages: Distributions whose versions belong to the row.
        checkouts: Folders of ``MIMAMBA_CHECKOUTS`` whose commits belong to the row.
        any_batch: Whether torch must leave the batch size open, as for what streams.
        keyword: Name of the input in its ``forward`` if transformers' own exporter is to be run beside ours.
    """

    title: str
    source: str
    input: str
    make: Callable[[], nn.Module]
    scans: int = 0
    packages: tuple[str, ...] = ()
    checkouts: tuple[str, ...] = ()
    any_batch: bool = False
    keyword: str | None = None


def checkout(name: str, *inner: str) -> None:
    """Put folders of a checkout first on the path; without ``inner``, the checkout itself.

    Raises:
        DependencyError: It is not there.
    """
    folder = _folder(name)
    if not folder.is_dir():
        raise DependencyError(f"no checkout of {name}", do=f"name the folder that holds it in {VARIABLE}")
    for part in inner or (".",):
        sys.path.insert(0, str(folder / part))


def imported(name: str) -> Any:
    """Return a module of others.

    Raises:
        DependencyError: It, or one that it imports, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DependencyError(f"{error.name} is not installed", do=f"pip install {error.name}") from error


def called_with(model: nn.Module, split: Callable[[Tensor], tuple[Any, ...]]) -> nn.Module:
    """Return a module of one input that calls a model with what a function makes of it."""
    from torch import nn

    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Any:
            return self.model(*split(x))

    return Calls()


def _folder(name: str) -> Path:
    return Path(os.environ.get(VARIABLE) or "no-such-folder") / name


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit_of(name: str) -> str | None:
    """Return the commit of a checkout; where it holds no history, the version that its package states."""
    folder = _folder(name)
    asked = ["git", "-C", str(folder), "rev-parse", "--show-prefix", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode == 0:
        prefix, commit = done.stdout.split("\n")[:2]
        return commit if not prefix else None  # a folder inside another repository has no commit of its own
    for file in sorted(folder.glob("*/__init__.py")):
        if found := re.search(r"__version__ = \"([\w.]+)\"", file.read_text(encoding="utf-8")):
            return found[1]
    return None

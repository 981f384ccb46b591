"""A folder that is whole or not there, and that replaces only what was written the same way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.errors import OutputError
from mimamba_edge.files import whole_folder

__all__ = ["MADE_BY", "replaced_folder"]

MADE_BY = "mimamba-edge pack"


@contextlib.contextmanager
def replaced_folder(folder: Path, *, mark: str, by: str) -> Iterator[Path]:
    """Give a new folder to fill, which takes the name ``folder`` when the block ends well.

    It is filled outside of ``folder``'s parent where that can be, since a server may watch the parent.

    Args:
        folder: What to make or replace.
        mark: File that a folder must hold to be replaced.
        by: File in it that must say :data:`MADE_BY`.

    Raises:
        OutputError: The place cannot be written, or ``folder`` is there and was not written by this.
    """
    folder = Path(folder)
    _refuse_others(folder, mark, by)
    with whole_folder(folder, outside=True) as fresh:
        yield fresh


def _refuse_others(folder: Path, mark: str, by: str) -> None:
    if not (folder.exists() or folder.is_symlink()):
        return
    try:
        ours = (folder / mark).is_file() and MADE_BY in (folder / by).read_text(encoding="utf-8")
    except (OSError, ValueError):
        ours = False
    if folder.is_symlink() or not ours:
        raise OutputError(
            f"{folder} would be overwritten",
            got="files that this command did not write",
            expected="a new folder, or one that this command wrote",
            do="choose another name or output folder",
        )

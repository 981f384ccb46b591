"""A folder that is whole or not there, and that replaces only what was written the same way."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.artifact import made_folder
from mimamba_edge.errors import OutputError

__all__ = ["MADE_BY", "replaced_folder"]

MADE_BY = "mimamba-edge package"


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
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(made_folder(folder.parent))
            place = _aside(folder.parent)
            aside = stack.enter_context(tempfile.TemporaryDirectory(prefix=".mimamba-", dir=place))
            fresh, old = Path(aside) / "new", Path(aside) / "old"
            fresh.mkdir()
            yield fresh
            if folder.exists():
                folder.rename(old)
            try:
                fresh.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}",
            got=error.strerror or str(error),
            expected="a folder that this user may write to, with room",
            do="choose another output folder",
        ) from error


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


def _aside(parent: Path) -> Path:
    """Return the parent's parent if a rename works from there (writable, same disk), else ``parent``."""
    above = parent.resolve().parent
    same = above.stat().st_dev == parent.stat().st_dev
    return above if same and os.access(above, os.W_OK) else parent

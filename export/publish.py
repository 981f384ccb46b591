"""Files that appear together: written beside their place under other names, moved there at the end."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from mimamba_edge.artifact import check_writable, made_folder, manifest_path
from mimamba_edge.errors import OutputError

__all__ = ["staging"]


@contextlib.contextmanager
def staging(
    targets: Iterable[Path], *, manifests: bool = True, outdated: Iterable[Path] = ()
) -> Iterator[Path]:
    """Give a hidden folder for files; move them to their names, all together, when the block ends well.

    On any exception (Ctrl-C too) the folder is removed and the files that were there before stay.

    Args:
        targets: Final paths, the first one in a folder that holds all. The block writes each, by its path
            from there, in the folder that it is given; they are moved in this order, but the first one last.
        manifests: Each has its manifest beside it, which is moved too.
        outdated: Files of an earlier run that are removed with the move.

    Raises:
        OutputError: The folder cannot be written, or the disk is full.
    """
    targets = list(targets)
    moved = [*targets[1:], targets[0], *(map(manifest_path, targets) if manifests else ())]
    for path in moved:
        check_writable(path)
    folder = targets[0].parent
    hidden: Path | None = None
    try:
        with made_folder(folder):
            try:
                hidden = Path(tempfile.mkdtemp(prefix=f".{targets[0].name}.", suffix=".part", dir=folder))
                yield hidden
                with _deaf_to_ctrl_c():
                    for path in moved:
                        path.parent.mkdir(exist_ok=True)
                    for path in outdated:
                        path.unlink(missing_ok=True)
                    for path in moved:
                        (hidden / path.relative_to(folder)).replace(path)
            finally:
                if hidden is not None:
                    shutil.rmtree(hidden, ignore_errors=True)
    except OutputError as error:
        what = error.what if hidden is None else error.what.replace(str(hidden), str(folder))
        raise OutputError(what, got=error.got, expected=error.expected, do=error.do) from error
    except OSError as error:
        raise OutputError(f"cannot write to {folder}", got=error.strerror) from error


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C for the moment that the moves take, so that it does not leave half of them done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

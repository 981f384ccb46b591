"""Arrays that jobs share travel as the path of a file, which each worker maps."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import WorkerError
from mimamba_edge.export.jobs.leftovers import in_use, remove_leftovers
from mimamba_edge.export.jobs.results import jobs_folder
from mimamba_edge.files import writing_failed
from mimamba_edge.signal.mapped import MappedWindows

__all__ = ["ArrayFile", "as_file"]


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file.

    Attributes:
        path: The file.
        dtype: Of the array.
        offset: Bytes before it.
        shape: Of the array.
    """

    path: str
    dtype: str
    offset: int
    shape: tuple[int, ...]

    def open(self) -> NDArray[Any]:
        """Map it, to read only.

        Raises:
            WorkerError: This process cannot see it, or it holds less.
        """
        try:
            return MappedWindows(self.path, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise WorkerError(
                f"a worker on {os.uname().nodename} cannot read {self.path}",
                got=str(error),
                expected="the file that the other machines see by this path",
                do="set MIMAMBA_CACHE to a folder on a disk that all machines of the cluster share, "
                "and keep the recordings there; see docs/evaluation.md",
            ) from error


@contextlib.contextmanager
def as_file(array: NDArray[Any]) -> Iterator[ArrayFile]:
    """Give the file of an array: its own where it is a mapped one, else a new one, removed at the end.

    Raises:
        OutputError: It cannot be written, or the disk is full.
    """
    base: object = array.base
    if isinstance(array, np.memmap) and isinstance(base, mmap.mmap) and array.filename is not None:
        yield ArrayFile(str(Path(array.filename).absolute()), array.dtype.str, array.offset, array.shape)
        return
    with _new_file() as path:
        try:
            np.ascontiguousarray(array).tofile(path)
        except OSError as error:
            raise writing_failed(path, error) from error
        yield ArrayFile(str(path), array.dtype.str, 0, array.shape)


@contextlib.contextmanager
def _new_file() -> Iterator[Path]:
    """Give the path of a new private file, and remove it at the end, with those whose makers were killed."""
    folder = jobs_folder()
    remove_leftovers(folder.glob("*.array") if folder else ())
    handle, name = tempfile.mkstemp(suffix=".array", dir=folder)
    os.close(handle)
    try:
        with in_use(Path(name)):
            yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)

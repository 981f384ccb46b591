"""Windows that may lie in a file larger than the memory: taken in parts, which do not stay behind."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Index", "MappedWindows", "blocks", "take"]

BLOCK_BYTES = 1 << 24
Index = NDArray[np.int64] | slice
"""Which of many windows."""


class MappedWindows(np.memmap[Any, np.dtype[np.float64]]):
    """An array over a file, which is what another process is sent of it."""

    def __reduce__(self) -> Any:
        base: object = self.base
        if isinstance(base, mmap.mmap):
            return MappedWindows, (self.filename, self.dtype.str, "r", self.offset, self.shape)
        return np.asarray(self).__reduce__()


def take(data: NDArray[np.float64], index: Index) -> NDArray[np.float64]:
    """Return some of many windows ``(n, c, l)``, as an array of their own.

    Pages of a mapped file that were read for it leave the process again; the system keeps them as long as
    nobody needs the memory.
    """
    found = np.array(data[index], dtype=np.float64, subok=False)
    mapping = getattr(data, "_mmap", None)
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
    return found


def blocks(data: NDArray[np.float64], rows: NDArray[np.int64] | None = None) -> Iterator[NDArray[np.float64]]:
    """Yield the windows ``(n, c, l)``, or those of ``rows``, 16 MiB at a time."""
    count = len(data) if rows is None else len(rows)
    step = max(1, BLOCK_BYTES // max(1, data.itemsize * math.prod(data.shape[1:])))
    for start in range(0, count, step):
        part = slice(start, start + step)
        yield take(data, part if rows is None else rows[part])

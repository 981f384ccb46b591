"""The last rows of an endless table, found by their absolute index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RingBuffer"]


class RingBuffer:
    """Keeps at least the last ``keep`` rows; memory does not grow.

    Args:
        keep: Rows that can be read back.
        columns: Columns of a row.
    """

    def __init__(self, keep: int, columns: int) -> None:
        self._keep = keep
        self._rows: NDArray[np.float64] = np.zeros((4 * keep, columns))
        self._first = 0
        self._length = 0

    @property
    def first(self) -> int:
        """Index of the oldest row that was promised to be kept; it does not depend on how rows came."""
        return max(self._first, self.end - self._keep)

    @property
    def end(self) -> int:
        """Index after the newest row."""
        return self._first + self._length

    def append(self, rows: NDArray[np.float64]) -> None:
        """Add rows ``(n, columns)`` at the end."""
        step = 2 * self._keep
        for at in range(0, len(rows), step):
            part = rows[at : at + step]
            self.extend(len(part))[:] = part

    def extend(self, n: int) -> NDArray[np.float64]:
        """Add ``n`` rows, at most twice those to keep, and return them to be filled."""
        if self._length + n > len(self._rows):
            self._drop(self._length - self._keep)
        self._length += n
        return self._rows[self._length - n : self._length]

    def fill(self, n: int, row: NDArray[np.float64]) -> None:
        """Add ``n`` equal rows, storing no more of them than can be read back."""
        skipped = max(0, n - self._keep)
        if skipped:
            self._first, self._length = self.end + skipped, 0
        self.append(np.broadcast_to(row, (n - skipped, len(row))))

    def rewind(self, end: int) -> None:
        """Forget the rows from index ``end`` on."""
        self._first = min(self._first, end)
        self._length = end - self._first if end > self._first else 0

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return a copy of the rows ``start`` to ``stop``."""
        if start < self._first or stop > self.end:
            raise IndexError(
                f"rows {start} to {stop} of a ring buffer that holds {self._first} to {self.end}"
            )
        return self._rows[start - self._first : stop - self._first].copy()

    def _drop(self, n: int) -> None:
        kept = self._length - n
        self._rows[:kept] = self._rows[n : self._length].copy()
        self._first, self._length = self._first + n, kept

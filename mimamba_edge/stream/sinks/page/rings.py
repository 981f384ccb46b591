"""The newest items of a series and the newest filtered samples, for readers each at its own pace."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Series", "SignalRing"]

_T = TypeVar("_T")
_KEPT_REWINDS = 16


class Series(Generic[_T]):
    """The last items of an endless series, each known by its number.

    Args:
        keep: Items that can be read back.
    """

    def __init__(self, keep: int) -> None:
        self._items: deque[_T] = deque(maxlen=keep)
        self.end = 0

    def append(self, item: _T) -> None:
        """Add an item; the oldest one may go."""
        self._items.append(item)
        self.end += 1

    def since(self, number: int) -> list[_T]:
        """Return the items from ``number`` on, as far as they are kept."""
        n = min(self.end - number, len(self._items))
        return [self._items[i] for i in range(len(self._items) - n, len(self._items))] if n > 0 else []


class SignalRing:
    """The newest samples of a stream, known by their index from its beginning.

    A stretch may be written again (a loss found late moves all that follows). A reader keeps a cursor and
    the number of rewrites it has seen, and is given what changed; one that is further behind than what is
    kept goes on at the oldest sample that is.

    Args:
        keep: Samples that can be read back.
        n_chans: Channels.
    """

    def __init__(self, keep: int, n_chans: int) -> None:
        self._keep = keep
        self._rows: NDArray[np.float32] = np.full((keep, n_chans), np.nan, np.float32)
        self._rewinds: Series[int] = Series(_KEPT_REWINDS)
        self.first = self.end = 0

    @property
    def rewinds(self) -> int:
        """Number of rewrites so far."""
        return self._rewinds.end

    def write(self, uv: NDArray[np.float64], start: int) -> None:
        """Write samples ``(n, c)`` at ``start``; what lies between the end and ``start`` reads as NaN."""
        if not len(uv):
            return
        if self.end == self.first:
            self.first = self.end = start
        if start < self.end:
            self._rewinds.append(start)
            self.first = min(self.first, start)
        elif start > self.end:
            blank = min(start - self.end, self._keep)
            self._put(np.full((blank, uv.shape[1]), np.nan), start - blank)
        kept = uv[-self._keep :]
        self.end = start + len(uv)
        self._put(kept, self.end - len(kept))
        self.first = max(self.first, self.end - self._keep)

    def _put(self, rows: NDArray[np.float64], start: int) -> None:
        self._rows[(start + np.arange(len(rows))) % self._keep] = rows

    def read(self, cursor: int, rewinds: int, most: int) -> tuple[int, NDArray[np.float32]]:
        """Return what a reader lacks: the index of its first sample, and the samples ``(n, c)``.

        Args:
            cursor: Index after the last sample the reader has.
            rewinds: Rewrites it has seen.
            most: Samples it takes at once.
        """
        if rewinds != self.rewinds:
            missed = self._rewinds.since(rewinds)
            cursor = self.first if len(missed) < self.rewinds - rewinds else min(cursor, *missed)
        start = min(max(cursor, self.first), self.end)
        stop = min(self.end, start + most)
        return start, self._rows[np.arange(start, stop) % self._keep]

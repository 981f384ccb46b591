"""When samples arrived, against the time that their stamps say passed.

By the time stamps alone a loss of seconds and a clock that was set forward look the same. A live source tells
them apart: who loses ten seconds is silent for ten seconds; a clock that is set leaves the samples coming.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrival"]

_JUMP_S = 1.0
_AFTER_S = 0.75
"""So much signal after a jump must have come: less than the fitted clock waits for."""
_KEPT_S = 3.0
_MOST = 8


class Arrival:
    """Watches the arrival of one live source's samples. Nothing in it grows with time.

    Args:
        sfreq: Nominal rate in Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._n = 0
        self._last: float | None = None
        self._chunks: deque[tuple[int, float]] = deque()
        self._jumps: deque[tuple[int, float]] = deque(maxlen=_MOST)
        self._set: deque[float] = deque(maxlen=_MOST)

    def push(self, timestamps: NDArray[np.float64], arrived: float) -> None:
        """Take the time stamps of a chunk and when it arrived, in monotonic seconds."""
        if not len(timestamps):
            return
        steps = np.empty(len(timestamps))
        steps[0] = 0.0 if self._last is None else timestamps[0] - self._last
        np.subtract(timestamps[1:], timestamps[:-1], out=steps[1:])
        if np.maximum.reduce(steps) > _JUMP_S:
            for at in np.flatnonzero(steps > _JUMP_S).tolist():
                self._jumps.append((self._n + at, float(steps[at])))
        self._last = float(timestamps[-1])
        self._n += len(timestamps)
        self._chunks.append((self._n, arrived))
        while len(self._chunks) > 1 and self._chunks[1][0] < self._n - _KEPT_S * self._sfreq:
            self._chunks.popleft()
        while self._jumps and self._n - self._jumps[0][0] >= _AFTER_S * self._sfreq:
            self._check(*self._jumps.popleft(), arrived)

    def _check(self, sample: int, step_s: float, arrived: float) -> None:
        before = [chunk for chunk in self._chunks if chunk[0] <= sample]
        if not before:
            return
        took_s, signal_s = arrived - before[-1][1], (self._n - before[-1][0]) / self._sfreq
        # What comes faster than it is made was waiting somewhere, and tells nothing.
        if 0.5 * signal_s < took_s < signal_s + 0.5 * step_s:
            self._set.append(step_s)

    def was_set(self, step_s: float) -> bool:
        """Return whether a jump of this size was a clock that was set forward; each is told once."""
        found = next((one for one in self._set if abs(one - step_s) < 0.5 * _JUMP_S), None)
        if found is None:
            return False
        self._set.remove(found)
        return True

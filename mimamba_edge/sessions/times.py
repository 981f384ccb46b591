"""When a sample was, by the recorded clock without its jitter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.signal.tape import Tape

__all__ = ["SampleTimes"]

_KEPT_S = 10.0
_NEAR_S = 1.0


class SampleTimes:
    """Tells the time of a sample from the timestamps around it. Memory does not grow.

    With ``t`` the recorded time of sample ``n`` at the rate ``fs``, ``t - n / fs`` stays level while nothing
    is lost, however single steps jitter (:mod:`mimamba_edge.signal.clock`): its median over the second before
    and the second after the sample gives that sample's time. Labels stand on these times, and the fitted
    clock of the whole recording leads back from them to the sample.

    Args:
        sfreq: Nominal rate in Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._near = max(1, round(_NEAR_S * sfreq))
        self._tape = Tape(max(2, round(_KEPT_S * sfreq)), 1)
        self._first: float | None = None

    @property
    def n(self) -> int:
        """Samples so far."""
        return self._tape.end

    def push(self, timestamps: NDArray[np.float64]) -> None:
        """Take the next timestamps ``(n,)`` in seconds."""
        if len(timestamps):
            self._first = float(timestamps[0]) if self._first is None else self._first
            self._tape.append(timestamps[:, None])

    def time_s(self, sample: int) -> float:
        """Return seconds from the first sample to a sample; 0 before there is one."""
        if self._first is None:
            return 0.0
        return self._level(sample) - self._first + sample / self._sfreq

    def sample_at(self, time: float) -> int | None:
        """Return the sample at a time of the recorded clock; ``None`` if that is not of the last seconds."""
        if self._first is None:
            return None
        sample = self._tape.end
        for _ in range(2):
            sample = round((time - self._level(sample)) * self._sfreq)
        near = self._tape.first <= sample <= self._tape.end + _KEPT_S * self._sfreq
        return sample if near else None

    def _level(self, sample: int) -> float:
        oldest, end = self._tape.first, self._tape.end
        middle = min(max(sample, oldest), end)
        start, stop = max(oldest, middle - self._near), min(end, middle + self._near)
        return float(np.median(self._tape.read(start, stop)[:, 0] - np.arange(start, stop) / self._sfreq))

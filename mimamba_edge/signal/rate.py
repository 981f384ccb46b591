"""Whether a source delivers the rate that it says.

Filters, resampling and windows rest on the nominal rate. A crystal keeps it within 0.01 %, the shared
recordings within 0.2 % over any six seconds, and the fitted clock follows that. Beyond 1 % frequencies are
off by more than a bin of a window of two seconds at 45 Hz, and beyond 3 % the clock would find a loss in
every second: then the source says another rate than it has.

Samples that are missing slow a source down too. So two explanations are held against each other: the line
through the time stamps, and the nominal rate with the losses and clock steps that
:class:`mimamba_edge.signal.clock.Clock` finds. The one that leaves less jitter is believed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import SignalError
from mimamba_edge.signal.clock import find_events

__all__ = ["LIMIT", "RateWatch", "robust_rate", "usual_rate"]

LIMIT = 0.01
"""Share of the nominal rate by which the measured one may differ."""
_BLOCK_S = 6.0
_BLOCKS = 3
"""A stretch that leaves it open is followed by the next one, up to so many."""
_CLEARLY = 0.7
"""Share of the other explanation's jitter that the one which speaks against the source may leave."""
_USUAL_HZ = (100, 125, 128, 160, 200, 220, 250, 256, 300, 400, 500, 512, 600, 1000, 1024, 2000, 2048)
_NEAR = 0.005


class RateWatch:
    """Measures the rate of a source from its first seconds. It holds no more than one stretch of six seconds.

    Args:
        sfreq: Nominal rate in Hz.

    Attributes:
        hz: The rate of the newest stretch that was measured; ``None`` before there is one.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._length = max(64, round(_BLOCK_S * sfreq))
        self._held: list[NDArray[np.float64]] = []
        self._n = self._blocks = 0
        self.hz: float | None = None

    def push(self, timestamps: NDArray[np.float64]) -> bool:
        """Take the next timestamps in seconds; return whether they show that the source has another rate."""
        if self._blocks == _BLOCKS:
            return False
        self._held.append(timestamps)
        self._n += len(timestamps)
        if self._n < self._length:
            return False
        held = np.concatenate(self._held)
        self._held, self._n = [], 0
        for at in range(0, len(held), self._length):
            block = held[at : at + self._length]
            if len(block) < self._length:
                self._held, self._n = [block.copy()], len(block)
            elif self._speaks_against(block):
                return True
            elif self._blocks == _BLOCKS:
                break
        return False

    def _speaks_against(self, t: NDArray[np.float64]) -> bool:
        self._blocks += 1
        half = len(t) // 2
        duration = float(np.median(t[half:] - t[: len(t) - half]))
        if not duration > 0:
            return False
        self.hz = half / duration
        events = find_events(t, self._sfreq)
        # What the last second holds has not been judged by the clock.
        judged = slice(max(half, len(t) - round(self._sfreq)))
        grid, times = np.arange(len(t), dtype=np.float64), t - t[0]
        period, left = _line(grid[judged], times[judged])
        off = [hz / self._sfreq - 1 for hz in (self.hz, 1 / period) if hz > 0] if period else [0.0]
        if min(off) <= LIMIT and max(off) >= -LIMIT:
            # A stretch with losses may be one of a source that is off as well.
            self._blocks = self._blocks if events else _BLOCKS
            return False
        for event in events:
            grid[event.sample :] += event.n_lost
            times[event.sample :] -= 0.0 if event.n_lost else event.step_s
        return not events or left < _CLEARLY * _line(grid[judged], times[judged])[1]


def _line(n: NDArray[np.float64], t: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of the least-squares line and the mean absolute distance from it."""
    centered = n - n.mean()
    slope = float(centered @ (t - t.mean()) / (centered @ centered))
    left = t - slope * n
    return slope, float(np.abs(left - np.median(left)).mean())


def robust_rate(timestamps: NDArray[np.float64]) -> float:
    """Return the rate in Hz from the median duration of many samples; losses and jitter hardly move it.

    Raises:
        SignalError: Fewer than two samples, or a time that does not run.
    """
    span = min(256, len(timestamps) - 1)
    if span >= 1:
        duration = float(np.median(timestamps[span:] - timestamps[:-span]))
        if duration > 0 and math.isfinite(span / duration):
            return span / duration
    raise SignalError(
        "the time stamps give no sampling rate",
        got=f"{len(timestamps)} samples",
        expected="time stamps in seconds that increase",
    )


def usual_rate(hz: float) -> float:
    """Return what a measured rate stands for: within 0.5 % a usual rate, a whole number or a tenth."""
    near = min(_USUAL_HZ, key=lambda usual: abs(usual / hz - 1))
    for rate in (float(near), float(round(hz)), round(hz, 1)):
        if rate > 0 and abs(rate / hz - 1) <= _NEAR:
            return rate
    return float(f"{hz:.3g}")

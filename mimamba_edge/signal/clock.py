"""The fitted clock: which samples were lost, when the clock was set, what time a sample has.

With ``t`` the recorded time of sample ``n`` and ``fs`` the device's fitted rate, ``r = t - n / fs`` stays
level while nothing is lost, however single steps jitter. A loss is a persistent rise of ``r``: more than
30 ms between the medians of the second before and the second after. A fall is a clock that was set back.

Nothing is judged by single steps. So a loss is known one second after it, always at the same sample
whatever the size of the chunks. While ``r`` still falls, samples that came late are catching up: judgement
waits until it is level, ten seconds at most, and where it is back at its old level nothing was lost. A fall
that takes back a loss of the last ten seconds says the same. Until then a sample more than 50 ms off its time
puts the clock under suspicion; the suspicion is confirmed or dropped once the second after has been seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clock", "ClockEvent", "ClockFit", "find_events", "fit_clock"]

_STEPS_A_SECOND = 8
"""How often the medians are compared."""
_LOSS_S = 0.030
_SUSPECT_S = 0.050
_SURE_S = 1.0
"""A shorter rise is a loss: clocks are set by more, or by less than a loss is judged from."""
_LARGEST_LOSS_S = 3600.0
"""A longer rise is a clock that was set forward, not an hour of samples."""
_BACK_S = 10.0
"""So long a rise may last that falls back."""
_MEMORY_S = 120.0
"""Time constant of the fit of the device's rate."""
_PRIOR = 100.0
"""Weight, in square seconds, of the nominal rate in that fit: a few medians alone must not bend it."""


@dataclass(frozen=True)
class ClockEvent:
    """A loss or a step of the clock.

    Attributes:
        kind: ``"loss"``, ``"clock-step"`` (the clock was set; no sample is missing), or ``"late"`` (what
            was taken for a loss had only come late).
        sample: Number of samples received before it.
        n_lost: Samples missing there (a loss).
        step_s: Seconds by which the recorded time moved.
    """

    kind: str
    sample: int
    n_lost: int
    step_s: float

    @property
    def unsure(self) -> bool:
        """Whether a loss may as well be a clock that was set forward: the time stamps alone do not tell."""
        return self.n_lost > 0 and self.step_s > _SURE_S


class Clock:
    """Watches the timestamps of one stream. Memory and time a sample are constant.

    :meth:`push` takes any number of timestamps up to the next multiple of :attr:`step`; :meth:`detect` must
    be called at each of those multiples.

    Args:
        sfreq: The source's nominal rate in Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self.step = max(1, round(sfreq / _STEPS_A_SECOND))
        self._length = _STEPS_A_SECOND * self.step
        self._memory = np.zeros(8 * self._length)
        self._end = 2 * self._length
        self._t0: float | None = None
        self._shift = 0.0
        self._lost = 0
        self.n = 0
        self._losses: list[tuple[int, int]] = []
        self._crossed: int | None = None
        self._held: tuple[float, float, int] | None = None
        self._unlevel = 0
        self._lost_last: tuple[int, float] | None = None
        self._late_s = 0.0
        self._level: float | None = None
        self.suspect: int | None = None
        self.suspicions = 0
        self._sums = np.zeros(5)
        self._offset, self._slope, self._fitted_at = 0.0, 0.0, 0.0

    @property
    def look_back(self) -> int:
        """Samples that a judgement can reach back."""
        return 2 * self._length

    def push(self, timestamps: NDArray[np.float64]) -> None:
        """Take the next timestamps in seconds, at most up to the next multiple of :attr:`step`."""
        if self._t0 is None:
            self._t0 = float(timestamps[0])
        first, n = self.n, len(timestamps)
        grid = np.arange(first + self._lost, first + self._lost + n)
        r = timestamps - self._t0 - self._shift - grid / self._sfreq
        if self._end + n > len(self._memory):
            self._memory[: 2 * self._length] = self._r
            self._end = 2 * self._length
        self._memory[self._end : self._end + n] = r
        self._end += n
        self.n += n
        if self.suspect is None and self._level is not None:
            off = np.abs(r - self._level) > _SUSPECT_S
            if np.logical_or.reduce(off):
                self.suspect = first + int(off.argmax())
                self.suspicions += 1

    def detect(self) -> ClockEvent | None:
        """Compare the medians; called when :attr:`n` is a multiple of :attr:`step`."""
        event = None
        r, length = self._r, self._length
        self._losses = [loss for loss in self._losses if loss[0] > self.n - 2 * length]
        if self.n >= length:
            self._level = _median(r[length:])
        if self.n >= 2 * length:
            before = _median(r[:length])
            event = self._detect(before, self._level or 0.0)
            if event is not None:
                before, self._level = _median(r[:length]), _median(r[length:])
            # Old enough to have been judged: the fit never sees a loss or a step.
            level = self._crossed is None and not 0 < self._unlevel > self.n - 2 * length
            if level and self.n % length == 0:
                self._fit(before)
        if (
            self.suspect is not None
            and self._crossed is None
            and self.n - self.suspect > self._length + 2 * self.step
        ):
            self.suspect = None
        return event

    def watch(self, timestamps: NDArray[np.float64]) -> Iterator[ClockEvent]:
        """Take any number of timestamps and yield what they tell, for those who need no step between."""
        at = 0
        while at < len(timestamps):
            stop = at + min(len(timestamps) - at, self.step - self.n % self.step)
            self.push(timestamps[at:stop])
            at = stop
            if self.n % self.step == 0 and (event := self.detect()) is not None:
                yield event

    def time_s(self, grid: float) -> float:
        """Return the time of a position on the sample grid, in seconds from the first sample.

        The grid counts received and lost samples; the time follows the fitted device rate.
        """
        nominal = grid / self._sfreq
        return nominal + self._late_s + self._offset + self._slope * (nominal - self._fitted_at)

    @property
    def suspect_grid(self) -> int | None:
        """Grid position of the sample that put the clock under suspicion, or ``None``."""
        return None if self.suspect is None else self.suspect + self._lost

    @property
    def _r(self) -> NDArray[np.float64]:
        """The newest two seconds of ``r``."""
        return self._memory[self._end - 2 * self._length : self._end]

    def _detect(self, before: float, after: float) -> ClockEvent | None:
        first = self.n - 2 * self._length
        apart = self._length + self._ahead(first + self._length) - self._ahead(first)
        if self._held is not None:
            before, apart = self._held[0], self._held[1] + self.n
        step_s = after - before - self._slope * apart / self._sfreq
        if self._crossed is None:
            if abs(step_s) > _LOSS_S:
                self._crossed = self.n
            return None
        # The crossing comes half a second after the step; now the second after is whole.
        if self.n - self._crossed < self._length // 2:
            return None
        # The first and the last quarter of it; samples that catch up come faster than they are made.
        part = 2 * self.step
        falls = _median(self._r[self._length : self._length + part]) - _median(self._r[-part:])
        if falls > _LOSS_S and self.n - self._crossed < _BACK_S * self._sfreq:
            if self._held is None:
                self._held = before, apart - self.n, self.n - self._locate(before, after)
            self._unlevel = self.n
            return None
        self._crossed = None
        held, self._held = self._held, None
        if abs(step_s) <= _LOSS_S:
            return None
        back = self._locate(before, after) if held is None else min(self.n - held[2], 2 * self._length)
        made = step_s * self._sfreq / (1 + self._slope)
        n_lost = round(made) if 0 < step_s <= _LARGEST_LOSS_S else 0
        kind, sample = "loss" if n_lost else "clock-step", self.n - back
        if n_lost:
            self._lost_last = sample, step_s
            self._lost += n_lost
            self._losses.append((self.n - back, n_lost))
            self._r[-back:] -= n_lost / self._sfreq
        else:
            self._shift += step_s
            self._r[-back:] -= step_s
            if self._takes_back(sample, step_s):
                kind, self._lost_last = "late", None
                self._late_s += step_s
        self.suspect = None
        return ClockEvent(kind, sample, n_lost, step_s)

    def _takes_back(self, sample: int, step_s: float) -> bool:
        """Return whether a fall brings ``r`` back to where it was before the last loss."""
        if self._lost_last is None or sample - self._lost_last[0] > _BACK_S * self._sfreq:
            return False
        return abs(step_s + self._lost_last[1]) <= _LOSS_S

    def _ahead(self, first: int) -> float:
        """Return by how much the second from ``first`` on stands otherwise on the grid than without losses.

        While a device that runs slow or fast is silent, ``r`` moves on as ever: who compares seconds on both
        sides of a long loss has to know how far apart they are.
        """
        if not self._losses:
            return 0.0
        index = np.arange(first, first + self._length)
        still = np.zeros(self._length)
        for sample, n_lost in self._losses:
            still += n_lost * (index < sample)
        return _median(index - still) - (first + 0.5 * (self._length - 1))

    def _locate(self, before: float, after: float) -> int:
        """Return how many samples came after the step: the split with the least absolute error."""
        error_before = np.concatenate([[0.0], np.cumsum(np.abs(self._r - before))])
        error_after = np.concatenate([[0.0], np.cumsum(np.abs(self._r - after))])
        cost = error_before + error_after[-1] - error_after
        low, high = self._length // 4, 2 * self._length - self._length // 4
        return 2 * self._length - (low + int(np.argmin(cost[low : high + 1])))

    def _fit(self, level: float) -> None:
        """Update the line through the levels, with forgetting; positions count from the newest level."""
        ahead = self._ahead(self.n - 2 * self._length)
        position = (self.n + self._lost - 1.5 * self._length + ahead) / self._sfreq
        dx, self._fitted_at = position - self._fitted_at, position
        s0, sx, sxx, sy, sxy = self._sums * np.exp(-dx / _MEMORY_S)
        sxx, sxy, sx = sxx - 2 * dx * sx + dx * dx * s0, sxy - dx * sy, sx - dx * s0
        self._sums = np.array([s0 + 1, sx, sxx, sy + level, sxy])
        s0, sx, sxx, sy, sxy = self._sums
        self._slope = float((sxy - sx * sy / s0) / (sxx - sx * sx / s0 + _PRIOR))
        self._offset = float((sy - self._slope * sx) / s0)


def _median(values: NDArray[np.float64]) -> float:
    """Return the median of an even number of values; ``np.median`` takes five times as long."""
    half = len(values) // 2
    ordered = values.copy()
    ordered.partition((half - 1, half))
    return (ordered.item(half - 1) + ordered.item(half)) / 2


@dataclass(frozen=True)
class ClockFit:
    """Recorded time against the sample grid of a whole recording, piece by piece between clock steps.

    Attributes:
        pieces: For each piece its first and last grid position, the time of grid position 0, and the rate.
    """

    pieces: tuple[tuple[float, float, float, float], ...]

    def grid(self, time: float) -> float:
        """Return the grid position of a recorded time; where the clock repeated itself, the first one."""
        positions = [((time - origin) * rate, first, last) for first, last, origin, rate in self.pieces]
        outside = [max(first - n, n - last, 0.0) for n, first, last in positions]
        return positions[int(np.argmin(outside))][0]


def find_events(timestamps: NDArray[np.float64], sfreq: float) -> list[ClockEvent]:
    """Return all losses and clock steps of a whole recording, as a stream would find them."""
    return list(Clock(sfreq).watch(timestamps))


def fit_clock(timestamps: NDArray[np.float64], events: Sequence[ClockEvent], sfreq: float) -> ClockFit:
    """Fit the clock of a whole recording, given the events that :class:`Clock` found in it."""
    grid = np.arange(len(timestamps), dtype=np.float64)
    for event in events:
        grid[event.sample :] += event.n_lost
    edges = [0, *(e.sample for e in events if e.kind != "loss"), len(timestamps)]
    pieces = []
    for start, stop in itertools.pairwise(edges):
        if stop <= start:
            continue
        n, t = grid[start:stop], timestamps[start:stop]
        rate = sfreq
        if stop - start >= 2 * sfreq:
            centered = n - n.mean()
            rate = float(centered @ centered / (centered @ (t - t.mean())))
        pieces.append((n[0], n[-1], float(np.median(t - n / rate)), rate))
    return ClockFit(tuple(pieces))

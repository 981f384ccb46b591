"""When a sample was, by the recorded clock without its jitter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.signal.clock import Clock
from mimamba_edge.signal.ring_buffer import RingBuffer

__all__ = ["Mark", "SampleTimes"]

_KEPT_S = 10.0
_NEAR_S = 1.0


@dataclass
class Mark:
    """A border of a trial.

    Attributes:
        sample: Number of the first sample behind it.
        time_s: Seconds from the first sample, once they are known.
    """

    sample: int
    time_s: float | None = None


class SampleTimes:
    """Tells the time of a sample from the timestamps around it. Memory does not grow.

    With ``t`` the recorded time of sample ``n`` at the rate ``fs``, ``t - n / fs`` stays level while nothing
    is lost, however single steps jitter (:mod:`mimamba_edge.signal.clock`): its median over the second before
    and the second after the sample gives that sample's time. Where samples were lost, or the clock was set,
    it steps, and only the timestamps on the sample's own side of the step count; whoever reads the recording
    finds the same steps. Labels stand on these times, and the fitted clock of the whole recording leads back
    from them to the sample.

    Args:
        sfreq: Nominal rate in Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._near = max(1, round(_NEAR_S * sfreq))
        self._tape = RingBuffer(max(2, round(_KEPT_S * sfreq)), 1)
        self._clock = Clock(sfreq)
        self._steps: list[int] = []
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
            self._steps += [event.sample for event in self._clock.watch(timestamps)]
            self._steps = [step for step in self._steps if step > self._tape.first]

    def known(self, sample: int) -> bool:
        """Return whether no step near a sample is still in doubt; it is cleared within two seconds."""
        suspect = self._clock.suspect
        return suspect is None or sample + self._near <= suspect

    def time_s(self, sample: int) -> float:
        """Return seconds from the first sample to a sample; 0 before there is one.

        While a step is in doubt this is the time that the newest timestamps tell.
        """
        suspect = self._clock.suspect
        steps = self._steps if suspect is None else [*self._steps, suspect]
        return self._time_s(sample, steps)

    def settle(self, mark: Mark, *, final: bool = False) -> bool:
        """Give a mark its time if all that tells it has come.

        Args:
            mark: A border at or before the newest sample.
            final: What is here has to do.

        Returns:
            Whether it has its time.
        """
        whole = self.n >= mark.sample + self._near and self.known(mark.sample)
        if mark.time_s is None and (final or whole):
            mark.time_s = self._time_s(mark.sample, self._steps)
        return mark.time_s is not None

    def end_s(self, sample: int) -> float:
        """Return where the sample before ``sample`` ends: a loss behind it is not of a trial."""
        return self._time_s(sample - 1, self._steps) + 1 / self._sfreq

    def sample_at(self, time: float) -> int | None:
        """Return the sample at a time of the recorded clock; ``None`` if that is not of the last seconds.

        A time at which samples were lost is that of the first one after them; one that has not come yet has
        the number that it will have if none is lost.
        """
        if self._first is None:
            return None
        oldest, end = self._tape.first, self._tape.end
        after = None
        for start, stop in reversed(list(itertools.pairwise([oldest, *self._steps, end]))):
            sample = stop
            for _ in range(2):
                sample = round((time - self._level(sample, start, stop)) * self._sfreq)
            if sample >= start:
                if after is not None:
                    return min(sample, after)
                return sample if sample <= end + _KEPT_S * self._sfreq else None
            after = start
        return None

    def _time_s(self, sample: int, steps: list[int]) -> float:
        if self._first is None:
            return 0.0
        start = max((step for step in steps if step <= sample), default=self._tape.first)
        stop = min((step for step in steps if step > sample), default=self._tape.end)
        return self._level(sample, start, stop) - self._first + sample / self._sfreq

    def _level(self, sample: int, start: int, stop: int) -> float:
        """Return the median of ``t - n / fs`` near a sample, between two steps."""
        start = max(start, self._tape.first)
        middle = min(max(sample, start), stop)
        start, stop = max(start, middle - self._near), min(stop, middle + self._near)
        return float(np.median(self._tape.read(start, stop)[:, 0] - np.arange(start, stop) / self._sfreq))

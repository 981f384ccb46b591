"""Packet counters: what a device's own numbering of its packets says about losses.

A counter that wraps tells a loss up to multiples of its wrap. Those are left to the fitted clock of the
signal path, which needs no guess: a link that stalls for a second and then catches up looks, stamp by
stamp, like a whole wrap that was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counter", "CounterEvent", "Counting"]

LONGEST_S = 60.0
"""A longer loss is not filled; the clock finds it and the signal path begins again."""
_SLACK_S = 0.25
"""How much less time than a loss takes may have passed: the sample before it may have come late."""
_LATE = 32
"""Packets that come up to so many numbers behind are late; further back the device began to count again."""


@dataclass(frozen=True)
class Counting:
    """How a device numbers what it sends.

    Attributes:
        modulus: The number after which it is 0 again.
        step: From one packet to the next.
        packet: Samples that share a number. Where they are several, the driver has one time stamp a packet
            and spreads it back to the packet before; after a loss it is spread over the loss too.
    """

    modulus: int
    step: int = 1
    packet: int = 1


@dataclass(frozen=True)
class CounterEvent:
    """What the numbers of a device tell.

    Attributes:
        kind: ``"lost"``, ``"duplicate"``, or ``"late"`` (out of order, discarded).
        n: Samples concerned.
        sample: Number of samples given out before it.
    """

    kind: str
    n: int
    sample: int


class Counter:
    """Finds losses in one stream and fills them with NaN; drops what comes twice or late.

    Args:
        counting: The device's way.
        sfreq: Nominal rate in Hz.

    Attributes:
        given: Samples given out, with those that were filled in.
    """

    def __init__(self, counting: Counting, sfreq: float) -> None:
        self._how, self._sfreq = counting, sfreq
        self.given = 0
        self.restart()

    def restart(self) -> None:
        """Forget the number: the device was connected again."""
        self._number: int | None = None
        self._seen = 0
        self._stamp = 0.0
        self._row: NDArray[np.float64] | None = None
        self._held: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None

    def push(
        self, samples: NDArray[np.float64], timestamps: NDArray[np.float64], numbers: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], list[CounterEvent]]:
        """Take what came, and return what to give out.

        Args:
            samples: ``(n, c)``.
            timestamps: ``(n,)`` seconds.
            numbers: ``(n,)``, the packet of each sample.

        Returns:
            Samples ``(m, c)``, timestamps ``(m,)`` and what was found. A packet that follows a loss is held
            back until it is whole.
        """
        if self._held is not None:
            samples = np.concatenate([self._held[0], samples])
            timestamps = np.concatenate([self._held[1], timestamps])
            numbers = np.concatenate([self._held[2], numbers])
            self._held = None
        counted = np.rint(numbers).astype(np.int64)
        if self._in_order(counted):
            self._accept(samples, timestamps, counted, self._how.packet)
            self.given += len(samples)
            return samples, timestamps, []
        rows: list[NDArray[np.float64]] = []
        stamps: list[NDArray[np.float64]] = []
        events: list[CounterEvent] = []
        for start, stop in self._packets(counted):
            block, times = samples[start:stop], timestamps[start:stop]
            if stop == len(counted) and self._is_torn(int(counted[start]), len(block)):
                self._held = (block, times, numbers[start:stop])
                break
            checked = self._check(block, times, int(counted[start]), events)
            if checked is None:
                continue
            n_lost, seen = checked
            if 0 < n_lost <= LONGEST_S * self._sfreq:
                events.append(CounterEvent("lost", n_lost, self.given))
                rows.append(np.full((n_lost, samples.shape[1]), np.nan))
                filled, times = self._spread(n_lost, times)
                stamps.append(filled)
                self.given += n_lost
            self._accept(block, times, counted[start:stop], seen)
            rows.append(block)
            stamps.append(times)
            self.given += len(block)
        if not rows:
            return samples[:0], timestamps[:0], events
        return np.concatenate(rows), np.concatenate(stamps), events

    def _spread(
        self, n_lost: int, times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return times of what was lost, and of the packet after it."""
        if self._how.packet == 1:
            return np.linspace(self._stamp, times[0], n_lost + 2)[1:-1], times
        spread = np.linspace(self._stamp, times[-1], n_lost + len(times) + 1)[1:]
        return spread[:n_lost], spread[n_lost:]

    def _is_torn(self, number: int, n: int) -> bool:
        """Return whether a packet after a loss, the last that came, may still lack its end."""
        if self._how.packet == 1 or self._number is None or n >= self._how.packet:
            return False
        ahead = (number - self._number) % self._how.modulus
        return ahead != 0 and (ahead != self._how.step or self._seen < self._how.packet)

    def _in_order(self, counted: NDArray[np.int64]) -> bool:
        if self._how.packet > 1 or self._number is None or not len(counted):
            return False
        steps = np.diff(counted, prepend=self._number) % self._how.modulus
        return bool((steps == self._how.step).all())

    def _packets(self, counted: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return where each packet starts and stops."""
        if self._how.packet == 1:
            edges = np.arange(len(counted) + 1)
        else:
            edges = np.concatenate([[0], np.flatnonzero(np.diff(counted)) + 1, [len(counted)]])
        return [(int(a), int(b)) for a, b in pairwise(edges) if b > a]

    def _accept(
        self, block: NDArray[np.float64], times: NDArray[np.float64], counted: NDArray[np.int64], seen: int
    ) -> None:
        if len(block):
            self._number, self._seen = int(counted[-1]), seen
            self._stamp, self._row = float(times[-1]), block[-1].copy()

    def _check(
        self,
        block: NDArray[np.float64],
        times: NDArray[np.float64],
        number: int,
        events: list[CounterEvent],
    ) -> tuple[int, int] | None:
        """Return how many samples are missing before a packet, and how many of its own are accounted for.

        ``None`` if it is to be dropped.
        """
        packet, modulus, step = self._how.packet, self._how.modulus, self._how.step
        if self._number is None or self._row is None:
            # The stream may begin within a packet; nothing is lost by that.
            return 0, packet
        ahead = (number - self._number) % modulus
        if ahead == 0 and packet > 1:
            return 0, min(self._seen + len(block), packet)
        if ahead == 0:
            # 255 of 256 lost looks the same as the same packet once more, but for the time it takes.
            if float(times[0]) - self._stamp > modulus / step / self._sfreq / 2:
                ahead = modulus
            elif np.array_equal(block[0], self._row, equal_nan=True):
                events.append(CounterEvent("duplicate", 1, self.given))
                return None
            else:
                return 0, packet
        steps = ahead // step
        if steps == 1 and self._seen == packet:
            return 0, min(len(block), packet)
        # What a packet lacks, it lacks on the side of the loss.
        n_lost = packet - self._seen + (steps - 1) * packet + max(0, packet - len(block))
        if n_lost / self._sfreq <= float(times[-1]) - self._stamp + _SLACK_S:
            return n_lost, packet
        if modulus // step - steps <= _LATE:
            events.append(CounterEvent("late", len(block), self.given))
            return None
        return 0, packet

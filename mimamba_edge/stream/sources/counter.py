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

from mimamba_edge.stream.sources.base import Notice

__all__ = ["Counter", "Counting"]

LONGEST_S = 60.0
"""A longer loss is not filled; the clock finds it and the signal path begins anew."""
_SLACK_S = 0.25
"""How much less time than a loss takes may have passed: the sample before it may have come late."""
_LATE = 32
"""Packets that come up to so many numbers behind are late; further back the device began to count anew."""


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
        """Forget the number: the device was connected anew."""
        self._number: int | None = None
        self._seen = 0
        self._stamp = 0.0
        self._row: NDArray[np.float64] | None = None
        self._held: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None

    def push(
        self, samples: NDArray[np.float64], timestamps: NDArray[np.float64], numbers: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Notice]]:
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
            self._accept(samples, timestamps, counted)
            self.given += len(samples)
            return samples, timestamps, []
        rows: list[NDArray[np.float64]] = []
        stamps: list[NDArray[np.float64]] = []
        notices: list[Notice] = []
        for start, stop in self._packets(counted):
            block, times = samples[start:stop], timestamps[start:stop]
            n_lost = self._judge(block, times, int(counted[start]), notices)
            if n_lost is None:
                continue
            if n_lost and stop == len(counted) and stop - start < self._how.packet:
                self._held = (block, times, numbers[start:stop])
                break
            if 0 < n_lost <= LONGEST_S * self._sfreq:
                notices.append(Notice("lost", "by the packet counter", n_lost, self.given))
                rows.append(np.full((n_lost, samples.shape[1]), np.nan))
                # Without the last stamp of the packet before.
                last = times[-1] if self._how.packet > 1 else times[0]
                spread = n_lost + (len(times) if self._how.packet > 1 else 1)
                filled = np.linspace(self._stamp, last, spread + 1)[1:]
                stamps.append(filled[:n_lost])
                if self._how.packet > 1:
                    times = filled[n_lost:]
                self.given += n_lost
            self._accept(block, times, counted[start:stop])
            rows.append(block)
            stamps.append(times)
            self.given += len(block)
        if not rows:
            return samples[:0], timestamps[:0], notices
        return np.concatenate(rows), np.concatenate(stamps), notices

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
        self, block: NDArray[np.float64], times: NDArray[np.float64], counted: NDArray[np.int64]
    ) -> None:
        if not len(block):
            return
        number = int(counted[-1])
        if self._number is None:
            # The stream may begin within a packet; nothing is lost by that.
            self._seen = self._how.packet
        elif number == self._number and self._how.packet > 1:
            self._seen = min(self._seen + len(block), self._how.packet)
        else:
            self._seen = min(len(block), self._how.packet)
        self._number, self._stamp, self._row = number, float(times[-1]), block[-1].copy()

    def _judge(
        self,
        block: NDArray[np.float64],
        times: NDArray[np.float64],
        number: int,
        notices: list[Notice],
    ) -> int | None:
        """Return how many samples are missing before a packet, or ``None`` if it is to be dropped."""
        how = self._how
        if self._number is None or self._row is None:
            return 0
        ahead = (number - self._number) % how.modulus
        elapsed = float(times[0]) - self._stamp
        if ahead == 0:
            if how.packet > 1:
                return 0
            # 255 of 256 lost looks the same as the same packet once more, but for the time it takes.
            if elapsed < how.modulus / how.step / self._sfreq / 2:
                if np.array_equal(block[0], self._row, equal_nan=True):
                    notices.append(Notice("duplicate", "by the packet counter", 1, self.given))
                    return None
                return 0
            ahead = how.modulus
        steps = ahead // how.step
        n_lost = max(0, how.packet - self._seen) + (steps - 1) * how.packet + max(0, how.packet - len(block))
        if n_lost / self._sfreq <= float(times[-1]) - self._stamp + _SLACK_S:
            return n_lost
        if how.modulus // how.step - steps <= _LATE:
            notices.append(Notice("late", "by the packet counter", len(block), self.given))
            return None
        return 0

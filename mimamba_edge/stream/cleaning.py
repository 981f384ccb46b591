"""What is done to chunks before anybody sees them: stretches that came twice or too late are taken out.

A source with a packet counter gives neither. Without one, the timestamps and the samples have to tell:

* A stretch of three rows or more that is bit for bit, timestamps and samples, one of the last two seconds is
  a duplicate. It is taken out at once; where a chunk ends after one or two such rows, they wait for the next.
* Rows more than 30 ms behind the newest time (a clean headset's jitter stays at half of that) either came too
  late or show that the clock was set back. What came late fills a hole in the times seen so far, and the next
  rows return to where the stream had been. So only rows that fall into a hole are held, until the next row
  tells or a quarter of a second of them is held; then the late ones are taken out. All others pass at once,
  and :class:`mimamba_edge.signal.clock.Clock` finds the step.
* Rows whose time is no number are taken out.

What is left shows at what rate the source delivers; one that is far off what it says is refused.

What is taken out is told in notices; the clock then finds that samples are missing where they should have
been. In clean operation nothing is held or copied.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import SourceError
from mimamba_edge.signal.rate import LIMIT, RateWatch, usual_rate
from mimamba_edge.signal.ring_buffer import RingBuffer
from mimamba_edge.stream.sources.base import Chunk, Notice

__all__ = ["ChunkCleaner"]

_MEMORY_S = 2.0
_BEHIND_S = 0.030
_HOLE_S = 0.025
_EDGE_S = 0.020
"""Jitter can put the first and last rows of what fills a hole this far outside of it."""
_HELD_S = 0.25
_LEAST_RUN = 3
_BLOCK = 256
_NO_TIME = 1e12
"""Seconds since anything; more is no time."""

_Rows = NDArray[np.float64]


class ChunkCleaner:
    """Cleans the chunks of one source. Nothing in it grows with time.

    Args:
        source_sfreq: Nominal rate in Hz.
        n_chans: Channels of the source.
    """

    def __init__(self, source_sfreq: float, n_chans: int) -> None:
        self._sfreq, self._rate, self._refused = source_sfreq, RateWatch(source_sfreq), False
        self._period = 1 / source_sfreq
        self._limit = max(2, round(_HELD_S * source_sfreq))
        # Rows that passed: time, samples.
        self._seen = RingBuffer(max(4 * _LEAST_RUN, math.ceil(_MEMORY_S * source_sfreq)), 1 + n_chans)
        self._newest = -_NO_TIME
        self._epoch = 0
        self._held: list[_Rows] = []
        self._undecided = np.zeros((0, 1 + n_chans))
        self._again: int | None = None
        self._taken = self._removed = 0
        self._notices: list[Notice] = []

    @property
    def rate(self) -> dict[str, float | bool | None]:
        """The nominal rate, the measured one (``None`` in the first seconds), and whether that is another."""
        hz = self._rate.hz
        return {
            "nominal": self._sfreq,
            "measured": None if hz is None else round(hz, 2),
            "other": self._refused,
        }

    def clean(self, chunk: Chunk) -> Chunk:
        """Return the chunk without what does not belong into it, and with notices of that.

        Raises:
            SourceError: The source delivers another rate than it says, as the chunks until now show. They
                were given out, so that a recording holds enough to show it again.
        """
        if self._refused:
            raise _other_rate(self._sfreq, self._rate.hz or 0.0)
        chunk = self._clean(chunk)
        self._refused = self._rate.push(chunk.timestamps)
        return chunk

    def _clean(self, chunk: Chunk) -> Chunk:
        times, samples = chunk.timestamps, chunk.samples
        start, removed = self._taken, self._removed
        self._taken += len(times)
        if not (self._held or len(self._undecided)) and self._rise(times):
            rows = np.empty((len(times), 1 + samples.shape[1]))
            rows[:, 0], rows[:, 1:] = times, samples
            self._seen.append(rows)
            self._newest, self._again = float(times[-1]), None
            if not removed or not chunk.notices:
                return chunk
        elif len(times):
            rows, out = np.column_stack([times, samples]), list[_Rows]()
            for at in range(0, len(rows), _BLOCK):
                self._sort(rows[at : at + _BLOCK], out)
            kept = np.concatenate(out) if out else rows[:0]
            times, samples = np.ascontiguousarray(kept[:, 0]), np.ascontiguousarray(kept[:, 1:])
        elif not removed:
            return chunk
        # What the source counted is not what is left.
        told = [
            replace(n, sample=max(0, n.sample - (removed if n.sample <= start else self._removed)))
            for n in chunk.notices
        ]
        notices, self._notices = (*told, *self._notices), []
        return replace(chunk, samples=samples, timestamps=times, notices=notices)

    def _rise(self, times: _Rows) -> bool:
        """Return whether the times rise on and on: then nothing can be wrong with them."""
        if not len(times) or not (times[0] > self._newest and times[-1] < _NO_TIME):
            return False
        return bool(np.logical_and.reduce(times[1:] > times[:-1]))

    def _sort(self, rows: _Rows, out: list[_Rows]) -> None:
        """Go through a block of rows; append what passes to ``out``."""
        rows = np.concatenate([self._undecided, rows])
        self._undecided = rows[:0]
        timed = np.abs(rows[:, 0]) < _NO_TIME
        if not timed.all():
            self._remove("untimed", "samples whose time stamp is not a number", int((~timed).sum()))
            rows = rows[timed]
        if not self._held and self._again is None and self._jitters(rows[:, 0]):
            self._pass(rows, out)
            return
        at = 0
        while at < len(rows):
            n_same = self._repeated(rows[at:])
            if n_same is None:
                self._undecided = rows[at:]
                return
            if n_same:
                self._remove("duplicate", "duplicate samples", n_same)
            else:
                self._check(rows[at : at + 1], out)
            at += n_same or 1

    def _jitters(self, times: _Rows) -> bool:
        """Return whether times that do not all rise are mere jitter, none of them seen before."""
        running = np.maximum.accumulate(np.append(self._newest, times))[:-1]
        behind = np.flatnonzero(times <= running)
        if (times[behind] < running[behind] - _BEHIND_S).any():
            return False
        seen = np.concatenate([self._recent()[:, 0], times])
        n_seen = len(seen) - len(times)
        return not any((seen[: n_seen + i] == times[i]).any() for i in behind)

    def _recent(self) -> _Rows:
        return self._seen.read(self._seen.first, self._seen.end)

    def _repeated(self, rows: _Rows) -> int | None:
        """Return how many of the first rows came before; ``None``: the next rows have to tell."""
        if self._again is None and not rows[0, 0] <= self._newest:
            return 0
        first, seen = self._seen.first, self._recent().view(np.int64)
        bits = np.ascontiguousarray(rows).view(np.int64)
        if self._again is not None:
            starts, least = [self._again - first], 1
        else:
            # Where rows stand still, time and all, equality proves nothing.
            found = np.flatnonzero((seen == bits[0]).all(axis=1))
            starts, least = [int(j) for j in found if not np.isin((j - 1, j + 1), found).any()], _LEAST_RUN
        self._again = None
        longest, end = 0, 0
        for j in starts:
            n = min(len(seen) - j, len(rows)) if j >= 0 else 0
            if n <= longest:
                continue
            equal = (seen[j : j + n] == bits[:n]).all(axis=1)
            n = n if equal.all() else int(equal.argmin())
            if n > longest:
                longest, end = n, first + j + n
        if 0 < longest < least and longest == len(rows):
            return None
        if longest < least:
            return self._repeated(rows) if least == 1 else 0
        self._again = end if longest == len(rows) and end < self._seen.end else None
        return longest

    def _check(self, row: _Rows, out: list[_Rows]) -> None:
        """Pass a row that is no duplicate, hold it, or decide on those that are held."""
        time = float(row[0, 0])
        behind = time < self._newest - _BEHIND_S
        if self._held:
            last = float(self._held[-1][0, 0])
            if (time - self._newest) + (time - last) > 2 * self._period:
                # Nearer to where the stream had been than to what is held.
                self._remove("late", "samples out of order", len(self._held))
                self._held = []
            elif behind and self._in_hole(time) and len(self._held) < self._limit:
                self._held.append(row)
                return
            else:
                self._set_back(out)
                behind = time < self._newest - _BEHIND_S
        if behind and self._in_hole(time):
            self._held.append(row)
            return
        if behind:
            self._epoch, self._newest = self._seen.end, time
        self._pass(row, out)

    def _set_back(self, out: list[_Rows]) -> None:
        """Pass what is held: it was not late, the clock was set back."""
        held, self._held = np.concatenate(self._held), []
        self._epoch, self._newest = self._seen.end, float(held[0, 0])
        self._pass(held, out)

    def _in_hole(self, time: float) -> bool:
        """Return whether a time lies where rows are missing, among those since the clock was last set."""
        seen = np.sort(self._seen.read(max(self._epoch, self._seen.first), self._seen.end)[:, 0])
        low, high = seen[:-1], seen[1:]
        near = (low - _EDGE_S <= time) & (time <= high + _EDGE_S)
        return bool((near & (high - low > _HOLE_S)).any())

    def _pass(self, rows: _Rows, out: list[_Rows]) -> None:
        if len(rows):
            self._seen.append(rows)
            self._newest = max(self._newest, float(rows[:, 0].max()))
            out.append(rows)

    def _remove(self, kind: str, text: str, n: int) -> None:
        self._removed += n
        if self._notices and self._notices[-1].kind == kind and self._notices[-1].sample == self._seen.end:
            n += self._notices.pop().n
        self._notices.append(Notice(kind, text, n=n, sample=self._seen.end))


def _other_rate(says: float, delivers: float) -> SourceError:
    """Return the error for a source whose real rate is not the one that it says."""
    runs = 0.1 * says < delivers < 10 * says
    return SourceError(
        f"the source says {says:g} Hz and delivers {delivers:.1f} Hz"
        if runs
        else f"the source says {says:g} Hz; by its time stamps it would deliver {delivers:.3g} Hz",
        got=f"{100 * (delivers / says - 1):+.1f} % by the time stamps of its first seconds",
        expected=f"what it says, within {LIMIT:.0%}: filters and windows depend on the rate",
        do=f"add sfreq={usual_rate(delivers):g} to --source, as in stdin:?sfreq={usual_rate(delivers):g}"
        if runs
        else "give time stamps in seconds",
    )

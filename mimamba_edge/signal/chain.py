"""From raw rows to filtered, resampled rows: gap filling, filters and resampler in one replayable state."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Filter
from mimamba_edge.signal.filters import SosFilter, settling_samples
from mimamba_edge.signal.resample import Resampler
from mimamba_edge.signal.ring_buffer import RingBuffer

__all__ = ["GAP", "SETTLING", "Chain", "GapCounts"]

GAP, SETTLING = 2, 1
_BRIDGE_S = 0.05
_RESET_S = 1.0


@dataclass(frozen=True)
class GapCounts:
    """What was missing in a stream and what was done about it.

    Attributes:
        nan_samples: Samples that came as NaN.
        lost_samples: Samples that never came, by the fitted clock.
        bridged: Gaps up to 50 ms, bridged linearly.
        gaps: Gaps of 50 ms to 1 s: windows that touch them and the settling after are not decided.
        resets: Gaps above 1 s: the filters were started again.
    """

    nan_samples: int = 0
    lost_samples: int = 0
    bridged: int = 0
    gaps: int = 0
    resets: int = 0


@dataclass(frozen=True)
class ChainState:
    """All that a :class:`Chain` needs to go on from an earlier sample."""

    filter_state: NDArray[np.float64]
    history: NDArray[np.float64]
    n_in: int
    raw_end: int
    out_end: int
    last: NDArray[np.float64]
    started: bool
    missing: int
    written: int
    unsettled: int
    counts: GapCounts


class Chain:
    """Fills gaps, filters, resamples; keeps the newest raw and filtered rows.

    Args:
        sos: The IIR cascade ``(n_sections, 6)``.
        filters: What it was designed from.
        source_hz: Rate of the rows that come.
        target_hz: Rate of the rows that are made.
        n_chans: Number of channels.
        keep_s: Seconds of both that can be read back.
    """

    def __init__(
        self,
        sos: NDArray[np.float64],
        filters: Sequence[Filter],
        source_hz: float,
        target_hz: float,
        n_chans: int,
        keep_s: float,
    ) -> None:
        self._filter = SosFilter(sos, n_chans)
        self.resampler = Resampler(source_hz, target_hz, n_chans, filters)
        self.settling = settling_samples(sos, source_hz) + self.resampler.n_taps - 1
        self._bridge = int(_BRIDGE_S * source_hz + 1e-9)
        self._reset = int(_RESET_S * source_hz + 1e-9)
        keep = int(keep_s * target_hz) + 2
        # Wherever filtered rows are kept, the raw rows under them are.
        self.raw = RingBuffer(self.resampler.newest_input(keep + 1) + 2, n_chans)
        self.out = RingBuffer(keep, n_chans + 1)
        self.counts = GapCounts()
        self._last = np.zeros(n_chans)
        self._started = False
        self._missing = self._written = self._unsettled = 0

    @property
    def position(self) -> int:
        """Positions of the sample grid that were fed or lost, filtered or not."""
        return self.resampler.n_in + self._missing - self._written

    @property
    def in_gap(self) -> bool:
        """Whether the newest sample is missing."""
        return self._missing > 0

    def save(self) -> ChainState:
        """Return the state; rows in the ring buffers are not copied, their ends are."""
        # No array in it is ever written to: each block makes new ones.
        return ChainState(
            self._filter.state,
            self.resampler.history,
            self.resampler.n_in,
            self.raw.end,
            self.out.end,
            self._last,
            self._started,
            self._missing,
            self._written,
            self._unsettled,
            self.counts,
        )

    def restore(self, state: ChainState) -> None:
        """Go back to a saved state."""
        self._filter.state = state.filter_state
        self.resampler.history = state.history
        self.resampler.n_in = state.n_in
        self.raw.rewind(state.raw_end)
        self.out.rewind(state.out_end)
        self._last, self._started = state.last, state.started
        self._missing, self._written, self._unsettled = state.missing, state.written, state.unsettled
        self.counts = state.counts

    def feed(self, rows: NDArray[np.float64]) -> None:
        """Take the next rows ``(n, c)`` in microvolts; a row with a NaN or infinity in it is missing."""
        finite = np.isfinite(rows)
        if np.logical_and.reduce(finite, axis=None):
            self._resume(rows[0])
            self._write(rows)
            return
        present = np.asarray(finite.all(axis=1))
        edges = [0, *(np.flatnonzero(np.diff(present)) + 1), len(rows)]
        for start, stop in itertools.pairwise(edges):
            if present[start]:
                self._resume(rows[start])
                self._write(rows[start:stop])
            else:
                self.counts = replace(self.counts, nan_samples=self.counts.nan_samples + int(stop - start))
                self._miss(int(stop - start))

    def lose(self, n: int) -> None:
        """Take note of ``n`` samples that never came."""
        self.counts = replace(self.counts, lost_samples=self.counts.lost_samples + n)
        self._miss(n)

    def restart(self) -> None:
        """Treat the next row as the first one: the clock was set, nobody knows what lies between."""
        self._started = False
        self.counts = replace(self.counts, resets=self.counts.resets + 1)

    def _miss(self, n: int) -> None:
        self._missing += n
        if self._missing <= self._bridge:
            return
        due = self._missing - self._written
        self._written = self._missing
        if due > self._reset:
            # Filters start again after this: there is no need to run them through it.
            self._skip(due)
        else:
            self._write(np.broadcast_to(self._last, (due, len(self._last))), GAP)

    def _resume(self, first: NDArray[np.float64]) -> None:
        missing, due = self._missing, self._missing - self._written
        self._missing = self._written = 0
        if not self._started:
            self._start(first)
            self._write(np.broadcast_to(first, (due, len(first))), GAP)
        elif not missing:
            return
        elif missing <= self._bridge:
            share = np.arange(1, due + 1)[:, None] / (due + 1)
            self._write(self._last + share * (first - self._last))
            self.counts = replace(self.counts, bridged=self.counts.bridged + 1)
        elif missing <= self._reset:
            self._unsettled = self.settling
            self.counts = replace(self.counts, gaps=self.counts.gaps + 1)
        else:
            self._start(first)
            self.counts = replace(self.counts, resets=self.counts.resets + 1)

    def _start(self, first: NDArray[np.float64]) -> None:
        self._started = True
        self._unsettled = self.settling
        self._filter.start(first)
        # What the filter gives for the first sample for ever, without moving its state.
        steady = self._filter.push(first[None])[0]
        self._filter.start(first)
        self.resampler.start(steady)

    def _write(self, rows: NDArray[np.float64], flag: int = 0) -> None:
        if not len(rows):
            return
        self.raw.append(rows)
        self._last = np.array(rows[-1])
        y, newest = self.resampler.push(self._filter.push(rows))
        settling = min(self._unsettled, len(rows))
        self._unsettled -= settling
        made = self.out.extend(len(y))
        made[:, :-1] = y
        made[:, -1] = np.maximum(flag, np.where(newest < settling, SETTLING, 0)) if settling else flag

    def _skip(self, n: int) -> None:
        self.raw.fill(n, self._last)
        self.resampler.skip(n)
        due = self.resampler.output_before(self.resampler.n_in) - self.out.end
        self.out.fill(due, np.append(np.zeros(len(self._last)), GAP))

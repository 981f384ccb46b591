"""The signal path: raw samples in, windows out. Training, offline evaluation and the stream all use it.

Montage by name -> microvolts -> gaps filled by the fitted clock -> causal IIR filters -> causal resampling
-> windows anchored at sample 0 -> scaling. What comes out depends on the samples only, never on how they
are cut into chunks, to the last bit.

A loss that the timestamps alone reveal is known one second after it (:mod:`mimamba_edge.signal.clock`).
The path then goes back to the loss, fills or marks it, and filters the second again, so that everything
after stands where it belongs on the grid. Windows given out in between stay as they were; those that
followed a sample more than 50 ms off its time were already marked ``"gap"``. A path with ``final=True`` waits
instead, and gives out only windows that no later sample can change: that is how trials are cut.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.errors import SignalError
from mimamba_edge.signal.chain import GAP, SETTLING, Chain, ChainState
from mimamba_edge.signal.clock import Clock, ClockEvent
from mimamba_edge.signal.filters import design_sos, group_delay_s, with_mains
from mimamba_edge.signal.montage import channel_columns, microvolts_per
from mimamba_edge.signal.quality import assess
from mimamba_edge.signal.ring_buffer import RingBuffer
from mimamba_edge.signal.scaling import apply_scaling
from mimamba_edge.signal.signal_format import SignalFormat

__all__ = ["Preprocessor", "Window"]

_KEPT_EVENTS = 1000


@dataclass(frozen=True)
class Window:
    """One window of the filtered stream.

    Attributes:
        data: Scaled network input ``(c, l)`` float32.
        uv: The same before scaling, microvolts, ``(c, l)`` float64.
        start: Index of its first sample at the contract's rate, from the first sample of the stream.
        stop: Index after its last sample.
        t_s: Time of its end in seconds from the first sample, by the fitted clock.
        valid: Whether a decision may rest on it.
        reason: Why not: ``"gap"``, ``"settling"``, ``"railed"`` or ``"flat"``.
        quality: Figures a channel, see :func:`mimamba_edge.signal.quality.assess`.
    """

    data: NDArray[np.float32]
    uv: NDArray[np.float64]
    start: int
    stop: int
    t_s: float
    valid: bool
    reason: str | None
    quality: dict[str, dict[str, Any]]


class Preprocessor:
    """Makes windows from the samples of one source. Memory and cost a sample do not grow.

    Args:
        contract: The model's contract, the only configuration.
        source: What the source says of its signal.
        mains_hz: Mains frequency here, if it is not the one of the training.
        channel_map: For channels that go by another name at the source: model name to source name.
        starts: First samples of the windows, rising, at the contract's rate; every hop by default.
        final: Give out only windows that no later sample can change.

    Raises:
        SignalError: A channel is missing, or rate, unit or filters do not fit.
    """

    def __init__(
        self,
        contract: Contract,
        source: SignalFormat,
        *,
        mains_hz: float | None = None,
        channel_map: Mapping[str, str] | None = None,
        starts: Iterable[int] | None = None,
        final: bool = False,
    ) -> None:
        self.contract = contract
        self.mains_hz = contract.mains_hz if mains_hz is None else mains_hz
        self._columns = np.array(channel_columns(contract.ch_names, source.ch_names, channel_map))
        self._factor = microvolts_per(source.unit)
        self._source, self._sfreq, self._final = source, source.sfreq, final
        filters = with_mains(contract.filters, contract.mains_hz, mains_hz)
        self._sos = design_sos(filters, self._sfreq)
        self._clock = Clock(self._sfreq)
        look_back_s = (self._clock.look_back + 2 * self._clock.step) / self._sfreq
        self._chain = Chain(
            self._sos,
            filters,
            self._sfreq,
            contract.sfreq,
            contract.n_chans,
            keep_s=contract.window_s + contract.hop / contract.sfreq + look_back_s,
        )
        # A judgement reaches back to a saved state, which can stand some steps before what it looks back to.
        self._received = RingBuffer(self._clock.look_back + 6 * self._clock.step, contract.n_chans)
        self._fed = 0
        self._states: deque[tuple[int, ChainState]] = deque()
        self._recent: list[ClockEvent] = []
        self._hops = starts is None
        self._starts = itertools.count(0, contract.hop) if starts is None else iter(starts)
        self._next: int | None = None
        self._due = 0
        self._advance()
        self._windows: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._taken_back = self._unsure = self._last_lost = 0
        self.events: deque[ClockEvent] = deque(maxlen=_KEPT_EVENTS)
        self._work: Iterator[list[Window]] = iter(())

    @property
    def settling_s(self) -> float:
        """Seconds after the start, a gap or a reset during which windows are not decided."""
        return self._chain.settling / self._sfreq

    def delay_s(self, freq_hz: float = 10.0) -> float:
        """Return the delay of filters and resampler in seconds at one frequency."""
        return group_delay_s(self._sos, self._sfreq, freq_hz) + self._chain.resampler.delay_s

    def algorithmic_delay_ms(self, freq_hz: float = 10.0) -> float:
        """Return half a window plus :meth:`delay_s`, in milliseconds: how old what a decision shows is."""
        return 1e3 * (0.5 * self.contract.window_s + self.delay_s(freq_hz))

    @property
    def report(self) -> dict[str, Any]:
        """Counters since the start, JSON-ready."""
        counts = asdict(self._chain.counts)
        return {
            "samples": self._clock.n,
            **counts,
            "lost_samples": counts["lost_samples"] - self._taken_back,
            "unsure_samples": self._unsure,
            "losses": self._events["loss"] - self._events["late"],
            "clock_steps": self._events["clock-step"],
            "late": self._events["late"],
            "suspicions": self._clock.suspicions,
            "windows": self._windows.total(),
            "valid": self._windows["valid"],
            "no_decision": {k: v for k, v in sorted(self._windows.items()) if k != "valid"},
        }

    def push(
        self, samples: NDArray[np.float64], timestamps: NDArray[np.float64], *, pause: bool = False
    ) -> list[Window]:
        """Take the next samples and return the windows they complete.

        Args:
            samples: ``(n, n_source_chans)`` in the source's unit; NaN where a sample is missing.
            timestamps: ``(n,)`` seconds, as recorded: jittered, never sorted or smoothed.
            pause: Return once no more windows are due; :meth:`finish` must then come before anything else.

        Raises:
            SignalError: The shapes do not fit, or a timestamp is not a number.
        """
        samples, timestamps = np.asarray(samples, np.float64), np.asarray(timestamps, np.float64)
        _check(samples, timestamps)
        rows = samples.take(self._columns, axis=1) * self._factor
        self._work = self._take(rows, timestamps)
        return next(self._work) if pause else self.finish()

    def finish(self) -> list[Window]:
        """Do what a :meth:`push` that paused has left; return the windows that only this could tell of."""
        work, self._work = self._work, iter(())
        return list(itertools.chain.from_iterable(work))

    def _take(self, rows: NDArray[np.float64], times: NDArray[np.float64]) -> Iterator[list[Window]]:
        """Take the next rows; yield windows when no more are due, and at the end."""
        # Nothing is filtered before a window can be cut, but a gap is counted when it comes.
        at_once = not (self._final or np.logical_and.reduce(np.isfinite(rows), axis=None))
        clock, step = self._clock, self._clock.step
        windows: list[Window] = []
        at = 0
        while at < len(rows):
            stop = at + min(len(rows) - at, step - clock.n % step)
            self._received.append(rows[at:stop])
            clock.push(times[at:stop])
            at = stop
            if at_once or clock.n - self._fed >= step or self._is_due():
                self._feed()
                windows += self._ready()
                if windows and self._chain.position + len(rows) - at < self._due:
                    yield windows
                    windows = []
            if clock.n % step == 0 and (event := clock.detect()) is not None:
                self.correct(event)
                windows += self._ready()
        yield windows

    def filtered(self, start: int) -> tuple[int, NDArray[np.float64]]:
        """Return the filtered rows from ``start`` on, or from the oldest one kept, up to the newest sample.

        After a loss was found, rows from its place on stand for other times than before.

        Returns:
            Index of the first row at the contract's rate, and the rows ``(n, c)`` in microvolts.
        """
        if self._clock.n > self._fed:
            self._feed()
        buffer = self._chain.out
        first = min(max(start, buffer.first), buffer.end)
        return first, buffer.read(first, buffer.end)[:, :-1]

    def flush(self) -> list[Window]:
        """Return the windows a path with ``final=True`` still holds back at the end of a recording."""
        self._final = False
        if self._clock.n > self._fed:
            self._feed()
        return self._ready()

    def _is_due(self) -> bool:
        """Return whether what was received completes a window or ends a gap."""
        if self._final:
            return False
        return self._chain.in_gap or self._chain.position + self._clock.n - self._fed >= self._due

    def _feed(self) -> None:
        """Filter what was received since the last time."""
        at, self._fed = self._fed, self._clock.n
        if not self._states or at - self._states[-1][0] >= self._clock.step:
            self._states.append((at, self._chain.save()))
        while len(self._states) > 1 and self._states[1][0] < self._fed - self._clock.look_back:
            self._states.popleft()
        self._chain.feed(self._received.read(at, self._fed))

    def correct(self, event: ClockEvent) -> None:
        """Go back to where the event took place and filter everything since then again."""
        self.events.append(event)
        self._events[event.kind] += 1
        if event.unsure:
            self._unsure += event.n_lost
        if event.kind == "late":
            self._taken_back += self._last_lost
        elif event.n_lost:
            self._last_lost = event.n_lost
        oldest = self._states[0][0]
        self._recent = sorted(
            [e for e in self._recent if e.sample >= oldest] + [event], key=lambda e: e.sample
        )
        while len(self._states) > 1 and self._states[-1][0] > event.sample:
            self._states.pop()
        at, state = self._states.pop()
        self._chain.restore(state)
        events = [e for e in self._recent if e.sample >= at]
        end, step = self._clock.n, self._clock.step
        self._fed = end
        for stop in sorted({*range(at, end, step), *(e.sample for e in events), end}):
            if stop > at:
                self._chain.feed(self._received.read(at, stop))
                at = stop
            if stop < end and (not self._states or stop - self._states[-1][0] >= step):
                self._states.append((stop, self._chain.save()))
            for e in events:
                if e.sample == stop and e.n_lost:
                    self._chain.lose(e.n_lost)
                elif e.sample == stop:
                    self._chain.restart()

    def _ready(self) -> list[Window]:
        end = self._states[0][1].out_end if self._final and self._states else self._chain.out.end
        windows = []
        while self._next is not None and self._next + self.contract.n_times <= end:
            # Deep inside a long gap nothing is kept. A stream passes over it; a trial must hear of it.
            kept = self._next >= self._chain.out.first
            if kept or not self._hops:
                t_s = self._clock.time_s(self._due - 1)
                window = self._cut(self._next, t_s) if kept else _lost(self.contract, self._next, t_s)
                self._windows[window.reason or "valid"] += 1
                windows.append(window)
            self._advance()
        return windows

    def _advance(self) -> None:
        """Look for the next window, and up to which position of the sample grid it needs the signal."""
        self._next = next(self._starts, None)
        self._due = sys.maxsize
        if self._next is not None:
            self._due = self._chain.resampler.newest_input(self._next + self.contract.n_times - 1) + 1

    def _cut(self, start: int, t_s: float) -> Window:
        stop = start + self.contract.n_times
        rows = self._chain.out.read(start, stop)
        uv = np.ascontiguousarray(rows[:, :-1].T)
        raw = self._chain.raw.read(self._chain.resampler.newest_input(start), self._due)
        quality, reason = assess(
            raw, rows[:, :-1], self.contract.ch_names, self._sfreq, self.mains_hz, self._source.rails_uv
        )
        suspect = None if self._source.counted else self._clock.suspect_grid
        flag = np.maximum.reduce(rows[:, -1])
        if flag == GAP or (suspect is not None and suspect < self._due):
            reason = "gap"
        elif flag == SETTLING:
            reason = "settling"
        return Window(
            data=apply_scaling(uv, self.contract.scaling),
            uv=uv,
            start=start,
            stop=stop,
            t_s=t_s,
            valid=reason is None,
            reason=reason,
            quality=quality,
        )


def _check(samples: NDArray[np.float64], timestamps: NDArray[np.float64]) -> None:
    shaped = samples.ndim == 2 and timestamps.shape == samples.shape[:1]
    if not (shaped and np.logical_and.reduce(np.isfinite(timestamps))):
        n_bad = int((~np.isfinite(timestamps)).sum())
        raise SignalError(
            "a chunk that the signal path cannot take",
            got=f"samples {samples.shape}, times {timestamps.shape}, {n_bad} of them not numbers",
            expected="samples (n, channels) and n finite timestamps",
        )


def _lost(contract: Contract, start: int, t_s: float) -> Window:
    """Return a window of which nothing was kept."""
    shape = (contract.n_chans, contract.n_times)
    stop = start + contract.n_times
    return Window(np.zeros(shape, np.float32), np.zeros(shape), start, stop, t_s, False, "gap", {})

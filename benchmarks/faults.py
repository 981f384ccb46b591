"""Faults put into any source, from a script that a seed writes, with a log of what was done where.

A fault begins with a packet of the source it is put into. What a fault takes away is gone as on the air:
time runs on. The log says where each fault stands among the samples that are left once duplicated and
late packets have been taken out again: that is where a recording and its notices must show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mimamba_edge.errors import SourceError
from mimamba_edge.stream.sources.base import Chunk, Notice, Source

__all__ = ["KINDS", "Fault", "FaultySource", "write_script"]

PACKET = 12
_SPACING_S = (7.0, 10.0)
"""From the end of a fault to the next one: gaps are found after a second, filters settle in two."""
_FIRST_S = 8.0


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: A key of :data:`KINDS`, ``"rate"`` or ``"dies"``.
        at: Sample of the source before which it begins; moved on to the next packet.
        n: Samples it lasts.
        channel: Which channel, where one is concerned.
        step_s: Seconds by which the clock moves; for ``"rate"`` the share by which it runs slow.
    """

    kind: str
    at: int
    n: int = 0
    channel: int = 0
    step_s: float = 0.0


KINDS: dict[str, tuple[float, float]] = {
    # name: seconds it lasts (0: a packet), seconds the clock moves
    "packet": (0, 0),
    "gap": (1, 0),
    "long-gap": (30, 0),
    "disconnect": (3, 0),
    "nan-short": (0, 0),
    "nan": (0.5, 0),
    "railed": (1.5, 0),
    "flat": (2.5, 0),
    "clock-back": (0, -5.0),
    "clock-back-little": (0, -0.2),
    "clock-forth": (0, 7200.0),
    "duplicate": (0, 0),
    "reorder": (0, 0),
}
"""A clock set forth by less than an hour cannot be told from a loss without a packet counter, and is one."""
_AWAY = ("packet", "gap", "long-gap", "disconnect")


def write_script(seed: int, seconds: float, *, sfreq: float, n_chans: int, dies: bool = True) -> list[Fault]:
    """Write a script: all kinds in turn, in another order each time, by a clock that is off.

    Args:
        seed: Everything follows from it.
        seconds: Length of the signal; the source dies at its end.
        sfreq: Rate of the source in Hz.
        n_chans: Channels of the source.
        dies: Whether it dies.
    """
    rng = np.random.default_rng(seed)
    faults = [Fault("rate", 0, round(seconds * sfreq), step_s=0.001)]
    at, waiting = _FIRST_S, [*KINDS]
    rng.shuffle(waiting)
    while waiting:
        kind = waiting.pop()
        lasts, step_s = KINDS[kind]
        if at + lasts + _SPACING_S[1] < seconds:
            n = round(lasts * sfreq) or PACKET
            faults.append(Fault(kind, round(at * sfreq), n, int(rng.integers(n_chans)), step_s))
            at += lasts + rng.uniform(*_SPACING_S)
        elif not any(at + KINDS[k][0] + _SPACING_S[1] < seconds for k in waiting):
            break
        if not waiting:
            waiting = [*KINDS]
            rng.shuffle(waiting)
    if dies:
        faults.append(Fault("dies", round(seconds * sfreq)))
    return faults


class FaultySource:
    """A source with faults put into it.

    Args:
        source: Gives packets.
        faults: What to do to it.

    Attributes:
        log: What was done, JSON-ready: the fault, ``kept``, samples that a recording holds before it, and
            ``clock_s``, seconds by which the clock had been set before.
    """

    def __init__(self, source: Source, faults: Sequence[Fault]) -> None:
        self._source = source
        self.name, self.ch_names, self.sfreq = source.name, source.ch_names, source.sfreq
        self.unit, self.rails_uv, self.live = source.unit, source.rails_uv, source.live
        self.device: dict[str, Any] = source.device
        self._waiting = sorted(faults, key=lambda f: f.at, reverse=True)
        self._active: list[Fault] = []
        self._drift = self._clock_s = self._slow = 0.0
        self._last: float | None = None
        self._held: Chunk | None = None
        self._lost_contact = False
        self._kept = self._given = 0
        self.log: list[dict[str, Any]] = []

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def chunks(self) -> Iterator[Chunk]:
        """Yield the source's packets, or what is left of them.

        Raises:
            SourceError: The script lets the source die, or it did so by itself.
        """
        at = 0
        for chunk in self._source.chunks():
            begun = self._begin(at)
            yield from self._through(chunk, at, begun)
            at += len(chunk.samples)
        if self._waiting and self._waiting[0].kind == "dies":
            self._log(self._waiting[0])
            raise SourceError("the source died", do="nothing: this was injected")

    def _begin(self, at: int) -> set[str]:
        """Take up the faults that begin with this packet."""
        begun = set()
        self._active = [f for f in self._active if f.at + f.n > at]
        while self._waiting and self._waiting[-1].at <= at and self._waiting[-1].kind != "dies":
            fault = self._waiting.pop()
            fault = Fault(fault.kind, at, fault.n, fault.channel, fault.step_s)
            self._log(fault)
            self._active.append(fault)
            begun.add(fault.kind)
            if fault.kind.startswith("clock"):
                self._clock_s += fault.step_s
        self._slow = sum(f.step_s for f in self._active if f.kind == "rate")
        return begun

    def _log(self, fault: Fault) -> None:
        self.log.append({**asdict(fault), "kept": self._kept, "clock_s": self._clock_s})

    def _through(self, chunk: Chunk, at: int, begun: set[str]) -> Iterator[Chunk]:
        times = self._timed(chunk.timestamps)
        samples = chunk.samples.copy()
        index = np.arange(at, at + len(samples))
        present = np.ones(len(samples), dtype=bool)
        for fault in self._active:
            inside = (index >= fault.at) & (index < fault.at + fault.n)
            if fault.kind.startswith("nan"):
                samples[inside, fault.channel] = np.nan
            elif fault.kind == "railed":
                samples[inside, fault.channel] = self.rails_uv[1] if self.rails_uv else 1e6
            elif fault.kind == "flat":
                samples[inside, fault.channel] = 12.5
            elif fault.kind in _AWAY:
                present &= ~inside
        notices = list(chunk.notices)
        away = any(f.kind == "disconnect" for f in self._active) and not present.any()
        if away != self._lost_contact:
            kind = "disconnected" if away else "reconnected"
            notices.append(Notice(kind, "injected", sample=self._given))
            self._lost_contact = away
        given = Chunk(samples[present], times[present], chunk.arrived, chunk.t_unix, tuple(notices))
        if "reorder" in begun:
            self._held = given
            return
        self._kept += len(given.samples)
        again = given if "duplicate" in begun else self._held
        self._held = None
        for part in (given, again):
            if part is not None:
                self._given += len(part.samples)
                yield part

    def _timed(self, timestamps: np.ndarray) -> np.ndarray:
        """Return the times by the faulty clock."""
        times = []
        for time in timestamps.tolist():
            self._drift += self._slow * (0.0 if self._last is None else time - self._last)
            self._last = time
            times.append(time + self._drift + self._clock_s)
        return np.array(times)

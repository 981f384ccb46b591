"""Live signal from the lab streaming layer (LSL).

Time stamps stay as the stream's outlet gave them: no dejittering, no monotonising, no clock offset added.
Losses hide in stamps that were smoothed, and an offset that is measured again every few seconds would itself
step. The signal path fits the clock; what maps the stamps to this machine's LSL clock is kept beside them
(:attr:`LslSource.clock_offset_s`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.data.recording import known_rails_uv
from mimamba_edge.data.spec_options import read_pairs
from mimamba_edge.errors import ConfigError, SignalError, SourceError
from mimamba_edge.naming import listed
from mimamba_edge.signal.montage import microvolts_per, voltage
from mimamba_edge.signal.source_limits import check_claims
from mimamba_edge.stream.sources.base import HEARTBEAT_S, Chunk, Notice
from mimamba_edge.stream.sources.lsl_network import (
    BUFFER_S,
    KEYS,
    OPEN_S,
    WAIT_S,
    check_named,
    choose,
    describe,
    fits,
    load_pylsl,
)
from mimamba_edge.stream.sources.spec import read_rate

__all__ = ["LslSource", "open_spec"]

SILENT_S = 5.0
"""Without a sample for so long, the network is asked whether the stream is still there: a computer that
was switched off closes no connection."""
ANSWER_S = 3.0
OFFSET_EVERY_S = 2.0
_MOST = 4096


def open_spec(rest: str, parameters: Mapping[str, str]) -> LslSource:
    """Open ``lsl:name=X``, ``lsl:type=EEG``, ``lsl:source_id=…`` or several of them joined by ``&``.

    Args:
        rest: What follows ``lsl:``.
        parameters: What follows ``?``: more of the same, or ``unit`` and ``sfreq``, which overrule the
            stream's.

    Raises:
        ConfigError: The text cannot be understood.
        DependencyError: pylsl or its library is missing.
        SourceError: No stream fits, several do, or the stream is no signal.
    """
    wanted = {**read_pairs(rest), **parameters}
    unit, sfreq = wanted.pop("unit", None), read_rate(wanted)
    check_named(wanted, rest)
    known = None if unit is None else voltage(unit)
    if unit is not None and known is None:
        raise ConfigError("unknown unit", got=printable(unit), expected="uV, mV, nV or V")
    return LslSource(wanted, unit=known, sfreq=sfreq)


@dataclass(frozen=True)
class _Shape:
    """What must be the same when a stream comes back."""

    ch_names: tuple[str, ...]
    sfreq: float
    unit: str
    factors: tuple[float, ...] | None
    unit_assumed: bool

    def text(self) -> str:
        """Return it for people."""
        return f"{listed([printable(name) for name in self.ch_names])} at {self.sfreq:g} Hz in {self.unit}"


def signal_shape(info: Any, unit: str | None, sfreq: float | None = None) -> _Shape:
    """Read a full description; labels are whatever text stands there."""
    sfreq = info.nominal_srate() if sfreq is None else sfreq
    labels: list[str] = []
    units: list[str] = []
    channel = info.desc().child("channels").child("channel")
    while not channel.empty() and len(labels) < info.channel_count():
        labels.append(channel.child_value("label"))
        units.append(channel.child_value("unit"))
        channel = channel.next_sibling("channel")
    missing = info.channel_count() - len(labels)
    labels += [""] * missing
    units += [""] * missing
    names = tuple(label or f"ch{k}" for k, label in enumerate(labels, 1))
    volts = [voltage(one) for one in units]
    voltages = {one for one in volts if one is not None}
    if unit is not None or not any(units):
        return _Shape(names, sfreq, unit or "uV", None, unit is None)
    if not voltages:
        raise SourceError(
            f"the LSL stream {printable(info.name())!r} is not a voltage",
            got=listed(sorted({printable(one) for one in units})),
            expected="microvolts, millivolts or volts",
            do="if its description is wrong, state the unit: lsl:name=…?unit=uV",
        )
    if len(voltages) == 1:
        return _Shape(names, sfreq, voltages.pop(), None, False)
    factors = tuple(1.0 if one is None else microvolts_per(one) for one in volts)
    return _Shape(names, sfreq, "uV", factors, False)


def _check_claims(info: Any, sfreq: float, names: Sequence[str] = ()) -> None:
    try:
        check_claims(sfreq, info.channel_count(), names)
    except SignalError as error:
        raise SourceError(
            f"the LSL stream {describe(info)} cannot be used: {error.what}",
            got=error.got,
            expected=error.expected,
        ) from error


class LslSource:
    """Reads one LSL stream; when it is lost, waits for it to come back.

    Args:
        wanted: What the stream must have: ``name``, ``type``, ``source_id``.
        unit: Its unit, if its description is wrong or silent.
        sfreq: Its rate in Hz, if its description is wrong or silent.
        wait_s: How long to wait for it to be there.

    Attributes:
        clock_offset_s: What must be added to a time stamp for this machine's LSL clock
            (``pylsl.local_clock``), measured every 2 s; ``None`` until the first measurement.

    Raises:
        DependencyError: pylsl or its library is missing.
        SourceError: No stream fits, several do, or the stream is no signal at a fixed rate.
    """

    live = True

    def __init__(
        self,
        wanted: Mapping[str, str],
        *,
        unit: str | None = None,
        sfreq: float | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self._pylsl = load_pylsl()
        self._unit, self._sfreq = unit, sfreq
        self._closed = threading.Event()
        self._resolver: Any = None
        self._asked = self._heard = self._measured = 0.0
        self._given = 0
        self.clock_offset_s: float | None = None
        self.name = "lsl:" + "&".join(f"{key}={value}" for key, value in wanted.items())
        self._info = choose(wanted, wait_s)
        self._inlet: Any = None
        try:
            self._inlet, self._shape = self._connect(self._info)
        except RuntimeError as error:
            raise SourceError(
                f"the LSL stream {describe(self._info)} was found but cannot be opened",
                got=str(error),
                do="check that no firewall blocks TCP ports 16572 to 16604",
            ) from error
        self.ch_names, self.sfreq, self.unit = self._shape.ch_names, self._shape.sfreq, self._shape.unit
        self.rails_uv = known_rails_uv(self.ch_names) if self.unit == "uV" else None
        self.device: dict[str, Any] = {
            "driver": f"liblsl {self._pylsl.library_version() / 100:g}",
            "stream": self._info.name(),
            "type": self._info.type(),
            "unit": "assumed, the stream gives none" if self._shape.unit_assumed else "the stream's",
        }

    def _connect(self, info: Any) -> tuple[Any, _Shape]:
        if info.channel_format() in (self._pylsl.cf_string, self._pylsl.cf_undefined):
            raise SourceError(f"the LSL stream {describe(info)} holds texts", expected="a numeric signal")
        sfreq = info.nominal_srate() if self._sfreq is None else self._sfreq
        if sfreq == 0:
            raise SourceError(
                f"the LSL stream {describe(info)} does not say its rate",
                expected="a nominal rate in Hz",
                do="if its samples come at a fixed rate, state it: lsl:name=…?sfreq=256",
            )
        _check_claims(info, sfreq)
        # Not liblsl's own recovery: it tells nobody, and needs a source_id.
        inlet = self._pylsl.StreamInlet(info, max_buflen=BUFFER_S, recover=False)
        shape = signal_shape(inlet.info(timeout=OPEN_S), self._unit, sfreq)
        _check_claims(info, sfreq, shape.ch_names)
        return inlet, shape

    def chunks(self) -> Iterator[Chunk]:
        """Yield samples as they come.

        Raises:
            SourceError: The stream came back with other channels or another rate.
        """
        opened = False
        notices: tuple[Notice, ...] = ()
        try:
            while not self._closed.is_set():
                if self._inlet is None:
                    if not self._come_back():
                        yield self._nothing()
                        continue
                    notices, opened = (self._notice("reconnected"),), False
                try:
                    if not opened:
                        self._inlet.open_stream(timeout=OPEN_S)
                        opened, self._heard = True, time.monotonic()
                    samples, timestamps = self._pull()
                except RuntimeError as error:
                    # pylsl.util.LostError, TimeoutError, InternalError: all are RuntimeErrors.
                    self._lose()
                    yield self._nothing((*notices, self._notice("disconnected", str(error))))
                    notices = ()
                    continue
                self._given += len(samples)
                yield Chunk(samples, timestamps, time.perf_counter(), time.time(), notices)
                notices = ()
        finally:
            self._lose()

    def close(self) -> None:
        """End :meth:`chunks`."""
        self._closed.set()

    def _notice(self, kind: str, text: str = "") -> Notice:
        return Notice(kind, text or f"LSL stream {printable(self._info.name())!r}", sample=self._given)

    def _nothing(self, notices: tuple[Notice, ...] = ()) -> Chunk:
        return Chunk(np.empty((0, len(self.ch_names))), np.empty(0), notices=notices)

    def _pull(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Wait for a sample and take all that is there; raise ``RuntimeError`` if the stream is lost."""
        first, stamp = self._inlet.pull_sample(timeout=HEARTBEAT_S / 2)
        now = time.monotonic()
        if now - self._measured > OFFSET_EVERY_S:
            self._measured = now
            self._measure()
        if first is None:
            if now - self._heard > SILENT_S and self._is_gone(now):
                raise RuntimeError("silent, and no longer on the network")
            return np.empty((0, len(self.ch_names))), np.empty(0)
        self._heard, self._resolver = now, None
        rows, stamps = [first], [stamp]
        try:
            more, more_stamps = self._inlet.pull_chunk(timeout=0.0, max_samples=_MOST)
            rows += more
            stamps += more_stamps
        except RuntimeError:
            # What was taken must not be lost with the stream; the next call says so again.
            pass
        samples = np.array(rows, dtype=np.float64)
        if self._shape.factors is not None:
            samples *= np.array(self._shape.factors)
        return samples, np.array(stamps, dtype=np.float64)

    def _measure(self) -> None:
        # The first call starts the measurement; later ones return the newest result at once.
        with contextlib.suppress(RuntimeError):
            self.clock_offset_s = float(self._inlet.time_correction(timeout=0.0))

    def _is_gone(self, now: float) -> bool:
        """Ask the network for the stream that is silent."""
        if self._resolver is None:
            self._resolver, self._asked = self._pylsl.ContinuousResolver(), now
        there = any(info.uid() == self._info.uid() for info in self._resolver.results())
        return not there and now - self._asked > ANSWER_S

    def _lose(self) -> None:
        # The destructor of an inlet ends its threads.
        self._inlet = self._resolver = None
        self.clock_offset_s = None

    def _come_back(self) -> bool:
        """Look for the stream a while; ``True`` once it is connected again.

        Raises:
            SourceError: It is not what it was.
        """
        if self._resolver is None:
            self._resolver = self._pylsl.ContinuousResolver()
        self._closed.wait(HEARTBEAT_S / 2)
        before = {key: getattr(self._info, key)() for key in KEYS}
        # Who has no source_id is known by its computer.
        host = None if before["source_id"] else self._info.hostname()
        for info in self._resolver.results():
            if not fits(info, before) or (host is not None and info.hostname() != host):
                continue
            try:
                inlet, shape = self._connect(info)
            except RuntimeError:
                continue
            if shape != self._shape:
                raise SourceError(
                    f"the LSL stream {describe(info)} came back with a different signal",
                    got=shape.text(),
                    expected=self._shape.text(),
                    do="start the program again",
                )
            self._inlet, self._info, self._resolver, self._measured = inlet, info, None, 0.0
            return True
        return False

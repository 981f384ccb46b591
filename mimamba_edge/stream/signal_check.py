"""Whether a headset sits well: figures of each channel from its signal, in words, until all are good.

The figures come from the signal, not from an impedance measurement: a channel that looks good here is quiet
and alive, which a good contact is the usual reason for.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.mains import CANDIDATES_HZ
from mimamba_edge.errors import SignalError, SourceError
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.montage import channel_columns, microvolts_per
from mimamba_edge.signal.preprocessor import Window
from mimamba_edge.stream.preprocessing import preprocessor_of_source
from mimamba_edge.stream.read_seconds import read_seconds
from mimamba_edge.stream.sources.base import Chunk, Source

__all__ = [
    "DRIFT_UV_S",
    "GOOD_S",
    "MAINS_RATIO",
    "RAILED_SHARE",
    "RMS_UV",
    "SCHEMA",
    "ChannelCheck",
    "SignalCheck",
    "faults",
    "watch",
]

SCHEMA = "mimamba.fit.1"
GOOD_S = 5.0
"""So long all channels must be good at once."""
RAILED_SHARE = 0.01
"""As the signal path: a window with more samples at a rail is not decided on."""
MAINS_RATIO = 0.9
"""Ours. Dry electrodes behind the ears carry 0.55 to 0.81 in the shared SSVEP recordings, which are decoded
well behind the notch; an electrode in the air carries nearly nothing else."""
RMS_UV = 50.0
"""muselsl's viewer (viewer_v2.py) turns from green at 15 to red at 45, for one second of 3 to 40 Hz; a blink
on the forehead is near 40 and must not count as a bad contact."""
DRIFT_UV_S = 50.0
"""Ours: three times the fastest of the shared recordings (15); a Muse would be at its rail in 20 s."""

_WINDOW_S, _HOP_S = 1.0, 0.25
_DRIFT_OVER = 5
"""Medians of whole seconds that the drift is taken over."""

_DO = {
    "no signal": "put the electrode on, or check its cable",
    "railed": "press the electrode on; check cable and ear clip",
    "mains": "wet the electrode; check ear clip or reference",
    "noisy": "wet the electrode, part the hair, relax the jaw",
    "drifting": "wait until the electrode settles, or wipe and wet the skin",
}
_ALL = "all channels have the same problem: check the ear clip or reference first"


@dataclass(frozen=True)
class ChannelCheck:
    """How one channel looks now.

    Attributes:
        figures: ``rms_uv`` (filtered), ``flat``, ``railed``, ``mains_ratio``, as
            :func:`mimamba_edge.signal.quality.assess` gives them, and ``drift_uv_s`` (of the raw signal, or
            ``None`` in the first seconds).
        faults: What is wrong with it, in a word each; none for a good channel.
    """

    figures: dict[str, Any]
    faults: tuple[str, ...]

    @property
    def do(self) -> str:
        """What helps, after the first fault."""
        return _DO[self.faults[0]] if self.faults else ""


def faults(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is wrong with a channel of these figures, the gravest first."""
    found = []
    if figures["flat"]:
        found.append("no signal")
    if (figures["railed"] or 0.0) > RAILED_SHARE:
        found.append("railed")
    if (figures["mains_ratio"] or 0.0) > MAINS_RATIO and not figures["flat"]:
        found.append("mains")
    if figures["rms_uv"] > RMS_UV:
        found.append("noisy")
    if (figures.get("drift_uv_s") or 0.0) > DRIFT_UV_S:
        found.append("drifting")
    return tuple(found)


class SignalCheck:
    """Judges the channels of a source window by window. Nothing in it grows with time.

    Args:
        source: Where samples come from.
        contract: Of a model: then its channels and filters; else all channels of the source, 1 to 45 Hz.
        channel_map: Name here to the source's name; without a contract only these channels are judged.

    Attributes:
        channels: The newest judgement of each channel.
        mains_hz: Of the two mains frequencies the one that stands out more, for the newest window.
        reason: Why the newest window says nothing of the channels: ``"gap"`` or ``"settling"``.
        good_s: For how long all channels have been good.
        seconds: Signal seen so far.

    Raises:
        SourceError: The source lacks a channel, or its rate, unit or filters do not fit.
    """

    def __init__(
        self,
        source: Source,
        *,
        contract: Contract | None = None,
        channel_map: Mapping[str, str] | None = None,
    ) -> None:
        self.channels: dict[str, ChannelCheck] = {}
        self.mains_hz: float | None = None
        self.reason: str | None = "settling"
        self.good_s = self.seconds = 0.0
        self._sfreq = source.sfreq
        try:
            contract = _contract(source, contract, channel_map)
            # Which mains is here is not known before; each path stands for one.
            self._paths = {
                hz: preprocessor_of_source(source, contract, channel_map=channel_map, mains_hz=hz)
                for hz in CANDIDATES_HZ
            }
            columns = channel_columns(contract.ch_names, source.ch_names, channel_map)
            self._drift = _Drift(columns, microvolts_per(source.unit), source.sfreq)
        except SignalError as error:
            raise SourceError(
                f"{source.name}: {error.what}", got=error.got, expected=error.expected, do=error.do
            ) from error
        self.contract = contract
        self._good_from: int | None = None

    @property
    def done(self) -> bool:
        """Whether all channels have been good for long enough."""
        return self.good_s >= GOOD_S

    def push(self, chunk: Chunk) -> bool:
        """Take the next samples; return whether there is something new to show."""
        self.seconds += len(chunk.samples) / self._sfreq
        self._drift.push(chunk.samples)
        windows = [path.push(chunk.samples, chunk.timestamps) for path in self._paths.values()]
        for several in zip(*windows, strict=True):
            self._check(several)
            if self.done:
                break
        return bool(windows[0])

    def _check(self, windows: tuple[Window, ...]) -> None:
        mains = [_mains(window) for window in windows]
        best = int(np.argmax(mains))
        window = windows[best]
        self.mains_hz = CANDIDATES_HZ[best] if mains[best] > 0 else None
        self.reason = window.reason if window.reason in ("gap", "settling") else None
        drift = self._drift.uv_s
        self.channels = {}
        for number, (name, quality) in enumerate(window.quality.items()):
            figures = {**quality, "drift_uv_s": None if drift is None else round(float(drift[number]), 2)}
            self.channels[name] = ChannelCheck(figures, faults(figures))
        if self.reason or not self.channels or any(channel.faults for channel in self.channels.values()):
            self._good_from, self.good_s = None, 0.0
            return
        if self._good_from is None:
            self._good_from = window.start
        self.good_s = (window.stop - self._good_from) / self.contract.sfreq

    def report(self) -> dict[str, Any]:
        """Return the state, JSON-ready."""
        return {
            "schema": SCHEMA,
            "good": self.done,
            "good_s": self.good_s,
            "seconds": round(self.seconds, 3),
            "mains_hz": self.mains_hz,
            "waiting_for": self.reason,
            "advice": self.advice,
            "channels": {
                name: {**held.figures, "good": not held.faults, "faults": list(held.faults), "do": held.do}
                for name, held in self.channels.items()
            },
            "method": "computed from the signal, not an impedance",
        }

    @property
    def advice(self) -> str:
        """What to do first where one cause explains all channels; else empty."""
        first = {held.faults[:1] for held in self.channels.values()}
        alike = len(self.channels) > 1 and len(first) == 1 and first != {()}
        return _ALL if alike else ""


def watch(
    fit: SignalCheck, source: Source, seconds: float, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[SignalCheck]:
    """Yield ``fit`` whenever there is something new, or still nothing, until all were good or time is over.

    Args:
        fit: Made for ``source``.
        source: Closed at the end.
        seconds: Of signal; of a live source also by the clock, as it may be silent.
        clock: Monotonic seconds.
    """
    for chunk in read_seconds(source, seconds, clock=clock):
        if fit.push(chunk) or not fit.seconds:
            yield fit
        if fit.done:
            return


def _contract(source: Source, model: Contract | None, channel_map: Mapping[str, str] | None) -> Contract:
    """Return the contract of windows of one second, four a second."""
    if model is not None:
        n_times, hop = round(_WINDOW_S * model.sfreq), max(1, round(_HOP_S * model.sfreq))
        return dataclasses.replace(model, n_times=n_times, hop=hop, scaling=Scaling("none"))
    mains_hz = CANDIDATES_HZ[0]
    return Contract(
        ch_names=tuple(channel_map or source.ch_names),
        sfreq=source.sfreq,
        n_times=round(_WINDOW_S * source.sfreq),
        hop=max(1, round(_HOP_S * source.sfreq)),
        class_names=("good", "bad"),
        filters=default_filters(source.sfreq, mains_hz),
        mains_hz=mains_hz,
        scaling=Scaling("none"),
    )


def _mains(window: Window) -> float:
    """Return the mean share of the mains over channels; 0 where the rate cannot show it."""
    ratios = [figures["mains_ratio"] or 0.0 for figures in window.quality.values()]
    return float(np.mean(ratios)) if ratios else 0.0


class _Drift:
    """How fast the raw level of each channel moves: medians of whole seconds, which blinks do not move."""

    def __init__(self, columns: list[int], factor: float, sfreq: float) -> None:
        self._columns, self._factor, self._n = columns, factor, max(1, round(sfreq))
        self._rows: list[NDArray[np.float64]] = []
        self._held = 0
        self._medians: deque[NDArray[np.float64]] = deque(maxlen=_DRIFT_OVER)

    @property
    def uv_s(self) -> NDArray[np.float64] | None:
        """Microvolts a second ``(c,)``; ``None`` before two seconds are whole."""
        if len(self._medians) < 2:
            return None
        return np.abs(self._medians[-1] - self._medians[0]) / (len(self._medians) - 1)

    def push(self, samples: NDArray[np.float64]) -> None:
        rows = samples[:, self._columns] * self._factor
        if len(rows) != len(rows := rows[np.isfinite(rows).all(axis=1)]):
            # What lies before a loss and after it is not a drift.
            self._rows, self._held = [], 0
            self._medians.clear()
        while len(rows):
            part, rows = rows[: self._n - self._held], rows[self._n - self._held :]
            self._rows.append(part)
            self._held += len(part)
            if self._held == self._n:
                self._medians.append(np.median(np.concatenate(self._rows), axis=0))
                self._rows, self._held = [], 0

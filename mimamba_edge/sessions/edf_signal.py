"""A recording as EDF+ or BDF+ can hold it: one rate, no gaps, whole numbers.

Samples that never came get a place of their own by the fitted clock, as in the signal path, so that all
others keep theirs. Such files cannot say that a value is missing: the last one is held, and an annotation
``BAD_ACQ_SKIP``, MNE's word for it, spans the place.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import DataError, DependencyError, pip_install
from mimamba_edge.signal.clock import ClockFit, find_events, fit_clock

__all__ = ["SKIPPED", "Regular", "bdf_bytes", "regular", "step_uv"]

SKIPPED = "BAD_ACQ_SKIP"
_LARGEST_UV = 4e6
"""A header has eight characters for a limit."""
_LONGEST_RECORD_S = 100
"""Seconds of a data record: a whole number of samples of any rate is found within, to 1 in 10,000."""
_MOST_SAMPLES = 1 << 28
_STEPS = (1 << 24) - 1


@dataclass(frozen=True)
class Regular:
    """A recording at one rate.

    Attributes:
        samples: Microvolts ``(n, c)``; the last value is held where one is missing.
        sfreq: Rate in Hz.
        limits_uv: Lowest and highest value that the file can hold, a channel.
        skipped: Onset and length of what is missing, in seconds.
    """

    samples: NDArray[np.float64]
    sfreq: float
    limits_uv: tuple[tuple[int, int], ...]
    skipped: tuple[tuple[float, float], ...]
    _clock: ClockFit
    _first_s: float
    _lost: NDArray[np.int64]

    def at_time(self, t_s: float) -> float:
        """Return where in the file something is that was ``t_s`` seconds after the first sample."""
        return max(0.0, round(self._clock.grid(self._first_s + t_s) / self.sfreq, 6))

    def at_sample(self, sample: int) -> float:
        """Return where in the file a sample of the recording is, in seconds."""
        return round((sample + int(self._lost[min(sample, len(self._lost) - 1)])) / self.sfreq, 6)


def regular(recording: Recording) -> Regular:
    """Put a recording on a grid of one rate.

    Raises:
        DataError: It holds what such a file cannot.
    """
    times, rate = recording.timestamps, recording.sfreq
    events = find_events(times, rate)
    lost = np.zeros(len(times), np.int64)
    for event in events:
        lost[event.sample :] += event.n_lost
    fraction = Fraction(rate).limit_denominator(_LONGEST_RECORD_S)
    whole = fraction.numerator
    n = -(-(len(times) + int(lost[-1])) // whole) * whole
    if n * len(recording.ch_names) > _MOST_SAMPLES:
        got = f"{n / rate / 3600:.1f} h of {len(recording.ch_names)} channels, with all gaps"
        raise DataError(f"{recording.path} is too long for one file", got=got)
    samples = np.full((n, len(recording.ch_names)), np.nan)
    samples[np.arange(len(times)) + lost] = recording.samples
    missing = ~np.isfinite(samples).all(axis=1)
    limits = _limits(recording)
    return Regular(
        samples=_held(samples),
        sfreq=float(fraction),
        limits_uv=limits,
        skipped=_spans(missing, float(fraction)),
        _clock=fit_clock(times, events, rate),
        _first_s=float(times[0]),
        _lost=lost,
    )


def _limits(recording: Recording) -> tuple[tuple[int, int], ...]:
    """Return the device's limits where it told them and kept them, else twice what each channel reaches.

    A reader takes limits that all channels share for the device's: those that are none differ.
    """
    most = [float(np.abs(c[np.isfinite(c)]).max(initial=0.0)) for c in recording.samples.T]
    if max(most) > _LARGEST_UV:
        raise DataError(
            f"{recording.path} holds values that no such file can hold",
            got=f"{max(most):g} uV",
            expected=f"at most {_LARGEST_UV:g} uV",
        )
    if (rails := recording.rails_uv) is not None:
        low, high = math.floor(rails[0]), math.ceil(rails[1])
        values = recording.samples[np.isfinite(recording.samples)]
        if (
            -2 * _LARGEST_UV < low <= values.min(initial=low)
            and values.max(initial=high) <= high < 2 * _LARGEST_UV
        ):
            return ((low, high),) * len(most)
    wide = [math.ceil(2 * value) + 1 + k for k, value in enumerate(most)]
    return tuple((-value, value) for value in wide)


def step_uv(limits_uv: Sequence[tuple[int, int]]) -> float:
    """Return the coarsest step of the channels in microvolts: 24 bits between the limits."""
    return max((high - low) / _STEPS for low, high in limits_uv)


def _held(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return samples with each missing value replaced by the last one before it, or the first one."""
    there = np.isfinite(samples)
    last = np.maximum.accumulate(np.where(there, np.arange(len(samples))[:, None], -1), axis=0)
    first = np.argmax(there, axis=0)
    held = np.take_along_axis(samples, np.where(last < 0, first, last), axis=0)
    return np.where(np.isfinite(held), held, 0.0)


def _spans(missing: NDArray[np.bool_], sfreq: float) -> tuple[tuple[float, float], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    spans = edges.reshape(-1, 2)
    return tuple((float(a) / sfreq, float(b - a) / sfreq) for a, b in spans)


def bdf_bytes(signal: Regular, labels: Sequence[str], notes: Sequence[tuple[float, str]]) -> bytes:
    """Return a BDF+ file of 24 bits, without a name or a date of anybody.

    Args:
        signal: The signal.
        labels: Names of the channels, at most 16 printable ASCII characters each.
        notes: Onset in seconds and text of each annotation, beside what is missing.

    Raises:
        DependencyError: edfio is not installed.
    """
    try:
        edfio: Any = importlib.import_module("edfio")
    except ImportError as error:
        raise DependencyError("writing BDF files needs edfio", do=pip_install("files")) from error
    channels = [
        edfio.BdfSignal(
            np.ascontiguousarray(column),
            signal.sfreq,
            label=label,
            physical_dimension="uV",
            physical_range=limits,
        )
        for label, column, limits in zip(labels, signal.samples.T, signal.limits_uv, strict=True)
    ]
    annotations = [edfio.EdfAnnotation(onset, length, SKIPPED) for onset, length in signal.skipped]
    annotations += [edfio.EdfAnnotation(onset, None, text) for onset, text in notes]
    file = io.BytesIO()
    edfio.Bdf(
        channels,
        data_record_duration=float(Fraction(signal.sfreq).limit_denominator(_LONGEST_RECORD_S).denominator),
        annotations=annotations,
    ).write(file)
    return file.getvalue()

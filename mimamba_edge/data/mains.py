"""Which mains frequency a set of recordings was made beside."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from mimamba_edge.data.recording import Recording

__all__ = ["CANDIDATES_HZ", "clear_mains", "detect_mains"]

CANDIDATES_HZ = (50.0, 60.0)
_SEGMENT_S = 4.0
_CLEAR = np.log(4.0)
"""A line of four times the power around it; noise alone stays under twice (ours)."""


def _lines(recording: Recording) -> NDArray[np.float64] | None:
    """Return how far each mains line stands out of its neighbours within 5 Hz: log power ratio ``(2, c)``.

    ``None``: the recording is not long or not fast enough to show both.
    """
    n_segment = int(_SEGMENT_S * recording.sfreq)
    if recording.sfreq <= 2 * (max(CANDIDATES_HZ) + 1) or len(recording.samples) < n_segment:
        return None
    samples = np.where(np.isfinite(recording.samples), recording.samples, np.nanmedian(recording.samples))
    freq, power = signal.welch(samples, recording.sfreq, nperseg=n_segment, axis=0)
    power = np.maximum(power, 1e-12)
    lines = []
    for mains in CANDIDATES_HZ:
        away = np.abs(freq - mains)
        near = (away > 1) & (away <= 5) & (freq < 0.5 * recording.sfreq)
        lines.append(np.log(power[away <= 0.5].max(axis=0) / np.median(power[near], axis=0)))
    return np.array(lines)


def _heights(recordings: Iterable[Recording]) -> NDArray[np.float64] | None:
    lines = [found for r in recordings if (found := _lines(r)) is not None]
    return np.mean([found.mean(axis=1) for found in lines], axis=0) if lines else None


def detect_mains(recordings: Iterable[Recording]) -> float | None:
    """Return 50 or 60, whichever line stands out more from its neighbours within 5 Hz.

    Power is averaged over channels and recordings as the log of that ratio, so that one bad electrode does
    not decide. ``None``: no recording is long and fast enough to show either.
    """
    heights = _heights(recordings)
    return None if heights is None else CANDIDATES_HZ[int(np.argmax(heights))]


def clear_mains(recordings: Iterable[Recording]) -> float | None:
    """Return what :func:`detect_mains` does where that line stands out clearly, else ``None``."""
    heights = _heights(recordings)
    return None if heights is None or heights.max() < _CLEAR else CANDIDATES_HZ[int(np.argmax(heights))]

"""Which mains frequency a set of recordings was made beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from mimamba_edge.data.recording import Recording

__all__ = ["detect_mains"]

_CANDIDATES_HZ = (50.0, 60.0)
_SEGMENT_S = 4.0


def detect_mains(recordings: Sequence[Recording]) -> float | None:
    """Return 50 or 60, whichever line stands out more from its neighbours within 5 Hz.

    Power is averaged over channels and recordings as the log of that ratio, so that one bad electrode does
    not decide. ``None``: no recording is long and fast enough to show either.
    """
    scores = []
    for recording in recordings:
        n_segment = int(_SEGMENT_S * recording.sfreq)
        if recording.sfreq <= 2 * (max(_CANDIDATES_HZ) + 1) or len(recording.samples) < n_segment:
            continue
        samples = np.where(np.isfinite(recording.samples), recording.samples, np.nanmedian(recording.samples))
        freq, power = signal.welch(samples, recording.sfreq, nperseg=n_segment, axis=0)
        power = np.maximum(power, 1e-12)
        for_file = []
        for mains in _CANDIDATES_HZ:
            away = np.abs(freq - mains)
            near = (away > 1) & (away <= 5) & (freq < 0.5 * recording.sfreq)
            for_file.append(np.log(power[away <= 0.5].max(axis=0) / np.median(power[near], axis=0)).mean())
        scores.append(for_file)
    return None if not scores else _CANDIDATES_HZ[int(np.argmax(np.mean(scores, axis=0)))]

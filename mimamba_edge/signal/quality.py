"""Signal quality of one window, channel by channel, from the raw signal. It is not an impedance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAT", "RAILED", "assess"]

FLAT = "flat"
RAILED = "railed"
_FLAT_UV = 1.0
"""Peak to peak; no electrode on skin is that quiet, a missing one or a stuck converter is."""
_RAILED_SHARE = 0.01
_RAIL_MARGIN = 1e-3
"""Distance to a rail, as a share of the range, at which a sample counts as railed."""


def assess(
    raw: NDArray[np.float64],
    filtered: NDArray[np.float64],
    ch_names: Sequence[str],
    sfreq: float,
    mains_hz: float | None,
    rails_uv: tuple[float, float] | None,
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Assess one window.

    Args:
        raw: The window before filtering, at the source's rate, ``(n, c)`` microvolts.
        filtered: The window after filtering, ``(l, c)`` microvolts.
        ch_names: Names of the channels.
        sfreq: Rate of ``raw`` in Hz.
        mains_hz: Mains frequency, or ``None`` where it is not known or not in the band.
        rails_uv: Lowest and highest value the source can give, or ``None``: railing is not judged.

    Returns:
        For each channel ``rms_uv`` (filtered), ``flat``, ``railed`` (share of samples, or ``None``) and
        ``mains_ratio`` (share of the raw variance at the mains frequency, or ``None``); and the first
        reason not to decide on this window, or ``None``.
    """
    rms = np.sqrt(np.mean(filtered**2, axis=0))
    flat = np.ptp(raw, axis=0) < _FLAT_UV
    railed = None
    if rails_uv is not None:
        margin = _RAIL_MARGIN * (rails_uv[1] - rails_uv[0])
        railed = np.mean((raw <= rails_uv[0] + margin) | (raw >= rails_uv[1] - margin), axis=0)
    ratio = None if mains_hz is None or mains_hz >= 0.5 * sfreq else _mains_ratio(raw, mains_hz / sfreq)
    quality = {
        name: {
            "rms_uv": round(float(rms[i]), 3),
            "flat": bool(flat[i]),
            "railed": None if railed is None else round(float(railed[i]), 4),
            "mains_ratio": None if ratio is None else round(float(ratio[i]), 4),
        }
        for i, name in enumerate(ch_names)
    }
    if railed is not None and (railed > _RAILED_SHARE).any():
        return quality, RAILED
    return quality, FLAT if flat.any() else None


def _mains_ratio(raw: NDArray[np.float64], cycles: float) -> NDArray[np.float64]:
    """Return the share of each channel's variance that a sine of ``cycles`` a sample explains."""
    centered = raw - raw.mean(axis=0)
    wave = np.exp(-2j * np.pi * cycles * np.arange(len(raw)))
    power = 2 * np.abs(wave @ centered) ** 2 / len(raw)
    return np.asarray(np.minimum(1.0, power / np.maximum(np.sum(centered**2, axis=0), 1e-12)))

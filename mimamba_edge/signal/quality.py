"""Signal quality of one window, channel by channel, from the raw signal. It is not an impedance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAT", "RAILED", "assess", "faulty"]

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
    # Reductions by name: the methods of an array go through Python, which is most of their time here.
    rms = np.sqrt(np.add.reduce(filtered**2, axis=0) / len(filtered))
    lowest, highest = np.minimum.reduce(raw, axis=0), np.maximum.reduce(raw, axis=0)
    flat = highest - lowest < _FLAT_UV
    railed = None
    if rails_uv is not None:
        margin = _RAIL_MARGIN * (rails_uv[1] - rails_uv[0])
        low, high = rails_uv[0] + margin, rails_uv[1] - margin
        if np.logical_and.reduce((lowest > low) & (highest < high)):
            railed = np.zeros(len(ch_names))
        else:
            beyond = (raw <= low) | (raw >= high)
            railed = np.add.reduce(beyond, axis=0, dtype=np.float64) / len(raw)
    ratio = None if mains_hz is None or mains_hz >= 0.5 * sfreq else _mains_ratio(raw, mains_hz / sfreq)
    nothing = [None] * len(ch_names)
    figures = zip(
        ch_names,
        rms.tolist(),
        flat.tolist(),
        nothing if railed is None else railed.tolist(),
        nothing if ratio is None else ratio.tolist(),
        strict=True,
    )
    quality = {
        name: {
            "rms_uv": round(deviation, 3),
            "flat": is_flat,
            "railed": None if share is None else round(share, 4),
            "mains_ratio": None if mains is None else round(mains, 4),
        }
        for name, deviation, is_flat, share, mains in figures
    }
    if railed is not None and np.logical_or.reduce(railed > _RAILED_SHARE):
        return quality, RAILED
    return quality, FLAT if np.logical_or.reduce(flat) else None


def faulty(quality: Mapping[str, Mapping[str, Any]], reason: str) -> set[str]:
    """Return the channels that are the ``reason`` not to decide, by the figures of :func:`assess`."""
    if reason == RAILED:
        return {name for name, found in quality.items() if (found["railed"] or 0.0) > _RAILED_SHARE}
    return {name for name, found in quality.items() if reason == FLAT and found["flat"]}


@lru_cache(maxsize=64)
def _waves(cycles: float, n: int) -> NDArray[np.float64]:
    """Return a cosine and a sine, as rows. Not one complex wave: BLAS starts threads for that product."""
    angles = 2 * np.pi * cycles * np.arange(n)
    return np.stack([np.cos(angles), np.sin(angles)])


def _mains_ratio(raw: NDArray[np.float64], cycles: float) -> NDArray[np.float64]:
    """Return the share of each channel's variance that a sine of ``cycles`` a sample explains."""
    n = len(raw)
    centered = raw - np.add.reduce(raw, axis=0) / n
    power = 2 * np.add.reduce((_waves(cycles, n) @ centered) ** 2, axis=0) / n
    variance = np.add.reduce(centered**2, axis=0)
    return np.asarray(np.minimum(1.0, power / np.maximum(variance, 1e-12)))

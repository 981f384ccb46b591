"""Arrays of others: their shape, and whether they are in microvolts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import DataError
from mimamba_edge.signal.montage import microvolts_per

__all__ = ["microvolts", "odd_spread"]

_SPREAD_UV = (0.05, 5000.0)
"""EEG spreads over some to some hundred microvolts; volts taken for microvolts, or raw numbers, do not."""


def odd_spread(samples: NDArray[np.float64]) -> float | None:
    """Return over how much the middle half of values ``(n, c)`` spreads where no EEG does, else ``None``."""
    whole = samples[np.isfinite(samples).all(axis=1)]
    if not len(whole):
        return None
    quarter = np.percentile(whole, (25, 75), axis=0)
    spread = float(np.median(quarter[1] - quarter[0]))
    return None if _SPREAD_UV[0] <= spread <= _SPREAD_UV[1] else spread


def microvolts(name: str, samples: Any, ch_names: Sequence[str], unit: str) -> NDArray[np.float64]:
    """Return an array ``(n_times, n_chans)`` in microvolts.

    Args:
        name: What messages call it.
        samples: The array.
        ch_names: A name for each column.
        unit: Its unit.

    Raises:
        DataError: It has another shape, or another unit.
        SignalError: The unit is not known.
    """
    factor = microvolts_per(unit)
    try:
        values = np.asarray(samples, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} does not hold numbers", got=str(error)) from error
    n = len(ch_names)
    if values.ndim != 2 or values.shape[1] != n or not values.size or len(set(ch_names)) < n:
        turned = values.ndim == 2 and values.shape[0] == n and values.shape[1] > n
        raise DataError(
            f"{name} has another shape than its channels",
            got=f"{values.shape} and {n} names, {len(set(ch_names))} of them different",
            expected="(n_times, n_chans) and a name for each channel",
            do="give the array turned, samples.T" if turned else None,
        )
    values = values * factor
    spread = odd_spread(values)
    if spread is not None and spread > 0:
        in_volts = unit == "uV" and odd_spread(values * 1e6) is None
        raise DataError(
            f"{name} does not look like EEG in {unit}",
            got=f"the middle half of the values spreads over {spread:.3g} uV",
            expected=f"{_SPREAD_UV[0]:g} to {_SPREAD_UV[1]:g} uV",
            do='they look like volts: unit="V"' if in_volts else "name the unit they are in: unit=...",
        )
    return values

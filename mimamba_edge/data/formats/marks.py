"""What the readers share: triggers, and which sample a time belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_sample", "trigger_starts"]


def trigger_starts(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return where a trigger channel ``(n,)`` changes to a value that is not 0.

    What stands there from the first sample on is an idle level, not a trigger.
    """
    return np.flatnonzero((values[1:] != values[:-1]) & (values[1:] != 0)) + 1


def nearest_sample(timestamps: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the sample ``(m,)`` whose timestamp ``(n,)`` is next to each time ``(m,)``."""
    order = np.argsort(timestamps, kind="stable")
    ordered = timestamps[order]
    right = np.clip(np.searchsorted(ordered, times), 1, max(1, len(ordered) - 1))
    right = np.minimum(right, len(ordered) - 1)
    left = np.maximum(right - 1, 0)
    nearer = np.where(np.abs(times - ordered[left]) <= np.abs(ordered[right] - times), left, right)
    return np.asarray(order[nearer], dtype=np.intp)

"""What the readers share: units, triggers, and which sample a time belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["UV_PER", "nearest_sample", "trigger_starts", "voltage"]

_UNITS = {
    **dict.fromkeys(("uv", "µv", "μv", "microvolt", "microvolts", "-6"), "uV"),
    **dict.fromkeys(("mv", "millivolt", "millivolts", "-3"), "mV"),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts", "-9"), "nV"),
    **dict.fromkeys(("v", "volt", "volts"), "V"),
}
UV_PER = {"V": 1e6, "mV": 1e3, "uV": 1.0, "nV": 1e-3}
"""Microvolts in each unit of a voltage."""


def voltage(text: str) -> str | None:
    """Return the unit of a voltage by one of the names that it goes by, else ``None``.

    XDF recommends ``microvolts``; pylsl also writes the exponent.
    """
    return _UNITS.get(text.strip().lower())


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

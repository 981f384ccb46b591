"""What the readers share: triggers, and which sample a time belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.recording import Marker

__all__ = ["nearest_sample", "spans", "trigger_starts"]

_NONE = ("", "nan", "none", "null", "n/a")


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


def spans(
    timestamps: NDArray[np.float64], columns: Sequence[Sequence[str]], sfreq: float
) -> tuple[Marker, ...]:
    """Return a marker for each stretch of one label, as long as it lasted.

    Args:
        timestamps: Seconds ``(n,)``.
        columns: Of labels, ``n`` cells each; empty, ``nan`` or ``none`` is no label.
        sfreq: Rate in Hz: how long the last sample lasted.
    """
    found = []
    end = float(timestamps[-1]) + 1 / sfreq if len(timestamps) else math.nan
    for cells in columns:
        edges = [i for i in range(len(cells)) if not i or cells[i] != cells[i - 1]]
        for start, stop in zip(edges, [*edges[1:], len(cells)], strict=True):
            if cells[start].lower() in _NONE:
                continue
            until = float(timestamps[stop]) if stop < len(cells) else end
            began = float(timestamps[start])
            found.append(
                Marker(_plain(cells[start]), start, began - float(timestamps[0]), max(0.0, until - began))
            )
    return tuple(sorted(found, key=lambda marker: marker.sample))


def _plain(text: str) -> str:
    """Return a label; a number as markers have it, so that 1.0 is 1."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text

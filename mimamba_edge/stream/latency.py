"""Latencies of all decisions in constant memory."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Latencies"]

_LOW_MS, _HIGH_MS = 1e-3, 1e5
_RATIO = 1.01
_BINS = math.ceil(math.log(_HIGH_MS / _LOW_MS) / math.log(_RATIO)) + 1


class Latencies:
    """A histogram with bins that are each 1 % wider than the one before: quantiles of all that was ever seen.

    A quantile is right within 1 %; the largest latency is kept exactly.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self._max = 0.0

    def add(self, ms: float) -> None:
        """Take a latency in milliseconds."""
        place = int(math.log(ms / _LOW_MS) / math.log(_RATIO)) if ms > _LOW_MS else 0
        self._counts[min(place, _BINS - 1)] += 1
        self._max = max(self._max, ms)

    def figures(self) -> dict[str, float] | None:
        """Return ``p50``, ``p99`` and ``max`` in milliseconds; ``None`` before the first one."""
        reached = np.cumsum(self._counts)
        if not reached[-1]:
            return None
        places = np.searchsorted(reached, np.array([0.5, 0.99]) * reached[-1])
        p50, p99 = (min(self._max, _LOW_MS * _RATIO ** (int(place) + 0.5)) for place in places)
        return {"p50": round(p50, 4), "p99": round(p99, 4), "max": round(self._max, 4)}

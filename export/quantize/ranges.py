"""Ranges of activations on real windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import ConfigError

__all__ = ["METHODS", "Range", "ValueHistogram", "histograms"]

METHODS = ("mse", "percentile", "minmax")
PERCENTILE = 99.999
_BINS = 1 << 14


@dataclass(frozen=True)
class Range:
    """Least and largest value to be represented; what lies outside is clipped."""

    low: float
    high: float


class ValueHistogram:
    """Collects the values of a tensor: least, largest, a histogram that doubles its span when it must."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self._span = 0.0
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, values: NDArray[np.floating]) -> None:
        """Take in values of any shape."""
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        largest = max(-self.low, self.high)
        if self._span == 0.0:
            self._span = largest
        while largest > self._span > 0:
            quarter = _BINS // 4
            folded = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.pad(folded, quarter)
            self._span *= 2
        if self._span > 0:
            self._counts += np.histogram(values, _BINS, (-self._span, self._span))[0]

    def range(self, method: str = "mse") -> Range:
        """Return the range to represent.

        Args:
            method: ``"minmax"``: all values; ``"percentile"``: all but 0.001 % at each end; ``"mse"``: the
                one whose clipping and rounding to 255 steps together cost least (mean square).

        Raises:
            ConfigError: An unknown method.
        """
        if method not in METHODS:
            raise ConfigError("unknown calibration method", got=method, expected=", ".join(METHODS))
        if method == "minmax" or not self._span:
            return Range(min(self.low, self.high), max(self.low, self.high))
        edges = np.linspace(-self._span, self._span, _BINS + 1)
        if method == "percentile":
            share = np.cumsum(self._counts) / self._counts.sum()
            outside = 1 - PERCENTILE / 100
            first = int(np.searchsorted(share, outside, "right"))
            last = min(int(np.searchsorted(share, 1 - outside, "left")), _BINS - 1)
            return Range(max(self.low, float(edges[first])), min(self.high, float(edges[last + 1])))
        middles, shrinks = (edges[:-1] + edges[1:]) / 2, np.linspace(1.0, 0.3, 36)
        lows, highs = min(self.low, 0.0) * shrinks, max(self.high, 0.0) * shrinks
        below = np.array([(self._counts * np.minimum(middles - low, 0) ** 2).sum() for low in lows])
        above = np.array([(self._counts * np.maximum(middles - high, 0) ** 2).sum() for high in highs])
        rounding = self._counts.sum() * ((highs[None] - lows[:, None]) / 255) ** 2 / 12
        best = np.unravel_index(np.argmin(below[:, None] + above[None] + rounding), rounding.shape)
        return Range(float(lows[best[0]]), float(highs[best[1]]))


def histograms(parts: Iterable[dict[str, NDArray[np.floating]]]) -> dict[str, ValueHistogram]:
    """Return the spread of every tensor over many batches."""
    out: dict[str, ValueHistogram] = {}
    for part in parts:
        for name, values in part.items():
            out.setdefault(name, ValueHistogram()).add(values)
    return out

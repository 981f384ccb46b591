"""Scaling: how filtered microvolts become the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Scaling
from mimamba_edge.errors import ConfigError, SignalError

__all__ = ["apply_scaling", "fit_scaling", "scaled_rows"]

_AT_ONCE = 1024
_LEAST_DEVIATION_UV = 1e-6
"""A flat window divided by its own deviation would be noise of rounding; it becomes zeros instead."""


def fit_scaling(
    data: NDArray[np.float64], kind: str = "robust", rows: NDArray[np.int64] | None = None
) -> Scaling:
    """Fit the numbers of a scaling on training windows.

    Args:
        data: Windows in microvolts, ``(n, c, l)``.
        kind: ``"robust"`` (median and interquartile range a channel), ``"window-zscore"`` or ``"none"``.
        rows: Indices of the windows to measure, or ``None`` for all.

    Raises:
        ConfigError: The kind is not known.
        SignalError: A channel is constant, so that it has no scale.
    """
    if kind in ("window-zscore", "none"):
        return Scaling(kind)
    if kind != "robust":
        raise ConfigError("unknown scaling", got=kind, expected="robust, window-zscore or none")
    # One channel after the other: windows may be a mapped file that is larger than the memory.
    channels = (data[:, k] if rows is None else data[rows, k] for k in range(data.shape[1]))
    found = [np.quantile(np.asarray(values), (0.25, 0.5, 0.75)) for values in channels]
    low, center, high = np.transpose(found)
    scale = high - low
    if not (scale > 0).all():
        raise SignalError(
            "a channel is constant in the training windows, so it cannot be scaled",
            got=f"channel number {int(np.argmin(scale > 0)) + 1} with an interquartile range of 0",
            do="leave the channel out (--channels), or check its electrode",
        )
    return Scaling("robust", tuple(float(v) for v in center), tuple(float(v) for v in scale))


def apply_scaling(data: NDArray[np.float64], scaling: Scaling) -> NDArray[np.float32]:
    """Scale windows ``(..., c, l)`` in microvolts; computed in float64, rounded once to float32."""
    data = np.asarray(data, dtype=np.float64)
    if scaling.kind == "robust":
        center = np.asarray(scaling.center)[:, None]
        data = (data - center) / np.asarray(scaling.scale)[:, None]
    elif scaling.kind == "window-zscore":
        centered = data - data.mean(axis=-1, keepdims=True)
        deviation = centered.std(axis=-1, keepdims=True)
        data = np.where(
            deviation > _LEAST_DEVIATION_UV, centered / np.maximum(deviation, _LEAST_DEVIATION_UV), 0
        )
    return data.astype(np.float32)


def scaled_rows(data: NDArray[np.float64], rows: NDArray[np.int64], scaling: Scaling) -> NDArray[np.float32]:
    """Return some of many windows ``(n, c, l)``, scaled; no more than these are held, and those once."""
    out = np.empty((len(rows), *data.shape[1:]), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        out[part] = apply_scaling(data[rows[part]], scaling)
    return out

"""Scaling: how filtered microvolts become the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Scaling
from mimamba_edge.errors import ConfigError, SignalError
from mimamba_edge.signal.mapped import Index, blocks, take
from mimamba_edge.signal.quantiles import channel_quantiles

__all__ = ["ScaledWindows", "apply_scaling", "fit_scaling"]

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
    low, center, high = channel_quantiles(lambda: blocks(data, rows), (0.25, 0.5, 0.75))
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


class ScaledWindows:
    """Some of many windows, scaled when they are taken: what is held does not grow with their number.

    ``windows[index]`` is the array that ``apply_scaling(data[rows], scaling)[index]`` would be.

    Args:
        data: Windows in microvolts ``(n, c, l)``; a mapped file may be larger than the memory.
        rows: Indices of those that are meant, or ``None`` for all.
        scaling: How they are scaled.
    """

    def __init__(self, data: NDArray[np.float64], rows: NDArray[np.int64] | None, scaling: Scaling) -> None:
        self._data, self._scaling = data, scaling
        self._rows = np.arange(len(data)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes ``(n, c, l)``."""
        return (len(self), *self._data.shape[1:])

    def __getitem__(self, index: Index) -> NDArray[np.float32]:
        return apply_scaling(take(self._data, self._rows[index]), self._scaling)

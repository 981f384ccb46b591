"""What flows through a model on calibration windows, and the ranges that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from mimamba_edge.contract import WINDOWS
from mimamba_edge.errors import DataError
from mimamba_edge.export.onnx.intermediate_outputs import with_outputs
from mimamba_edge.export.quantize.int8_tensorrt import linear_inputs
from mimamba_edge.export.quantize.ranges import Range, histograms
from mimamba_edge.runtime.ort import open_session

__all__ = ["calibrate_linears", "checked_windows", "ranges_of", "values_of"]

Array = NDArray[np.float32]
_BATCH = 16


def calibrate_linears(
    model: ModelProto, windows: Array, *, method: str = "mse", on_step: Callable[[int], None] = lambda _: None
) -> dict[str, Range]:
    """Return the ranges of the inputs of a model's INT8 linear layers.

    Args:
        model: A portable fp32 model.
        windows: ``(n, c, l)``, scaled by the model's contract.
        method: See :meth:`mimamba_edge.export.quantize.ranges.ValueHistogram.range`.
        on_step: Told how many windows were done.

    Raises:
        DataError: The windows are not finite, or do not move.
    """
    return ranges_of(model, windows, linear_inputs(model), method=method, on_step=on_step)


def ranges_of(
    model: ModelProto,
    windows: Array,
    names: list[str],
    *,
    method: str = "mse",
    on_step: Callable[[int], None] = lambda _: None,
) -> dict[str, Range]:
    """Return the ranges of some of a model's values; the rest as :func:`calibrate_linears`."""
    found = histograms(values_of(model, checked_windows(windows), names, on_step))
    return {name: spread.range(method) for name, spread in found.items()}


def checked_windows(windows: Array) -> Array:
    """Return windows that ranges can be taken from.

    Raises:
        DataError: They are not finite, or do not move.
    """
    if not len(windows):
        raise DataError("there are no calibration windows", do="name a recording long enough for one window")
    bad = ~np.isfinite(windows).all(axis=(1, 2))
    if bad.any():
        raise DataError("calibration windows hold NaN or infinity", got=f"{bad.sum()} of {len(windows)}")
    if not np.ptp(windows, axis=2).any():
        raise DataError(
            "the calibration windows are constant: no range can be measured",
            got=f"{len(windows)} windows without any change in time",
            do="calibrate on a real recording",
        )
    return windows


def values_of(
    model: ModelProto,
    windows: Array,
    names: Sequence[str] | Mapping[str, str],
    on_step: Callable[[int], None] = lambda _: None,
) -> Iterator[dict[str, NDArray[np.floating]]]:
    """Yield values inside a model, batch by batch; names as ``with_outputs`` takes them."""
    session = open_session(with_outputs(model, names), name="the model to calibrate", threads=1)
    outputs = list(names)
    for start in range(0, len(windows), _BATCH):
        batch = windows[start : start + _BATCH]
        yield dict(zip(outputs, session.run(outputs, {WINDOWS: batch}), strict=True))
        on_step(len(batch))

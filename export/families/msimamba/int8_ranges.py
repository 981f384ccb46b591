"""Ranges inside the temporal block, for the folds that INT8 convolves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch.nn import functional

from mimamba_edge.errors import DataError
from mimamba_edge.export.families.msimamba.int8_cpu import (
    GELU_FLAT,
    BlockRanges,
    int8_groups,
    split_columns,
    temporal_block,
    to_int8_cpu,
)
from mimamba_edge.export.onnx.inline import label
from mimamba_edge.export.onnx.mstb_body import PERIODS
from mimamba_edge.export.onnx.schema import MSTB
from mimamba_edge.export.quantize.activations import checked_windows, values_of
from mimamba_edge.export.quantize.cache import cached
from mimamba_edge.export.quantize.ranges import ValueHistogram

__all__ = ["cached_ranges", "calibrate_block", "one_convolution_each"]

Array = NDArray[np.float32]


def cached_ranges(
    model: ModelProto, windows: Array, *, method: str, on_step: Callable[[int], None]
) -> BlockRanges:
    """As :func:`calibrate_block`, from the cache where it holds them."""
    held = cached(
        ("block", method),
        model,
        windows,
        lambda: asdict(calibrate_block(model, windows, method=method, on_step=on_step)),
        code=Path(__file__).parent,
    )
    return BlockRanges.from_dict(held)


def one_convolution_each(
    model: ModelProto, windows: Array, *, method: str
) -> Iterator[tuple[str, ModelProto]]:
    """Yield both convolutions of the block by name, with the model that has that one alone in INT8."""
    block = temporal_block(model)
    try:
        ranges = calibrate_block(model, windows, method=method)
    except DataError:
        return  # no fold of these windows would be convolved in INT8
    for number, which in enumerate(((True, False), (False, True)), start=1):
        yield f"{block.name}/conv {number}", to_int8_cpu(model, ranges, which)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Small convolutions on several threads wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def calibrate_block(
    model: ModelProto, windows: Array, *, method: str = "mse", on_step: Callable[[int], None] = lambda _: None
) -> BlockRanges:
    """Return the ranges inside a model's temporal block, for the folds that INT8 convolves.

    Arguments and errors are those of
    :func:`mimamba_edge.export.quantize.activations.calibrate_linears`.
    """
    node = temporal_block(model)
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    w1, b1, w2 = (held[name] for name in node.input[1:4])
    _, channels, kernel, _ = w1.shape
    folds = list(_folds(model, checked_windows(windows), node.input[0], on_step, kernel // 2))
    if not folds:
        raise DataError(
            "no calibration window has a period for which INT8 is used",
            got=f"{len(windows)} windows",
            expected=f"folds of at least {kernel // 2} rows and columns",
            do="calibrate on more windows, or keep this model in fp32",
        )
    peaks = np.stack([np.abs(fold).max(axis=(1, 2)) for fold in folds])
    typical = np.maximum(np.median(peaks, axis=0), float(np.median(peaks)) * 1e-3)
    sizes = [float((peak / typical).max()) for peak in peaks]
    growth = _growth(sizes, [float(_hidden(fold, w1, b1).max()) for fold in folds])
    groups = int8_groups(channels, kernel)
    of_x, of_hidden, of_active = (
        [ValueHistogram() for _ in range(channels)],
        ValueHistogram(),
        ValueHistogram(),
    )
    of_parts = [[ValueHistogram() for _ in range(groups * channels)] for _ in range(2)]
    for fold, size in zip(folds, sizes, strict=True):
        phi = growth[0] + growth[1] * size
        before = _hidden(fold, w1, b1)
        after = functional.gelu(before)
        for spread, channel in zip(of_x, fold, strict=True):
            spread.add(channel / size)
        of_hidden.add(np.maximum(before.numpy(), GELU_FLAT) / phi)
        of_active.add(after.numpy() / phi)
        turned = fold.shape[2] < fold.shape[1]
        for spread, part in zip(of_parts[turned], _parts(after, w2, groups, turned), strict=True):
            spread.add(part / phi)
    parts = tuple(tuple(s.range(method) for s in of_one) for of_one in of_parts)
    return BlockRanges(
        tuple(float(t) for t in typical),
        growth,
        tuple(spread.range(method) for spread in of_x),
        of_hidden.range(method),
        of_active.range(method),
        (parts[0], parts[1]),
    )


def _folds(
    model: ModelProto, windows: Array, name: str, on_step: Callable[[int], None], least: int
) -> Iterator[Array]:
    """Yield the folds ``(c, rows, period)`` of all windows that are at least so high and wide."""
    (block,) = (node for node in model.graph.node if node.op_type == MSTB)
    names = {name: name, PERIODS: f"{label(block)}/{PERIODS}"}
    for found in values_of(model, windows, names, on_step):
        for x, periods in zip(found[name].transpose(0, 2, 1), found[PERIODS], strict=True):
            for period in map(int, periods):
                rows = -(-x.shape[1] // period)
                if min(rows, period) >= least:
                    padded = np.pad(x, ((0, 0), (0, rows * period - x.shape[1])))
                    yield padded.reshape(len(x), rows, period)


def _hidden(fold: Array, w1: Array, b1: Array) -> torch.Tensor:
    # Copies: arrays out of a protobuf are read-only, which torch warns about.
    x, weight, bias = (torch.from_numpy(np.array(a)) for a in (fold, w1, b1))
    return functional.conv2d(x[None], weight, bias, padding=w1.shape[2] // 2)


def _parts(after: torch.Tensor, w2: Array, groups: int, turned: bool) -> Array:
    if turned:
        after, w2 = after.transpose(2, 3), w2.transpose(0, 1, 3, 2)
    split = split_columns(w2, groups)
    half = w2.shape[2] // 2
    padded = functional.pad(after, (half, half + split.shape[3] * groups - w2.shape[3], half, half))
    parts: Array = functional.conv2d(padded, torch.from_numpy(split))[0].numpy()
    return parts


def _growth(sizes: list[float], peaks: list[float]) -> tuple[float, float]:
    """Return constant and slope of the line through the largest hidden values, neither negative."""
    design = np.stack([np.ones(len(sizes)), sizes], axis=1)
    line = np.linalg.lstsq(design, np.maximum(peaks, 0.0), rcond=None)[0]
    constant, slope = (float(v) for v in line)
    if constant < 0:
        constant, slope = 0.0, float(np.dot(sizes, peaks) / np.dot(sizes, sizes))
    if slope < 0:
        constant, slope = float(np.mean(peaks)), 0.0
    return (constant, slope) if constant + slope > 0 else (1.0, 0.0)

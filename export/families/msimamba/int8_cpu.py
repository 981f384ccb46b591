"""INT8 for ONNX Runtime's CPU: the temporal block's convolutions, where INT8 is faster.

The body of the op is written with QLinearConv in place of Conv. It stays a body: any batch, no other nodes
touched, weights constant inside the Scan, where the runtime packs them. Activations are uint8 and weights
int8 per output channel, the one combination that its x86 and ARM kernels have fast code for (int8 activations
take ten times as long on x86).

* INT8 convolutions gather patches into a matrix and multiply: their time does not depend on the fold's shape.
  The float ones skip rows of the kernel that lie outside the fold. So folds of few rows stay in float32.
* Output channels of the second convolution are groups of kernel columns (mstb_folds.py) of very different
  ranges. One output scale would spend most of its 255 steps on the largest: each channel's factor goes into
  its weight scale instead, and its inverse into the float32 kernel that adds the groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.body import Body
from mimamba_edge.export.onnx.functions import custom_nodes, specs
from mimamba_edge.export.onnx.mstb_body import MstbSpec, mstb_function
from mimamba_edge.export.onnx.mstb_folds import Folds, column_groups, column_sum, either
from mimamba_edge.export.onnx.schema import MSTB
from mimamba_edge.export.quantize.ranges import Range

__all__ = [
    "GELU_FLAT",
    "BlockRanges",
    "Int8Folds",
    "int8_groups",
    "quantize_weight",
    "split_columns",
    "temporal_block",
    "to_int8_cpu",
    "unsigned_scales",
]

Array = NDArray[np.float32]

SMALLEST = 1e-3
"""Least size of a window: a flat one must not divide by zero."""
GELU_FLAT = -2.75
"""Below, GELU is within 0.009 of 0: not worth steps of the scale before it."""
_F32 = TensorProto.FLOAT
_BLOCK = 16
"""Output channels that the runtime's INT8 kernels compute at a time, at least."""


@dataclass(frozen=True)
class BlockRanges:
    """Ranges of the temporal block's activations over calibration windows.

    A window's size is ``r = max_c (max |x_c| / typical_c)``. What is calibrated is relative to it: a few
    windows with artefacts are ten times the others, which would be left with a tenth of the steps.

    Attributes:
        typical: Of each channel, the median over windows of its largest absolute value.
        growth: ``(constant, slope)`` of ``phi = constant + slope * r``, by which hidden values grow.
        x: Of each channel of the folds, divided by r.
        hidden: Before GELU, divided by phi.
        active: After GELU, divided by phi.
        parts: Of each output channel of the second convolution, with its columns split, divided by phi; for
            folds as they are and for turned ones.
    """

    typical: tuple[float, ...]
    growth: tuple[float, float]
    x: tuple[Range, ...]
    hidden: Range
    active: Range
    parts: tuple[tuple[Range, ...], tuple[Range, ...]]

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> BlockRanges:
        """Return what :func:`dataclasses.asdict` made of one, also after JSON."""
        straight, turned = (tuple(Range(**one) for one in ranges) for ranges in held["parts"])
        constant, slope = held["growth"]
        return cls(
            typical=tuple(held["typical"]),
            growth=(constant, slope),
            x=tuple(Range(**one) for one in held["x"]),
            hidden=Range(**held["hidden"]),
            active=Range(**held["active"]),
            parts=(straight, turned),
        )


def unsigned_scales(ranges: Sequence[Range]) -> tuple[Array, np.uint8]:
    """Return a uint8 scale for each range and the zero point they share: least sum of squared steps.

    The zero point stands for 0 exactly. A channel that is always 0 gets the smallest scale of the others.
    """
    low = np.array([min(r.low, 0.0) for r in ranges])
    high = np.array([max(r.high, 0.0) for r in ranges])
    zeros = np.arange(256)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = np.where(low < 0, -low / zeros, 0.0), np.where(high > 0, high / (255 - zeros), 0.0)
    steps = np.maximum(below, above)
    best = int(np.argmin((steps**2).sum(axis=1)))
    scale = steps[best].astype(np.float32)
    normal = scale >= np.finfo(np.float32).tiny
    scale[~normal] = scale[normal].min() if normal.any() else 1.0
    return scale, np.uint8(best)


def quantize_weight(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Return int8 weights and their scales per output channel (axis 0), symmetric."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
    shape = (-1, *(1,) * (weight.ndim - 1))
    return np.clip(np.round(weight / scale.reshape(shape)), -127, 127).astype(np.int8), scale


def split_columns(w2: Array, groups: int) -> Array:
    """Return the second kernel ``(c, f, k, k)`` with groups of columns as output channels."""
    c, f, k, _ = w2.shape
    width = -(-k // groups)
    padded = np.pad(w2, ((0, 0), (0, 0), (0, 0), (0, width * groups - k)))
    split = padded.reshape(c, f, k, groups, width).transpose(3, 0, 1, 2, 4)
    return np.ascontiguousarray(split.reshape(groups * c, f, k, width))


def int8_groups(channels: int, kernel: int) -> int:
    """Return in how many groups to cut the second kernel's columns for INT8: full blocks of channels."""
    return max(column_groups(channels, kernel), min(kernel, -(-_BLOCK // channels)))


class Int8Folds(Folds):
    """Both convolutions in INT8 for folds of many rows, in float32 for the others.

    Args:
        kernels: w1 ``(f, c, k, k)``, b1 ``(f)``, w2 ``(c, f, k, k)``, b2 ``(c)``, float32.
        ranges: Of the activations.
        which: Whether the first and the second convolution are INT8.
    """

    def __init__(
        self, kernels: Sequence[Array], ranges: BlockRanges, which: tuple[bool, bool] = (True, True)
    ) -> None:
        f, c, k, _ = kernels[0].shape
        super().__init__(c, f, k)
        self._w1, self._b1, self._w2, self._b2 = kernels
        self._ranges, self._which = ranges, which
        self._x_scale, self._x_zero = unsigned_scales(ranges.x)
        # A kernel and its transpose have the same largest values, so one set of scales serves both.
        self._w1_scale = quantize_weight(self._w1 * self._x_scale.reshape(1, -1, 1, 1))[1]
        (self._hidden_scale,), self._hidden_zero = unsigned_scales([ranges.hidden])
        (self._active_scale,), self._active_zero = unsigned_scales([ranges.active])

    def flags(self, rows: NDArray[np.int64], period: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
        """Return what :meth:`add` must know of a fold's shape: also whether most kernel rows meet it."""
        return {**super().flags(rows, period), "high": np.minimum(rows, period) >= self.kernel // 2}

    def scales(self, b: Body, windows: str) -> dict[str, tuple[str, int, list[int]]]:
        """Add the scales that follow a window's size."""
        peaks = b.op("ReduceMax", b.op("Abs", windows), b.ints(2), keepdims=0)
        relative = b.op("Mul", peaks, b.const(1 / np.array(self._ranges.typical, np.float32)))
        size = b.op("Max", b.op("ReduceMax", relative, b.ints(1), keepdims=1), b.f32(SMALLEST))
        constant, slope = self._ranges.growth
        phi = b.op("Add", b.op("Mul", size, b.f32(slope)), b.f32(constant))
        bias = b.op("Div", b.const((self._b1 / self._w1_scale)[None]), size)
        bias = b.cast(b.op("Round", bias), TensorProto.INT32)

        def scalar(value: str, factor: np.floating) -> tuple[str, int, list[int]]:
            scaled = b.op("Mul", value, b.f32(float(factor)))
            return b.op("Reshape", scaled, b.ints(-1)), _F32, []

        return {
            "x_scale": (b.op("Mul", size, b.const(self._x_scale[None])), _F32, [self.channels]),
            "bias": (bias, TensorProto.INT32, [self.features]),
            "product_scale": scalar(b.op("Div", phi, size), self._hidden_scale),
            "hidden_scale": scalar(phi, self._hidden_scale),
            "active_scale": scalar(phi, self._active_scale),
            "parts_scale": scalar(phi, np.float32(1)),
        }

    def add(self, b: Body, fold: str, known: dict[str, str]) -> str:
        """Add both convolutions of ``fold (1, c, rows, period)`` and return the result's name."""
        turned, straight = Body(b), Body(b)
        y = self._by_height(turned, turned.op("Transpose", fold, perm=[0, 1, 3, 2]), known, turn=True)
        y = turned.op("Transpose", y, perm=[0, 1, 3, 2])
        other = self._by_height(straight, fold, known, turn=False)
        return either(b, known["narrow"], (turned, y), (straight, other))

    def _by_height(self, b: Body, fold: str, known: dict[str, str], *, turn: bool) -> str:
        integer, plain = Body(b), Body(b)
        return either(
            b,
            known["high"],
            (integer, self._integer(integer, fold, known, turn=turn)),
            (plain, self.convolutions(plain, fold, turn=turn)),
        )

    def _integer(self, b: Body, x: str, known: dict[str, str], *, turn: bool) -> str:
        w1, w2 = (w.transpose(0, 1, 3, 2) if turn else w for w in (self._w1, self._w2))
        half, one = self.kernel // 2, b.f32(1.0)
        if self._which[0]:
            zeros = b.const(np.full(self.channels, self._x_zero))
            x = b.op("QuantizeLinear", x, known["x_scale"], zeros, axis=1)
            weight, scale = quantize_weight(w1 * self._x_scale.reshape(1, -1, 1, 1))
            kernel = (b.const(weight), b.const(scale), b.const(np.zeros(self.features, np.int8)))
            hidden_zero = b.const(self._hidden_zero)
            out = (known["product_scale"], hidden_zero, known["bias"])
            hidden = b.op("QLinearConv", x, one, b.const(self._x_zero), *kernel, *out, pads=[half] * 4)
            hidden = b.op("DequantizeLinear", hidden, known["hidden_scale"], hidden_zero)
        else:
            weight_and_bias = (b.const(np.ascontiguousarray(w1)), b.const(self._b1))
            hidden = b.op("Conv", x, *weight_and_bias, pads=[half] * 4)
        active = b.gelu(hidden)
        groups = int8_groups(self.channels, self.kernel)
        split = split_columns(w2, groups)
        width = split.shape[3]
        pads = [half, half, half, half + width * groups - self.kernel]
        factor = np.ones(len(split), np.float32)
        if self._which[1]:
            factor, zero = unsigned_scales(self._ranges.parts[turn])
            active_zero, parts_zero = b.const(self._active_zero), b.const(zero)
            active = b.op("QuantizeLinear", active, known["active_scale"], active_zero)
            weight, scale = quantize_weight(split)
            kernel = (b.const(weight), b.const(scale / factor), b.const(np.zeros(len(split), np.int8)))
            # Both sides grow by the same phi, which therefore does not show in the product's scales.
            inputs = (active, b.const(np.float32(self._active_scale)), active_zero, *kernel, one, parts_zero)
            parts = b.op("QLinearConv", *inputs, pads=pads)
            parts = b.op("DequantizeLinear", parts, known["parts_scale"], parts_zero)
        else:
            parts = b.op("Conv", active, b.const(split), pads=pads)
        add = b.const(column_sum(factor, groups))
        return b.op("Conv", parts, add, b.const(self._b2), dilations=[1, width])


def to_int8_cpu(
    model: ModelProto, ranges: BlockRanges, which: tuple[bool, bool] = (True, True)
) -> ModelProto:
    """Return the portable model with INT8 convolutions in the body of its temporal block.

    Args:
        model: A portable fp32 model; unchanged.
        ranges: Of the block's activations.
        which: Whether the first and the second convolution are INT8.

    Raises:
        ExportError: The model has no temporal block, or several.
    """
    out = ModelProto()
    out.CopyFrom(model)
    node = temporal_block(out)
    held = {t.name: numpy_helper.to_array(t) for t in out.graph.initializer}
    kernels = [held[name] for name in node.input[1:]]
    spec = next(s for s in specs(out) if isinstance(s, MstbSpec))
    body = mstb_function(spec, Int8Folds(kernels, ranges, which))
    bodies = [f for f in out.functions if f.name != MSTB]
    del out.functions[:]
    out.functions.extend([*bodies, body])
    return out


def temporal_block(model: ModelProto) -> NodeProto:
    """Return the model's one multi-scale temporal block.

    Raises:
        ExportError: There is none, or there are several.
    """
    blocks = [node for node in custom_nodes(model) if node.op_type == MSTB]
    if len(blocks) != 1:
        raise ExportError(
            "INT8 for the CPU is made for models with one temporal block", got=len(blocks), expected=1
        )
    return blocks[0]

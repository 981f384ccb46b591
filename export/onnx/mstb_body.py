"""ONNX function body of MultiScaleTemporalBlock in standard ops.

A Scan over the (window, period) pairs folds by a Reshape whose shape is looked up by the chosen bin: exact,
for any batch. What makes it fast in ONNX Runtime, which has a blocked convolution for constant weights only:

* A Gather of all rows fetches the weights inside the subgraph, which the loader folds into constants there.
  As plain outer values they would leave the convolution unblocked; written into the body they would stand in
  the file twice, and a change of the node's own inputs would change nothing.
* How a fold is convolved is chosen by its shape (mstb_folds.py).

Sums over channels and branches are products with a matrix: the runtime's reductions add in another order when
the batch is 1, and the last bit of an answer would depend on the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, TensorProto, helper

from mimamba_edge.export.onnx.body import OPSET, Body
from mimamba_edge.export.onnx.mstb_folds import Folds
from mimamba_edge.export.onnx.schema import DOMAIN, MSTB

__all__ = ["PERIODS", "MstbSpec", "mstb_function"]

PERIODS = "periods"
"""Value inside the body: the chosen periods, ``(b, top_k)`` int64, in samples."""

_MATRIX_BYTES = 1 << 20
"""Size up to which the transform is a product with a constant matrix: 512 samples with all their bins."""
_F32, _I64, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass(frozen=True)
class MstbSpec:
    """What a body is made for.

    Attributes:
        length: l.
        channels: c.
        features: f.
        kernel: k.
        kind: Element type T of weights and output, a value of ``TensorProto.DataType``.
        top_k: Number of periods.
        min_bin: First Fourier bin allowed.
        max_bin: Last one; 0 means ``l // 2``.
        weighting: 0: share of amplitude; 1: softmax.
        amplitude_scale: Factor inside the softmax.
        period_rule: 0: ``ceil(l / bin)``; 1: ``l // bin``.
    """

    length: int
    channels: int
    features: int
    kernel: int
    kind: int
    top_k: int
    min_bin: int
    max_bin: int
    weighting: int
    amplitude_scale: float
    period_rule: int = 0

    @property
    def bins(self) -> NDArray[np.int64]:
        """Fourier bins allowed, ascending."""
        return np.arange(self.min_bin, (self.max_bin or self.length // 2) + 1)


def mstb_function(spec: MstbSpec, folds: Folds | None = None) -> FunctionProto:
    """Return the body for one specification; the batch stays open.

    Args:
        spec: What it is made for.
        folds: How folds are convolved; in float32 if not given.

    Its inner value ``periods`` is ``(b, k)`` int64, in samples.
    """
    folds = folds or Folds(spec.channels, spec.features, spec.kernel, cast=spec.kind != _F32)
    b = Body()
    length, c, k = spec.length, spec.channels, spec.top_k
    rows_first = b.op("Transpose", "x", perm=[0, 2, 1])
    amplitude = _spectrum(b, rows_first, spec)
    out = ("amplitude", "bin")
    top, chosen = b.many("TopK", amplitude, b.ints(k), out=out, axis=-1, largest=1, sorted=1)
    # All that follows from a bin is looked up: period, size of the fold, which axis is longer.
    period = length // spec.bins if spec.period_rule else -(-length // spec.bins)
    rows = -(-length // period)
    b.op("Gather", b.const(period), chosen, out=PERIODS)
    pick = b.op("Reshape", chosen, b.ints(-1))
    flags = folds.flags(rows, period)
    ends, shapes, *chosen_flags = (
        b.op("Gather", b.const(table), pick)
        for table in (
            (rows * period)[:, None],
            np.stack([np.ones_like(period), np.full_like(period, c), rows, period], axis=1),
            *flags.values(),
        )
    )
    longest = length + int(period.max()) - 1
    items = rows_first
    if longest > length:
        items = b.op("Pad", items, b.ints(0, 0, 0, 0, 0, longest - length))
    items = _for_each_period(b, items, k, [c, longest])
    known = {
        f"item_{name}": (_for_each_period(b, value, k, shape), kind, shape)
        for name, (value, kind, shape) in folds.scales(b, rows_first).items()
    }
    for name, value in zip(flags, chosen_flags, strict=True):
        known[f"item_{name}"] = value, _BOOL, []
    pair = Body(b)
    fold = pair.op("Slice", "item", pair.ints(0), "item_end", pair.ints(1))
    seen = folds.add(
        pair, pair.op("Reshape", fold, "item_shape"), {name.removeprefix("item_"): name for name in known}
    )
    seen = pair.op(
        "Slice", pair.op("Reshape", seen, pair.ints(c, -1)), pair.ints(0), pair.ints(length), pair.ints(1)
    )
    formals: list[tuple[str, int, list[int | str | None]]] = [
        ("item", _F32, [c, longest]),
        ("item_end", _I64, [1]),
        ("item_shape", _I64, [4]),
    ]
    formals += [(name, kind, [*shape]) for name, (_, kind, shape) in known.items()]
    body = pair.graph("pair", formals, [(seen, _F32)])
    inputs = (items, ends, shapes, *(value for value, _, _ in known.values()))
    branches = b.op("Scan", *inputs, body=body, num_scan_inputs=len(inputs))
    weights = b.op("Unsqueeze", _weights(b, top, spec), b.ints(1))
    mixed = b.op("MatMul", weights, b.op("Reshape", branches, b.ints(-1, k, c * length)))
    y = b.op("Add", b.op("Reshape", mixed, b.ints(-1, c, length)), rows_first)
    if spec.kind != _F32:
        y = b.cast(y, spec.kind)
    b.op("Transpose", y, perm=[0, 2, 1], out="y")
    return helper.make_function(
        DOMAIN,
        MSTB,
        ["x", "w1", "b1", "w2", "b2"],
        ["y"],
        b.nodes,
        [helper.make_opsetid("", OPSET)],
        attributes=["top_k", "min_bin", "max_bin", "weighting", "amplitude_scale"]
        + ["period_rule"] * bool(spec.period_rule),
    )


def _for_each_period(b: Body, value: str, k: int, shape: list[int]) -> str:
    """Add ``value (b, *shape)`` once for each of a window's periods: ``(b * k, *shape)``."""
    if k == 1:
        return value
    spread = b.op("Expand", b.op("Unsqueeze", value, b.ints(1)), b.ints(1, k, *(1 for _ in shape)))
    return b.op("Reshape", spread, b.ints(-1, *shape))


def _spectrum(b: Body, x: str, spec: MstbSpec) -> str:
    """Add the mean over channels of the amplitudes of ``x (b, c, l)`` in the bins allowed: ``(b, n)``."""
    length, c, bins = spec.length, spec.channels, spec.bins
    # Without its first sample: a channel that does not move gives exact zeros, not rounding noise.
    x = b.op("Sub", x, b.op("Slice", x, b.ints(0), b.ints(1), b.ints(2)))
    if length * 2 * len(bins) * 4 <= _MATRIX_BYTES:
        angle = 2 * np.pi * (np.arange(length)[:, None] * bins % length) / length
        matrix = np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        if c == 1:  # a product of one row would take another path when the batch is 1
            column = b.op("Reshape", x, b.ints(-1, length, 1))
            parts = b.op("MatMul", b.const(np.ascontiguousarray(matrix.T)), column)
        else:
            parts = b.op("MatMul", x, b.const(matrix))
        parts = b.op("Reshape", b.op("Mul", parts, parts), b.ints(-1, c, 2, len(bins)))
        power = b.op("ReduceSum", parts, b.ints(2), keepdims=0)
    else:
        signal = b.op("Unsqueeze", x, b.ints(3))
        power_of_two = length & (length - 1) == 0
        parts = b.op("DFT", signal, axis=2, onesided=1) if power_of_two else _chirp_z(b, signal, length)
        parts = b.op("Slice", parts, b.ints(int(bins[0])), b.ints(int(bins[-1]) + 1), b.ints(2))
        power = b.op("ReduceSum", b.op("Mul", parts, parts), b.ints(3), keepdims=0)
    share = b.const(np.full((1, c), 1 / c, np.float32))
    return b.op("Reshape", b.op("MatMul", share, b.op("Sqrt", power)), b.ints(-1, len(bins)))


def _chirp_z(b: Body, x: str, length: int) -> str:
    """Add Bluestein's transform of ``x (b, c, l, 1)``, up to a phase per bin: ``(b, c, m, 2)``, m >= l.

    ONNX Runtime's DFT does the same where the length is no power of two, but with phases in float32:
    amplitudes are off by 1e-4 at 513 samples and 1e-3 at 4095, enough to choose other periods.
    """
    size = 1 << (2 * length - 2).bit_length()
    t = np.arange(length)
    chirp = np.exp(-1j * np.pi * (t * t % (2 * length)) / length)
    kernel = np.zeros(size, complex)
    kernel[:length], kernel[size - length + 1 :] = chirp.conj(), chirp.conj()[:0:-1]
    response = np.fft.fft(kernel)

    def pairs(values: NDArray[np.complex128]) -> str:
        return b.const(np.stack([values.real, values.imag], axis=1).astype(np.float32))

    spectrum = b.op("DFT", b.op("Mul", x, pairs(chirp)), b.const(np.int64(size)), axis=2)
    real, imaginary = b.many("Split", spectrum, out=("real", "imaginary"), axis=3, num_outputs=2)
    product = b.op("Add", b.op("Mul", real, pairs(response)), b.op("Mul", imaginary, pairs(1j * response)))
    return b.op("DFT", product, axis=2, inverse=1)


def _weights(b: Body, amplitude: str, spec: MstbSpec) -> str:
    """Add the weights of the branches ``(b, k)``."""
    if spec.weighting:
        return b.op("Softmax", b.op("Mul", amplitude, b.f32(spec.amplitude_scale)), axis=-1)
    # The smallest normal number makes 1 / k of k zeros and leaves everything else as it is.
    amplitude = b.op("Add", amplitude, b.f32(float(np.finfo(np.float32).tiny)))
    return b.op("Div", amplitude, b.op("ReduceSum", amplitude, b.ints(1), keepdims=1))

"""Ranges against NumPy on all values at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from mimamba_edge.errors import ConfigError
from mimamba_edge.export.families.msimamba.int8_cpu import quantize_weight, split_columns, unsigned_scales
from mimamba_edge.export.quantize.ranges import PERCENTILE, Range, ValueHistogram

pytestmark = pytest.mark.torch


def collected(values: np.ndarray, parts: int = 7) -> ValueHistogram:
    spread = ValueHistogram()
    for part in np.array_split(values, parts):
        spread.add(part)
    return spread


def error(values: np.ndarray, span: Range) -> float:
    """Mean square error of 255 steps over a range, value by value."""
    scale = (max(span.high, 0) - min(span.low, 0)) / 255
    zero = np.round(-min(span.low, 0) / scale)
    stored = np.clip(np.round(values / scale) + zero, 0, 255)
    return float((((stored - zero) * scale - values) ** 2).mean())


def test_minmax_and_percentile_are_numpys():
    values = np.random.default_rng(0).standard_t(3, 400_000)
    spread = collected(values)
    assert spread.range("minmax") == Range(values.min(), values.max())
    got = spread.range("percentile")
    low, high = np.percentile(values, [100 - PERCENTILE, PERCENTILE])
    step = 4 * np.abs(values).max() / (1 << 14)
    assert abs(got.low - low) <= step
    assert abs(got.high - high) <= step


@pytest.mark.parametrize("tail", [2, 4, 30])
def test_mse_is_no_worse_than_the_others(tail):
    values = np.random.default_rng(tail).standard_t(tail, 100_000) + 0.3
    spread = collected(values)
    best = error(values, spread.range("mse"))
    assert best <= 1.01 * error(values, spread.range("minmax"))
    assert best <= 1.01 * error(values, spread.range("percentile"))
    if tail == 4:
        assert best < 0.9 * error(values, spread.range("minmax"))


def test_order_of_batches_changes_nothing_much():
    """The histogram doubles its span as larger values come: late or early must not matter."""
    values = np.concatenate([np.full(1000, 0.01), np.linspace(-40, 60, 5000)])
    one, other = collected(values), collected(values[::-1])
    for method in ("mse", "percentile", "minmax"):
        a, b = one.range(method), other.range(method)
        assert abs(a.low - b.low) <= 0.05
        assert abs(a.high - b.high) <= 0.05


def test_unknown_method():
    with pytest.raises(ConfigError, match="entropy"):
        ValueHistogram().range("entropy")


spans = st.tuples(st.floats(-50, 0), st.floats(0, 50)).map(lambda pair: Range(*pair))


@settings(max_examples=100, deadline=None)
@given(st.lists(spans, min_size=1, max_size=6))
def test_scales_hold_their_ranges_and_zero_exactly(ranges):
    scales, zero = unsigned_scales(ranges)
    for span, scale in zip(ranges, scales, strict=True):
        assert scale > 0
        assert (0 - int(zero)) * scale <= span.low + 1e-5 * abs(span.low)
        assert (255 - int(zero)) * scale >= span.high - 1e-5 * abs(span.high)


def test_weights_are_half_a_step_off_at_most():
    weight = np.random.default_rng(1).standard_normal((5, 3, 3, 3)).astype(np.float32)
    weight[2] = 0
    stored, scale = quantize_weight(weight)
    assert stored.dtype == np.int8
    assert np.abs(stored).max() == 127
    off = np.abs(stored * scale.reshape(-1, 1, 1, 1) - weight)
    assert (off <= 0.5001 * scale.reshape(-1, 1, 1, 1)).all()


def test_split_columns_keeps_every_weight_once():
    w2 = np.arange(2 * 3 * 5 * 5, dtype=np.float32).reshape(2, 3, 5, 5) + 1
    split = split_columns(w2, 2)
    assert split.shape == (4, 3, 5, 3)
    joined = np.concatenate([split[:2], split[2:]], axis=3)[..., :5]
    assert np.array_equal(joined, w2)

"""MultiScaleTemporalBlock's kernels, their PTX on the simulated device, against the float64 oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mimamba_edge.numerics.mstb import choose_periods, multi_scale_temporal_block, period_gap, spectrum
from tests.numerics.problems import mstb_arrays
from tests.plugins.test_scan_kernel import TOLERANCE, error
from tests.ptx.device import Kernels, Refused, device, store, value

Arrays = dict[str, NDArray[Any]]


def make(
    b: int, length: int, c: int, *, f: int = 6, k: int = 3, dtype: str = "float32", seed: int = 0
) -> Arrays:
    t = mstb_arrays(b, length, c, f=f, k=k, seed=seed)
    return {name: store(v, dtype if name in ("w1", "w2") else "float32") for name, v in t.items()}


def oracle(t: Arrays, dtype: str = "float32", **how: Any) -> NDArray[Any]:
    values = {k: value(v, dtype if k in ("w1", "w2") else "float32") for k, v in t.items()}
    return multi_scale_temporal_block(**values, **how)


def compare(kernels: Kernels, t: Arrays, dtype: str = "float32", **how: Any) -> NDArray[Any]:
    known = ("top_k", "min_bin", "max_bin", "weighting", "amplitude_scale", "period_rule")
    op = {k: how[k] for k in known if k in how}
    gap = period_gap(
        spectrum(t["x"]), *(how.get(k, v) for k, v in (("top_k", 1), ("min_bin", 1), ("max_bin", 0)))
    )
    assert (gap > 1e-5).all(), "a near-tie: another seed, or the test says nothing"
    y = kernels.mstb(t, dtype, **how)
    assert error(value(y, dtype), oracle(t, dtype, **op)) <= TOLERANCE[dtype]
    return y


@pytest.mark.parametrize("length", [32, 33, 128, 257])
@pytest.mark.parametrize("c", [1, 4, 7])
def test_awkward_sizes(kernels: Kernels, length: int, c: int) -> None:
    for top_k, k in ((1, 3), (3, 11), (8, 1), (8, 3)):
        compare(kernels, make(1 + (k == 3), length, c, k=k), top_k=top_k)
    assert kernels.launches == 3


@pytest.mark.parametrize("length", [2, 3, 5, 7, 16])
def test_very_short_windows(kernels: Kernels, length: int) -> None:
    for top_k in {1, length // 2}:
        compare(kernels, make(2, length, 3, k=15), top_k=top_k)


@pytest.mark.parametrize("length", [2, 7, 31, 63])
def test_periods_rounded_down(kernels: Kernels, length: int) -> None:
    """Bin by bin: a row of padding, none, or more rows than the bin has number."""
    for bin_ in range(1, length // 2 + 1):
        how = {"min_bin": bin_, "max_bin": bin_, "period_rule": 1}
        for in_workspace in (False, True):
            compare(kernels, make(1, length, 3), top_k=1, images_in_workspace=in_workspace, **how)


@pytest.mark.parametrize("f", [1, 4, 5, 32])
def test_hidden_channels_split_in_groups(kernels: Kernels, f: int) -> None:
    t = make(2, 65, 5, f=f, k=5)
    for groups in (1, 2, 3, 8):
        compare(kernels, t, top_k=3, groups=groups)
        compare(kernels, t, top_k=3, groups=groups, images_in_workspace=True)


def test_images_leave_shared_memory_when_they_must(kernels: Kernels) -> None:
    t = make(1, 700, 2, f=8)
    inside = compare(kernels, t, top_k=2, groups=2)
    small = kernels.workspace
    outside = compare(kernels, t, top_k=2, groups=2, on=device(shared_bytes=20 * 1024))
    assert kernels.workspace > small
    np.testing.assert_array_equal(inside, outside)
    few = compare(kernels, t, top_k=2, groups=2, on=device(shared_bytes=20 * 1024, max_blocks=2))
    np.testing.assert_array_equal(inside, few)


def test_images_in_the_workspace_are_for_the_blocks_that_run_at_once(kernels: Kernels) -> None:
    t, small = make(5, 300, 3, f=8), device(multiprocessors=1, shared_bytes=20 * 1024)
    inside = compare(kernels, t, top_k=3, groups=2, on=device(multiprocessors=1))
    parts = kernels.workspace
    np.testing.assert_array_equal(inside, compare(kernels, t, top_k=3, groups=2, on=small))
    images = kernels.workspace - parts  # of two blocks; there are thirty
    assert 0 < images < 4 * 5 * 300 * 4 * 4
    one = compare(kernels, t, top_k=3, groups=2, on=small, workspace=parts + images // 2)
    np.testing.assert_array_equal(inside, one)


@pytest.mark.parametrize("k", [1, 3, 11, 15])
@pytest.mark.parametrize("shared", [32, 64])
def test_little_shared_memory(kernels: Kernels, k: int, shared: int) -> None:
    for length, c in ((129, 5), (700, 1)):
        t = make(1, length, c, f=5, k=k, dtype="float16")
        compare(kernels, t, "float16", top_k=2, on=device(shared_bytes=shared * 1024))


@pytest.mark.parametrize(("length", "c", "k"), [(512, 4, 11), (1536, 4, 3), (2100, 1, 11), (4096, 3, 3)])
def test_long_windows(kernels: Kernels, length: int, c: int, k: int) -> None:
    t = make(1, length, c, f=4, k=k)
    where = device(shared_bytes=163 * 1024)  # all that the simulated device has
    compare(kernels, t, top_k=2, min_bin=length // 64, max_bin=length // 16, on=where)


@pytest.mark.parametrize(("c", "f"), [(33, 3), (2, 33), (9, 9)])
def test_many_channels(kernels: Kernels, c: int, f: int) -> None:
    for groups in (0, 1):
        compare(kernels, make(2, 33, c, f=f, k=3, dtype="bfloat16"), "bfloat16", top_k=3, groups=groups)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("c", [1, 4, 6])
def test_channel_first_gives_the_same_bits(kernels: Kernels, c: int, dtype: str) -> None:
    t = make(3, 100, c, k=5, dtype=dtype)
    last = compare(kernels, t, dtype, top_k=3)
    turned = {**t, "x": np.ascontiguousarray(t["x"].swapaxes(1, 2))}
    first = kernels.mstb(turned, dtype, top_k=3, channel_first=True)
    np.testing.assert_array_equal(first.swapaxes(1, 2), last)


@pytest.mark.parametrize("multiprocessors", [1, 8, 132])
def test_any_device(kernels: Kernels, multiprocessors: int) -> None:
    t = make(2, 128, 4, f=32, k=3)
    compare(kernels, t, top_k=3, on=device(multiprocessors, 227 * 1024))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types(kernels: Kernels, dtype: str) -> None:
    t = make(2, 128, 4, f=8, k=11, dtype=dtype)
    half = compare(kernels, t, dtype, top_k=3)
    wide = {k: value(v, dtype).astype(np.float32) if k in ("w1", "w2") else v for k, v in t.items()}
    np.testing.assert_array_equal(half, store(kernels.mstb(wide, top_k=3), dtype))  # rounded once


@pytest.mark.parametrize("scale", [1.0, -0.5, 40.0])
def test_softmax_weighting(kernels: Kernels, scale: float) -> None:
    # The weights see amplitude_scale times the rounding of the amplitudes: small ones for the large scale.
    t = make(2, 64, 4)
    if scale > 1:
        t["x"] = (t["x"] * np.float32(0.05)).astype(np.float32)
    compare(kernels, t, top_k=4, weighting=1, amplitude_scale=scale)


def test_band(kernels: Kernels) -> None:
    t = make(2, 128, 4)
    for band in ({"min_bin": 3, "max_bin": 20}, {"min_bin": 60}, {"min_bin": 9, "max_bin": 11}):
        compare(kernels, t, top_k=3, **band)


@pytest.mark.parametrize("length", [129, 2048, 4095])
def test_amplitudes_apart_by_little_more_than_a_near_tie(kernels: Kernels, length: int) -> None:
    """Two tones whose amplitudes differ by two in 100,000, far from the first sample's level."""
    time = 2 * np.pi * np.arange(length)[:, None] / length
    t = make(1, length, 1, f=1)
    for low, high in ((1.0, 1 - 2e-5), (1 - 2e-5, 1.0)):
        t["x"] = (low * np.cos(time * 20) + high * np.cos(time * 31)).astype(np.float32)[None]
        bins = choose_periods(spectrum(t["x"]), length, 1)[1]
        assert bins.item() == (20 if low > high else 31)
        y = compare(kernels, t, top_k=1, max_bin=40)
        other = oracle(t, top_k=1, min_bin=21 if low > high else 1, max_bin=40 if low > high else 30)
        assert error(y, other) > 0.1  # the period of the other tone


def test_channels_that_do_not_move_choose_the_lowest_bins(kernels: Kernels) -> None:
    t = make(2, 33, 4)
    t["x"][:] = t["x"][:, :1]
    for weighting in (0, 1):
        how = {"top_k": 3, "min_bin": 2, "weighting": weighting}
        assert error(kernels.mstb(t, **how), oracle(t, **how)) <= 1e-5  # type: ignore[arg-type]


def test_ties_go_to_the_lower_bin(kernels: Kernels) -> None:
    """An impulse has every amplitude alike, to the last bit where the first sample is the impulse's zero."""
    t = make(1, 8, 1)
    t["x"][:] = 0.0
    t["x"][0, 4] = 1.0  # angles are multiples of pi: cosine 1 or -1, sine 0
    periods, bins = choose_periods(np.ones((1, 5)), 8, 2)
    assert bins.tolist() == [[1, 2]]
    assert periods.tolist() == [[8, 4]]
    assert error(kernels.mstb(t, top_k=2), oracle(t, top_k=2)) <= 1e-5


def test_threads_do_not_race(kernels: Kernels) -> None:
    t = make(2, 129, 7, f=9, k=5)
    for how in ({}, {"groups": 2}, {"groups": 1, "images_in_workspace": True}):
        first, *others = (kernels.mstb(t, top_k=3, seed=seed, **how) for seed in (0, 1, 2))  # type: ignore[arg-type]
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_few_blocks_stride_over_the_work(kernels: Kernels) -> None:
    t = make(3, 66, 4)
    few = kernels.mstb(t, top_k=3, groups=2, on=device(max_blocks=2))
    np.testing.assert_array_equal(kernels.mstb(t, top_k=3, groups=2), few)


def test_a_small_workspace_means_fewer_groups_then_an_error(kernels: Kernels) -> None:
    t = make(1, 64, 4, f=32)
    kernels.mstb(t, top_k=3, groups=1)
    least = kernels.workspace
    compare(kernels, t, top_k=3, groups=8, workspace=least)
    with pytest.raises(Refused) as refused:
        kernels.mstb(t, top_k=3, groups=8, workspace=least - 16)
    assert refused.value.args[0] == 2
    assert "workspace" in refused.value.args[1]


def test_not_a_number_stays_one_and_nothing_breaks(kernels: Kernels) -> None:
    t = make(2, 32, 4)
    t["x"][0, 5, 1] = np.nan
    y = kernels.mstb(t, top_k=3, groups=2)
    assert np.isnan(y[0]).any()
    alone = {k: v[1:] if k == "x" else v for k, v in t.items()}
    np.testing.assert_array_equal(y[1:], kernels.mstb(alone, top_k=3, groups=2))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"top_k": 9}, "top_k must be 1 to 8"),
        ({"top_k": 3, "min_bin": 15}, "at most the number of bins"),
        ({"top_k": 1, "min_bin": 0}, "1 <= min_bin"),
        ({"top_k": 1, "max_bin": 17}, "max_bin <= l / 2"),
        ({"top_k": 1, "weighting": 2}, "weighting must be 0 or 1"),
        ({"top_k": 1, "period_rule": 2}, "period_rule must be 0 or 1"),
    ],
)
def test_what_does_not_fit_is_refused(kernels: Kernels, how: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as refused:
        kernels.mstb(make(1, 32, 2), **how)
    assert refused.value.args[0] == 1
    assert says in refused.value.args[1]


@pytest.mark.parametrize("k", [2, 17])
def test_kernels_must_be_odd_and_at_most_15(kernels: Kernels, k: int) -> None:
    with pytest.raises(Refused, match="odd"):
        kernels.mstb(make(1, 32, 2, k=k), top_k=1)

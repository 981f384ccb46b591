"""The temporal block's oracle against scipy and against windows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import correlate2d

from mimamba_edge.errors import ConfigError
from mimamba_edge.numerics import mstb


def _tones(length: int, *bins_and_sizes: tuple[int, float]) -> np.ndarray:
    t = np.arange(length)
    x = sum(size * np.cos(2 * np.pi * f * t / length + 0.3) for f, size in bins_and_sizes)
    return np.asarray(x)[None, :, None]


@pytest.mark.parametrize("length", [32, 33, 129])
def test_tones_are_found_by_size(length: int) -> None:
    x = _tones(length, (2, 1.0), (7, 3.0), (11, 2.0)) + 50.0
    amplitude = mstb.spectrum(x)
    assert amplitude.shape == (1, length // 2 + 1)
    assert amplitude[0, 0] == 0
    assert amplitude[0, 7] == pytest.approx(3.0 * length / 2)
    periods, bins = mstb.choose_periods(amplitude, length, 3)
    assert bins.tolist() == [[7, 11, 2]]
    assert periods.tolist() == [[-(-length // f) for f in (7, 11, 2)]]
    down, _ = mstb.choose_periods(amplitude, length, 3, period_rule=1)
    assert down.tolist() == [[length // f for f in (7, 11, 2)]]
    np.testing.assert_allclose(mstb.branch_weights(amplitude, bins, 0, 1.0), [[3 / 6, 2 / 6, 1 / 6]])
    softmax = np.exp(0.01 * length / 2 * np.array([3.0, 2.0, 1.0]))
    np.testing.assert_allclose(mstb.branch_weights(amplitude, bins, 1, 0.01), [softmax / softmax.sum()])


def test_bin_limits() -> None:
    amplitude = mstb.spectrum(_tones(64, (1, 9.0), (5, 1.0), (20, 5.0)))
    assert mstb.choose_periods(amplitude, 64, 1, min_bin=2)[1].tolist() == [[20]]
    assert mstb.choose_periods(amplitude, 64, 1, min_bin=2, max_bin=19)[1].tolist() == [[5]]
    with pytest.raises(ConfigError, match="top_k 3"):
        mstb.choose_periods(amplitude, 64, 3, min_bin=31)


def test_ties_go_to_the_lower_bin() -> None:
    amplitude = np.zeros((2, 513))  # long enough for a sort that is not stable to show
    amplitude[0, [3, 9, 12]] = 1.0
    amplitude[1, 5::2] = 1.0
    assert mstb.choose_periods(amplitude, 1024, 4)[1].tolist() == [[3, 9, 12, 1], [5, 7, 9, 11]]


@pytest.mark.parametrize("level", [0.0, 0.1, -1e6])
def test_a_window_that_does_not_move_is_well_defined(level: float) -> None:
    x = np.full((1, 33, 2), level)
    x[..., 1] *= 7.3
    amplitude = mstb.spectrum(x)
    assert not amplitude.any()
    _, bins = mstb.choose_periods(amplitude, 33, 3)
    assert bins.tolist() == [[1, 2, 3]]
    assert mstb.branch_weights(amplitude, bins, 0, 1.0).tolist() == [[1 / 3] * 3]


def test_gap_is_relative_to_the_largest_amplitude() -> None:
    amplitude = np.array([[0, 10.0, 4.0, 3.0, 1.0], [0, 0, 0, 0, 0]])
    np.testing.assert_allclose(mstb.period_gap(amplitude, 2), [0.1, 0.0])
    assert mstb.period_gap(amplitude, 2, 2, 3).tolist() == [np.inf, np.inf]
    np.testing.assert_allclose(mstb.period_gap(amplitude, 1, 2)[0], 0.1)


@pytest.mark.parametrize(("rows", "columns"), [(1, 9), (2, 3), (7, 1), (6, 5)])
def test_convolution_is_the_mean_of_correlations(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 3, rows, columns))
    kernels = [rng.normal(size=(4, 3, s, s)) for s in (1, 3, 7)]
    biases = [rng.normal(size=4) for _ in kernels]
    expected = np.zeros((2, 4, rows, columns))
    for kernel, bias in zip(kernels, biases, strict=True):
        half = kernel.shape[2] // 2
        for m in range(2):
            for o in range(4):
                full = sum(correlate2d(np.pad(images[m, c], half), kernel[o, c], "valid") for c in range(3))
                expected[m, o] += (full + bias[o]) / 3
    np.testing.assert_allclose(mstb.convolve(images, kernels, biases), expected, atol=1e-12)


def test_fold_puts_patches_in_rows() -> None:
    seen = {}

    def perceive(folded: np.ndarray) -> np.ndarray:
        seen[folded.shape] = folded.copy()
        return 10.0 * folded

    x = np.arange(14.0).reshape(1, 7, 2)
    y = mstb.weighted_branches(x, np.array([[3, 7]]), np.array([[0.25, 0.5]]), perceive)
    np.testing.assert_allclose(y, x * (1 + 2.5 + 5.0))
    folded = seen[(1, 2, 3, 3)][0]
    assert folded[1].tolist() == [[1, 3, 5], [7, 9, 11], [13, 0, 0]]
    assert (1, 2, 1, 7) in seen


def test_block_by_hand_with_one_tap() -> None:
    """With 1x1 kernels the fold does not matter: the block is pointwise."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 32, 3))
    w1, w2, b1, b2 = rng.normal(size=(4, 3)), rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=3)
    y = mstb.multi_scale_temporal_block(x, w1[..., None, None], b1, w2[..., None, None], b2, top_k=2)
    np.testing.assert_allclose(y, x + mstb.gelu(x @ w1.T + b1) @ w2.T + b2, atol=1e-12)
    assert mstb.gelu(np.array([1.0]))[0] == pytest.approx(0.8413447460685429)

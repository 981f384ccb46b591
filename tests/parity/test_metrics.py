"""Metrics against plain arithmetic written out another way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax

from mimamba_edge.errors import ConfigError
from mimamba_edge.numerics import metrics

seeds = st.integers(0, 2**32 - 1)


def _pair(seed: int, shape: tuple[int, ...] = (7, 5)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ref = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)
    return ref, ref + rng.normal(size=shape) * 10.0 ** rng.integers(-6, 1)


@given(seeds)
def test_sqnr_is_ten_log_of_the_power_ratio(seed: int) -> None:
    ref, x = _pair(seed)
    noise = math.fsum((v - r) ** 2 for r, v in zip(ref.flat, x.flat, strict=True))
    signal = math.fsum(r**2 for r in ref.flat)
    assert metrics.sqnr_db(ref, x) == pytest.approx(10 * math.log10(signal / noise), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_sqnr_of_a_known_error(scale: float) -> None:
    ref = np.array([[3.0, 4.0]]) * scale
    assert metrics.sqnr_db(ref, ref * 1.01) == pytest.approx(40.0, abs=1e-6)


def test_sqnr_at_its_ends() -> None:
    one = np.ones((2, 2))
    assert metrics.sqnr_db(one, one) == math.inf
    assert metrics.sqnr_db(0 * one, 0 * one) == math.inf
    assert metrics.sqnr_db(0 * one, one) == -math.inf
    assert math.isnan(metrics.sqnr_db(one, np.array([[1.0, np.nan], [1, 1]])))
    assert math.isnan(metrics.sqnr_db(one * np.inf, one))


@given(seeds)
def test_kl_agrees_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ref, x = rng.normal(size=(6, 4)) * 5, rng.normal(size=(6, 4)) * 5
    expected = rel_entr(softmax(ref, axis=1), softmax(x, axis=1)).sum(axis=1).mean()
    assert metrics.mean_kl(ref, x) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_kl_of_huge_logits_is_finite_and_of_shifted_ones_zero() -> None:
    ref = np.array([[1e4, -1e4, 0.0]])
    assert metrics.mean_kl(ref, ref + 7) == pytest.approx(0.0, abs=1e-9)
    assert math.isfinite(metrics.mean_kl(ref, -ref))


def test_margins_and_relative_error() -> None:
    ref = np.array([[1.0, 2.0, 0.0], [5.0, -1.0, 4.5], [-3.0, -4.0, -9.0], [0.0, 0.0, 0.0]])
    x = np.array([[0.0, 2.0, 1.9], [5.0, -1.0, 5.5], [-3.0, -4.0, -9.0], [0.0, 0.0, 0.0]])
    assert metrics.margins(ref).tolist() == [1.0, 0.5, 1.0, 0.0]
    assert metrics.max_rel_err(ref, x) == pytest.approx(1.9 / 9)
    assert metrics.max_rel_err(0 * ref, 0 * ref) == 0
    assert metrics.max_rel_err(0 * ref, ref) == math.inf


def test_shapes_must_agree() -> None:
    with pytest.raises(ConfigError):
        metrics.sqnr_db(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ConfigError):
        metrics.mean_kl(np.zeros((0, 3)), np.zeros((0, 3)))


def test_finite() -> None:
    assert metrics.all_finite(np.zeros(2), np.ones(1))
    assert not metrics.all_finite(np.zeros(2), np.array([np.inf]))

from __future__ import annotations

import numpy as np
import pytest

from mimamba_edge.errors import SignalError
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.resample import Resampler, resampling_ratio

RATES = [(256.0, 128.0), (256.0, 100.0), (250.0, 128.0), (125.0, 128.0), (128.0, 256.0), (500.0, 128.0)]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_tone_of_the_band_comes_out_delayed_and_whole(source: float, target: float) -> None:
    resampler = Resampler(source, target, 1, default_filters(target, None))
    tones = (1.0, 10.0, min(45.0, 0.4 * min(source, target)) - 1)
    for hz in tones:
        resampler = Resampler(source, target, 1, default_filters(target, None))
        n = int(4 * source)
        y, _ = resampler.push(np.sin(2 * np.pi * hz * np.arange(n) / source)[:, None])
        assert len(y) == -(-n * resampler.up // resampler.down)
        k = np.arange(len(y))
        expected = np.sin(2 * np.pi * hz * (k / target - resampler.delay_s))
        settled = k > resampler.n_taps * target / source + 1
        np.testing.assert_allclose(y[settled, 0], expected[settled], atol=5e-3, err_msg=f"{hz} Hz")


def test_what_would_fold_into_the_band_is_gone() -> None:
    for hz in (84.0, 100.0, 118.0):
        resampler = Resampler(256.0, 128.0, 1, default_filters(128.0, None))
        y, _ = resampler.push(np.sin(2 * np.pi * hz * np.arange(2048) / 256)[:, None])
        assert np.abs(y[64:]).max() < 2e-3, hz


@pytest.mark.parametrize(("source", "target"), [*RATES, (128.0, 128.0)])
@pytest.mark.parametrize("size", [1, 7, 32])
def test_blocks_change_no_bit(source: float, target: float, size: int) -> None:
    x = np.random.default_rng(2).normal(size=(403, 3))
    whole, parts = Resampler(source, target, 3), Resampler(source, target, 3)
    whole.start(x[0])
    parts.start(x[0])
    expected, newest = whole.push(x)
    got = [parts.push(x[i : i + size]) for i in range(0, len(x), size)]
    assert np.array_equal(expected, np.concatenate([y for y, _ in got]))
    assert newest.tolist() == [whole.newest_input(k) for k in range(len(expected))]


def test_no_output_uses_a_sample_that_comes_after_it() -> None:
    x = np.random.default_rng(3).normal(size=(200, 1))
    changed = x.copy()
    changed[101:] += 1
    a, b = (Resampler(256.0, 100.0, 1).push(v)[0] for v in (x, changed))
    last_same = np.flatnonzero((a == b).all(axis=1))[-1]
    assert last_same == 101 * 100 // 256
    assert Resampler(256.0, 100.0, 1).newest_input(int(last_same)) <= 100


def test_a_constant_stays_constant_from_the_first_sample_on() -> None:
    resampler = Resampler(256.0, 100.0, 2)
    level = np.array([37.0, -1000.0])
    resampler.start(level)
    y, _ = resampler.push(np.tile(level, (300, 1)))
    np.testing.assert_allclose(y, np.tile(level, (len(y), 1)), rtol=1e-12)


def test_rates_without_a_simple_ratio_are_refused() -> None:
    assert resampling_ratio(256.0, 128.0) == 0.5
    with pytest.raises(SignalError, match="whole numbers"):
        resampling_ratio(256.0, 127.7312)

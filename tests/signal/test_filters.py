from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from mimamba_edge.contract import Filter
from mimamba_edge.errors import SignalError
from mimamba_edge.signal import filters
from mimamba_edge.signal.filters import (
    SosFilter,
    default_filters,
    design_sos,
    group_delay_s,
    settling_samples,
    with_mains,
)

BAND = default_filters(128.0, None)


def _direct_form(b: np.ndarray, a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The difference equation, sample by sample: shares nothing with second-order sections."""
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = sum(b[k] * x[n - k] for k in range(min(n + 1, len(b))))
        y[n] -= sum(a[k] * y[n - k] for k in range(1, min(n + 1, len(a))))
    return y


def test_band_pass_is_the_butterworth_difference_equation() -> None:
    x = np.random.default_rng(0).normal(size=300)
    sos = design_sos([Filter("bandpass", order=2, low_hz=4.0, high_hz=30.0)], 128.0)
    expected = _direct_form(*signal.butter(2, (4.0, 30.0), "bandpass", fs=128.0), x)
    np.testing.assert_allclose(SosFilter(sos, 1).push(x[:, None])[:, 0], expected, atol=1e-10)


def test_mains_is_removed_and_the_band_is_kept() -> None:
    t = np.arange(2560) / 256.0
    sos = design_sos(default_filters(128.0, 50.0), 256.0)
    for hz, low, high in ((50.0, 0.0, 0.01), (20.0, 0.95, 1.05), (0.1, 0.0, 0.01)):
        y = SosFilter(sos, 1).push(np.sin(2 * np.pi * hz * t)[:, None])[1280:, 0]
        assert low <= np.sqrt(2) * y.std() <= high, hz


def test_delay_is_the_one_of_the_design_page() -> None:
    sos = design_sos(BAND, 256.0)
    assert group_delay_s(sos, 256.0, 2.0) == pytest.approx(0.128, abs=1e-3)
    assert group_delay_s(sos, 256.0, 10.0) == pytest.approx(0.013, abs=1e-3)


def test_a_start_from_a_large_offset_leaves_nothing_behind() -> None:
    sos = design_sos(BAND, 256.0)
    offset = np.full((2560, 1), 100_000.0)
    settled = SosFilter(sos, 1)
    settled.start(offset[0])
    assert np.abs(settled.push(offset)).max() < 1e-3
    from_zero = np.abs(SosFilter(sos, 1).push(offset))[:, 0]
    assert np.flatnonzero(from_zero > 1.0)[-1] / 256 == pytest.approx(4.6, abs=0.1)


def test_settling_is_when_a_wrong_start_is_forgotten() -> None:
    sos = design_sos(default_filters(128.0, 50.0), 256.0)
    settling = settling_samples(sos, 256.0)
    assert 1.0 < settling / 256 < 3.0
    wrong = SosFilter(sos, 1)
    wrong.start(np.array([100.0]))
    left = np.abs(wrong.push(np.zeros((2560, 1))))[:, 0]
    assert left[settling:].max() <= 1.0 < left[: settling // 2].max()
    assert settling_samples(np.zeros((0, 6)), 256.0) == 0


@pytest.mark.parametrize("size", [1, 3, 64])
def test_blocks_change_no_bit(size: int) -> None:
    x = np.random.default_rng(1).normal(size=(257, 3))
    sos = design_sos(default_filters(128.0, 60.0), 256.0)
    whole, parts = SosFilter(sos, 3), SosFilter(sos, 3)
    whole.start(x[0])
    parts.start(x[0])
    joined = np.concatenate([parts.push(x[i : i + size]) for i in range(0, len(x), size)])
    assert np.array_equal(whole.push(x), joined)


def test_a_source_that_is_too_slow_is_named_and_its_mains_is_not_looked_for() -> None:
    with pytest.raises(SignalError, match="more than 90 Hz"):
        design_sos(BAND, 80.0)
    # 60 Hz lies above the Nyquist frequency of 100 Hz: there is nothing to remove.
    assert np.array_equal(design_sos(default_filters(128.0, 60.0), 100.0), design_sos(BAND, 100.0))
    slow = default_filters(64.0, None)[0]
    assert slow.high_hz < 32.0


def test_mains_override_moves_the_mains_notch_only() -> None:
    other = Filter("notch", freq_hz=30.0)
    trained = (*default_filters(128.0, 60.0), other)
    moved = with_mains(trained, 60.0, 50.0)
    assert sorted(f.freq_hz for f in moved if f.kind == "notch") == [30.0, 50.0]
    assert with_mains(trained, 60.0, None) == trained


def test_scipys_kernel_and_its_public_function_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    sos = design_sos(default_filters(128.0, 50.0), 256.0)
    x = np.random.default_rng(3).normal(0, 50, (500, 3))
    results = []
    for run in (filters.run_sos, filters.run_sos_public):
        monkeypatch.setattr(filters, "run_sos", run)
        one = SosFilter(sos, 3)
        one.start(x[0])
        results.append(np.concatenate([one.push(part) for part in np.array_split(x, 37)]))
    assert np.array_equal(results[0], results[1])


def test_filters_whose_answer_would_not_end_are_refused() -> None:
    with pytest.raises(SignalError, match="cannot be designed at 250 Hz"):
        design_sos([Filter("notch", freq_hz=50.0, q=0.01)], 250.0)
    # The narrowest and steepest that a contract lets through is stable.
    sos = design_sos([Filter("bandpass", order=16, low_hz=44.9999, high_hz=45.0)], 1e5)
    assert np.isfinite(signal.sosfilt(sos, np.random.default_rng(0).normal(size=20_000))).all()

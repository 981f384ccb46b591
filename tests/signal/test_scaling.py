from __future__ import annotations

import numpy as np
import pytest

from mimamba_edge.contract import Scaling
from mimamba_edge.errors import ConfigError, SignalError
from mimamba_edge.signal.montage import channel_columns, microvolts_per
from mimamba_edge.signal.quality import assess
from mimamba_edge.signal.quantiles import channel_quantiles
from mimamba_edge.signal.scaling import ScaledWindows, apply_scaling, fit_scaling

RNG = np.random.default_rng(6)


def test_robust_scaling_is_median_and_iqr_of_each_channel() -> None:
    data = RNG.normal(size=(11, 3, 40)) * np.array([1.0, 20.0, 0.1])[:, None] + 5
    scaling = fit_scaling(data)
    for c in range(3):
        values = np.sort(data[:, c].ravel())
        assert scaling.center[c] == pytest.approx(np.median(values))
        q1, q3 = (np.interp(q * (len(values) - 1), np.arange(len(values)), values) for q in (0.25, 0.75))
        assert scaling.scale[c] == pytest.approx(q3 - q1)
    scaled = apply_scaling(data, scaling)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled[3], apply_scaling(data[3], scaling))


def test_some_of_many_windows_are_measured_and_scaled_as_if_they_were_all() -> None:
    data = RNG.normal(size=(2500, 2, 8)) * np.array([3.0, 7.0])[:, None]
    rows = np.flatnonzero(RNG.integers(0, 2, 2500))
    scaling = fit_scaling(data, rows=rows)
    assert scaling == fit_scaling(data[rows])
    one_by_one, together = ScaledWindows(data, rows, scaling), apply_scaling(data[rows], scaling)
    assert one_by_one.shape == together.shape
    for index in (slice(None), slice(3, 900), RNG.permutation(len(rows))[:40]):
        np.testing.assert_array_equal(one_by_one[index], together[index])
    np.testing.assert_array_equal(ScaledWindows(data, None, scaling)[5:9], apply_scaling(data[5:9], scaling))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 3), (700, 3, 32)])
@pytest.mark.parametrize("spread", [0.0, 1e-300, 1.0, 1e300])
def test_quantiles_of_blocks_are_numpys(shape: tuple[int, int, int], spread: float) -> None:
    data = RNG.normal(size=shape) * spread + (4200 if spread == 1 else 0)
    data[::3] = np.round(data[::3])  # ties
    probabilities = (0.0, 0.25, 0.5, 0.61, 1.0)
    found = channel_quantiles(lambda: iter([data[:1], data[1:]]), probabilities)
    for k in range(shape[1]):
        np.testing.assert_array_equal(found[:, k], np.quantile(data[:, k], probabilities))


def test_zscore_erases_amplitude_and_takes_a_flat_window() -> None:
    data = RNG.normal(size=(2, 3, 50))
    data[1, 2] = 7.0
    scaled = apply_scaling(data, Scaling("window-zscore"))
    np.testing.assert_allclose(scaled[0].std(axis=-1), 1, rtol=1e-5)
    assert not scaled[1, 2].any()
    assert np.array_equal(apply_scaling(data, Scaling("none")), data.astype(np.float32))


def test_what_cannot_be_scaled_is_named() -> None:
    data = RNG.normal(size=(4, 2, 30))
    data[:, 1] = 3.0
    with pytest.raises(SignalError, match="channel number 2"):
        fit_scaling(data)
    with pytest.raises(ConfigError, match="unknown scaling"):
        fit_scaling(data, "robst")


def test_channels_are_found_by_name_and_order() -> None:
    assert channel_columns(["b", "a"], ["a", "x", "b"]) == [2, 0]
    assert channel_columns(["TP9"], ["Fz"], {"TP9": "Fz"}) == [0]
    with pytest.raises(SignalError, match=r"lacks.*: c\n.*a, b"):
        channel_columns(["a", "c"], ["a", "b"])
    with pytest.raises(SignalError, match="more than once"):
        channel_columns(["a"], ["a", "a"])
    assert microvolts_per("V") == 1e6
    with pytest.raises(SignalError, match="unit"):
        microvolts_per("furlong")


def _quality(raw: np.ndarray, rails: tuple[float, float] | None) -> tuple[dict, str | None]:
    return assess(raw, raw, ["a", "b"], 256.0, 50.0, rails)


def test_quality_names_the_reason() -> None:
    t = np.arange(256) / 256
    good = np.column_stack([10 * np.sin(2 * np.pi * 9 * t), 10 * np.sin(2 * np.pi * 50 * t)])
    quality, reason = _quality(good, (-1000.0, 999.5))
    assert reason is None
    assert quality["a"]["mains_ratio"] < 0.01 < 0.99 < quality["b"]["mains_ratio"]
    assert quality["a"]["rms_uv"] == pytest.approx(10 / np.sqrt(2), rel=1e-3)
    flat = good.copy()
    flat[:, 1] = 3.0
    assert _quality(flat, None)[1] == "flat"
    railed = good.copy()
    railed[:20, 0] = 999.5
    assert _quality(railed, (-1000.0, 999.5))[1] == "railed"
    # Where the source's limits are not known, nothing is called railed.
    quality, reason = _quality(railed, None)
    assert reason is None
    assert quality["a"]["railed"] is None

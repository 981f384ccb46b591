"""The configuration: every fault in one message, and a round trip."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import ConfigError  # noqa: E402
from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402

_GOOD = {"n_chans": 4, "n_times": 128, "n_outputs": 2, "sfreq": 128.0}


def test_round_trip_through_json() -> None:
    config = ModelConfig(**_GOOD, bidirectional=True, d_model=100)
    assert config.dt_rank == 7
    assert config.d_inner == 200
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_fault_is_listed_at_once() -> None:
    faults = {
        "n_chans": 129,
        "n_times": 31,
        "n_outputs": 0,
        "sfreq": float("nan"),
        "top_k": 9,
        "n_kernels": True,
        "d_state": 257,
        "dropout": 1.0,
        "weighting": "mean",
        "period_selection": "window",
        "dt_rank": 0,
    }
    with pytest.raises(ConfigError) as caught:
        ModelConfig.from_dict({**_GOOD, **faults})
    for name, value in faults.items():
        assert f"{name} must" in str(caught.value)
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "bins", [{"min_bin": 63, "top_k": 3}, {"max_bin": 65}, {"min_bin": 5, "max_bin": 4}, {"max_bin": 2}]
)
def test_bins_must_allow_top_k_periods(bins: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"top_k|max_bin"):
        ModelConfig.from_dict({**_GOOD, **bins})


def test_unknown_and_missing_fields_are_listed() -> None:
    raw = {k: v for k, v in _GOOD.items() if k != "sfreq"} | {"d_models": 3, "heads": 8}
    with pytest.raises(ConfigError, match=r"unknown \['d_models', 'heads'\], missing \['sfreq'\]"):
        ModelConfig.from_dict(raw)
    with pytest.raises(ConfigError, match="not a mapping"):
        ModelConfig.from_dict([1])

"""A fit that was killed goes on to the same bits; what does not fit is not gone on from."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import ConfigError  # noqa: E402
from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.network import FamilyBlueprint  # noqa: E402
from mimamba_edge.export.training import fit as fitting  # noqa: E402
from mimamba_edge.export.training import fit_state  # noqa: E402
from mimamba_edge.export.training.fit import FitResult, Hyperparameters, fit  # noqa: E402

SIZES = {"n_chans": 2, "n_times": 32, "n_outputs": 2, "sfreq": 32.0, "d_model": 8, "n_layers": 1}
CONFIG = ModelConfig.from_dict({**SIZES, "d_ff": 2, "n_kernels": 2, "d_state": 4})
BLUEPRINT = FamilyBlueprint(CONFIG)
RECIPE = Hyperparameters(epochs=6, batch_size=8, learning_rate=1e-2, smoothing_epochs=2)


def data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed).standard_normal((n, 2, 32)).astype(np.float32)
    return drawn, np.arange(n) % 2


def run(state: Path | None, seed: int = 0, recipe: Hyperparameters = RECIPE) -> FitResult:
    torch.set_num_threads(1)
    validation, watched = data(8, 1), data(4, 2)[0]
    return fit(
        BLUEPRINT, recipe, data(20, 0), seed=seed, validation=validation, watched=watched, state=state
    )[1]


def killed_at(epoch: int, state: Path) -> None:
    """Fit, and die by SIGKILL once the state of an epoch is written."""
    fit_state.WRITTEN_EVERY_S = 0.0
    save = fit_state.FitState.save

    def then_die(self: Any, values: dict[str, Any]) -> None:
        save(self, values)
        if values["epoch"] == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    fit_state.FitState.save = then_die  # type: ignore[method-assign]
    run(state)


def same(one: FitResult, other: FitResult) -> bool:
    assert one.watched is not None
    return (
        one.history == other.history
        and one.best_epoch == other.best_epoch
        and one.validation_score == other.validation_score
        and np.array_equal(one.watched, other.watched)
        and all(np.array_equal(v, other.state_dict[k]) for k, v in one.state_dict.items())
    )


@pytest.mark.slow
def test_a_fit_that_was_killed_ends_at_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, whole = tmp_path / "fit.state", run(None)
    child = multiprocessing.get_context("spawn").Process(target=killed_at, args=(3, state))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert state.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*.part"))
    batches, surrogate = [], fitting.ft_surrogate

    def counted(*given: Any) -> Any:
        batches.append(1)
        return surrogate(*given)

    monkeypatch.setattr(fitting, "ft_surrogate", counted)
    resumed = run(state)
    assert len(batches) == 3 * 3, "three batches in each of the three epochs that were left"
    assert same(whole, resumed)
    assert not same(whole, run(None, seed=1)), "dropout, order and surrogates count"


def test_another_fits_state_or_a_damaged_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_state, "WRITTEN_EVERY_S", 0.0)
    state, short = tmp_path / "fit.state", Hyperparameters(epochs=2, batch_size=8)
    first = run(state, recipe=short)
    assert state.exists()
    other = run(state, seed=1, recipe=short)
    assert same(other, run(None, seed=1, recipe=short))
    state.write_bytes(state.read_bytes()[:-100])
    assert same(first, run(state, recipe=short))
    state.unlink()
    state.mkdir()  # nothing can be kept there
    assert same(first, run(state, recipe=short))


def test_a_device_or_precision_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("for a machine without a GPU")
    with pytest.raises(ConfigError, match=r"(?s)no CUDA device.*built with.*--device cpu"):
        run(None, recipe=Hyperparameters(device="cuda"))
    for wrong in ({"device": "tpu"}, {"precision": "int8"}):
        with pytest.raises(ConfigError, match=r"unknown (device|precision)"):
            run(None, recipe=Hyperparameters(**wrong))


def test_bfloat16_trains_and_chooses_the_same_periods() -> None:
    results = [
        run(None, recipe=Hyperparameters(epochs=3, batch_size=8, learning_rate=1e-2, precision=precision))
        for precision in ("float32", "bfloat16")
    ]
    losses = [[row["loss"] for row in result.history] for result in results]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.03)
    assert losses[0] != losses[1]
    x = torch.from_numpy(data(16, 5)[0])
    network = BLUEPRINT.network().train()
    periods = network.auxiliary(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network.auxiliary(x)
        assert network(x).dtype == torch.bfloat16
    assert all(torch.equal(value, mixed[name]) for name, value in periods.items())
    assert all(v.dtype == np.float32 for v in results[1].state_dict.values())

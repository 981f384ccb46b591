from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.network import FamilyBlueprint  # noqa: E402
from mimamba_edge.export.training.fit import Hyperparameters, Start, fit, predict  # noqa: E402

SIZES = {
    "n_chans": 2,
    "n_times": 64,
    "n_outputs": 2,
    "sfreq": 64.0,
    "d_model": 16,
    "n_layers": 1,
    "d_ff": 4,
    "n_kernels": 2,
}
BLUEPRINT = FamilyBlueprint(ModelConfig.from_dict(SIZES))
RECIPE = Hyperparameters(epochs=25, batch_size=16, learning_rate=8e-3)


@pytest.fixture(autouse=True)
def one_thread():
    """As in the workers: threads that wait for each other on a busy machine take minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rhythms(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that differ in rhythm (5 or 11 Hz) at random phase."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    phase = rng.uniform(0, 2 * np.pi, (n, 2, 1))
    wave = np.sin(2 * np.pi * np.where(labels, 11, 5)[:, None, None] * np.arange(64) / 64 + phase)
    return (wave + 0.5 * rng.standard_normal(wave.shape)).astype(np.float32), labels


def test_a_fit_learns_and_is_the_same_for_the_same_seed() -> None:
    train, validation = rhythms(96, 0), rhythms(48, 1)
    model, _ = fit(BLUEPRINT, RECIPE, train, validation=validation, seed=3)
    windows, labels = rhythms(200, 2)
    assert (predict(model, windows).argmax(axis=1) == labels).mean() > 0.9
    short = dataclasses.replace(RECIPE, epochs=4)
    first, again, other = (fit(BLUEPRINT, short, train, validation=validation, seed=s)[1] for s in (3, 3, 4))
    assert all(np.array_equal(v, again.state_dict[k]) for k, v in first.state_dict.items())
    assert any(not np.array_equal(v, other.state_dict[k]) for k, v in first.state_dict.items())


def test_the_kept_weights_are_those_of_the_best_epoch() -> None:
    train = rhythms(32, 0)
    model, result = fit(BLUEPRINT, RECIPE, train, validation=rhythms(48, 1), seed=0)
    losses = [row["validation_loss"] for row in result.history]
    means = [np.mean(losses[max(0, i - 4) : i + 1]) for i in range(len(losses))]
    assert result.best_epoch == len(means) - int(np.argmin(means[::-1]))
    stopped, cut = fit(BLUEPRINT, RECIPE, train, epochs=result.best_epoch, seed=0)
    assert cut.best_epoch == result.best_epoch
    assert cut.validation_score is None
    windows = rhythms(8, 5)[0]
    np.testing.assert_array_equal(predict(model, windows), predict(stopped, windows))


def test_a_window_scores_the_same_in_any_batch() -> None:
    model, _ = fit(BLUEPRINT, dataclasses.replace(RECIPE, epochs=1), rhythms(16, 0), seed=0)
    windows = rhythms(9, 4)[0]
    together = predict(model, windows)
    alone = np.concatenate([predict(model, windows[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_start_with_a_frozen_backbone_fits_the_final_layer_only() -> None:
    base = fit(BLUEPRINT, dataclasses.replace(RECIPE, epochs=8), rhythms(64, 0), seed=0)[1].state_dict
    short = Hyperparameters(epochs=2, batch_size=8, learning_rate=1e-3)
    tuned = fit(BLUEPRINT, short, rhythms(16, 7), seed=1, start=Start(base, frozen=True))[1].state_dict
    changed = {k for k in base if not np.array_equal(base[k], tuned[k])}
    assert changed == {"final_layer.weight", "final_layer.bias"}
    free = fit(BLUEPRINT, short, rhythms(16, 7), seed=1, start=Start(base))[1].state_dict
    assert {k.split(".")[0] for k in base if not np.array_equal(base[k], free[k])} == {
        "mstb",
        "tsfb",
        "final_layer",
    }
    for name in base:
        # AdamW moves a weight by about the learning rate a step: 4 steps from the start, not from elsewhere.
        np.testing.assert_allclose(tuned[name], base[name], atol=6e-3)
        np.testing.assert_allclose(free[name], base[name], atol=6e-3)

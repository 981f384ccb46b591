"""The temperature against an independent oracle: a float64 grid search with its own likelihood."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.training.temperature import (  # noqa: E402
    BOUNDS,
    LEAST_TRIALS,
    HeldOut,
    ece,
    evaluate_nested,
    fit_temperature,
)


def drawn(n: int, n_outputs: int, true_t: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax at ``true_t``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, n_outputs))
    p = np.exp(logits / true_t)
    p /= p.sum(axis=1, keepdims=True)
    return logits, (rng.random((n, 1)) > np.cumsum(p, axis=1)).sum(axis=1)


def oracle_nll(logits: np.ndarray, labels: np.ndarray, t: float) -> float:
    total = 0.0
    for row, k in zip(logits / t, labels, strict=True):
        top = max(row)
        total += top + np.log(sum(np.exp(v - top) for v in row)) - row[k]
    return total / len(labels)


@pytest.mark.parametrize(("n_outputs", "true_t"), [(2, 2.5), (3, 0.6), (4, 1.0)])
def test_the_fitted_temperature_is_the_best_of_a_grid(n_outputs: int, true_t: float) -> None:
    logits, labels = drawn(300, n_outputs, true_t)
    fitted = fit_temperature(logits, labels, 300)
    grid = np.exp(np.linspace(np.log(BOUNDS[0]), np.log(BOUNDS[1]), 400))
    values = [oracle_nll(logits, labels, t) for t in grid]
    best = int(np.argmin(values))
    assert grid[best - 1] < fitted.value < grid[best + 1]
    assert oracle_nll(logits, labels, fitted.value) <= values[best] + 1e-9
    assert not fitted.note
    assert fitted.value == pytest.approx(true_t, rel=0.35)


def test_data_that_cannot_tell_leave_the_temperature_as_it_was() -> None:
    logits, labels = drawn(300, 2, 1.0)
    few = fit_temperature(logits, labels, LEAST_TRIALS - 1)
    assert few.value == 1
    assert fit_temperature(logits, labels, LEAST_TRIALS - 1, default=1.7).value == 1.7
    assert "trials" in few.note
    separated = fit_temperature(logits, logits.argmax(axis=1), 300)
    assert separated.value == 1
    assert "wrong" in separated.note


def test_logits_no_better_than_chance_stop_at_the_bound() -> None:
    logits, labels = drawn(300, 2, 1.0)
    opposed = fit_temperature(-logits, labels, 300)
    assert opposed.value == BOUNDS[1]
    assert "chance" in opposed.note
    weak = fit_temperature(logits / 100, labels, 300)
    assert weak.value == BOUNDS[0]
    assert "bound" in weak.note


def test_a_fold_is_judged_by_the_other_folds_only() -> None:
    logits, labels = drawn(240, 2, 3.0)
    fold = np.repeat([0, 1, 2], 80)
    held = HeldOut(logits, labels, np.arange(240), fold)
    published, folds, report = evaluate_nested(held, [str(i) for i in range(240)])
    assert published.value == fit_temperature(logits, labels, 240).value
    # Other answers in a fold change every temperature but its own.
    turned = np.where(fold == 1, 1 - labels, labels)
    again = evaluate_nested(HeldOut(logits, turned, np.arange(240), fold), [str(i) for i in range(240)])
    assert again[1][1].value == folds[1].value
    assert again[1][0].value != folds[0].value
    assert again[0].value != published.value
    nested = [oracle_nll(logits[fold == k], labels[fold == k], folds[k].value) for k in range(3)]
    assert report["after"]["nll"] == pytest.approx(np.mean(nested))
    assert report["before"]["nll"] == pytest.approx(oracle_nll(logits, labels, 1.0))
    change = report["nll_change"]
    assert change["difference"] == pytest.approx(report["after"]["nll"] - report["before"]["nll"])
    assert change["interval"][0] < change["difference"] < change["interval"][1] < 0
    assert report["after"]["ece"] < report["before"]["ece"]


def test_ece_of_known_probabilities() -> None:
    probs = np.repeat([[0.9, 0.1], [0.4, 0.6]], 10, axis=0)
    labels = np.r_[[0] * 8, [1] * 2, [1] * 6, [0] * 4]
    # Sure 0.9 and right 0.8; sure 0.6 and right 0.6.
    assert ece(probs, labels, bins=2) == pytest.approx(0.5 * 0.1)

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.training.selection import (  # noqa: E402
    added_by_picking,
    mean_of_trials,
    picked_on_test,
)


def test_a_trial_is_the_mean_of_its_windows() -> None:
    logits = np.array([[[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]], dtype=np.float32)
    got = mean_of_trials(logits, np.array([7, 7, 4]), np.array([4, 7]))
    assert np.array_equal(got, [[[0.0, 5.0], [2.0, 0.0]]])


def test_the_epoch_with_the_best_balanced_score_is_picked_the_first_of_several() -> None:
    labels = np.array([0, 0, 0, 1])
    always = np.tile([1.0, 0.0], (4, 1))  # 3 of 4 right, balanced 0.5
    fair = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # 3 of 4 right, balanced 0.83
    later = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # as good as `fair`
    picked = picked_on_test(np.stack([always, fair, later]).astype(np.float32), labels)
    assert list(picked) == [0, 1, 0, 1]


def test_on_noise_picking_adds_what_is_not_there() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    logits = rng.standard_normal((40, 200, 2)).astype(np.float32)
    picked = np.concatenate(
        [picked_on_test(logits[:, i : i + 20], labels[i : i + 20]) for i in range(0, 200, 20)]
    )
    chosen = logits[-1].argmax(axis=1)
    got = added_by_picking(labels, chosen[None], picked[None], [str(i) for i in range(200)])
    assert got["mean"] > 0.65
    assert got["interval"][0] > 0.1
    assert got["difference"] == pytest.approx(got["mean"] - (chosen == labels).mean())

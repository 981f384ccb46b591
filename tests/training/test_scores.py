from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.training.scores import (  # noqa: E402
    balanced_accuracy,
    bootstrap_interval,
    paired_difference,
    summarise,
)

LABELS = np.array([0] * 90 + [1] * 10)


def test_balanced_accuracy_does_not_reward_the_majority() -> None:
    assert balanced_accuracy(LABELS, (LABELS == 0).astype(float)) == 0.5
    assert balanced_accuracy(LABELS, np.ones(100)) == 1.0
    assert balanced_accuracy(LABELS, np.where(LABELS == 0, 1.0, 0.4)) == pytest.approx(0.7)


def test_interval_matches_the_binomial_one() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    correct = (rng.random(400) < 0.8).astype(float)
    low, high = bootstrap_interval(labels, correct, [str(i) for i in range(400)])
    centre = balanced_accuracy(labels, correct)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert low == pytest.approx(centre - half, abs=0.01)
    assert high == pytest.approx(centre + half, abs=0.01)


def test_interval_over_subjects_is_wider_when_trials_of_a_subject_agree() -> None:
    labels = np.tile([0, 1], 200)
    subjects = [f"s{i // 40}" for i in range(400)]
    correct = np.repeat([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0], 40)
    by_subject = bootstrap_interval(labels, correct, subjects)
    by_trial = bootstrap_interval(labels, correct, [str(i) for i in range(400)])
    assert by_subject[1] - by_subject[0] > 3 * (by_trial[1] - by_trial[0])


def test_seeds_are_no_new_evidence() -> None:
    labels = np.repeat([0, 1], 50)
    row = np.where(np.arange(100) % 5 == 0, 1 - labels, labels)
    one = summarise(labels, row[None], ["s"] * 100)
    ten = summarise(labels, np.repeat(row[None], 10, axis=0), ["s"] * 100)
    assert one["mean"] == pytest.approx(0.8)
    assert ten["interval"] == one["interval"]
    assert one["unit"] == "trial"
    assert summarise(labels, row[None], ["a"] * 50 + ["b"] * 50)["unit"] == "subject"


def test_paired_difference_sees_what_both_miss() -> None:
    labels = np.repeat([0, 1], 50)
    hard = (np.arange(100) % 4 != 0).astype(float)
    same = paired_difference(labels, hard, hard, [str(i) for i in range(100)])
    assert same == {"difference": 0.0, "interval": [0.0, 0.0]}
    better = paired_difference(labels, np.ones(100), hard, [str(i) for i in range(100)])
    assert better["difference"] == pytest.approx(0.25, abs=0.02)
    assert better["interval"][0] > 0.1

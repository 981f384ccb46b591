from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.training.scores import (  # noqa: E402
    accuracy_with_interval,
    balanced_accuracy,
    format_score,
    paired_difference,
    paired_mean,
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
    low, high = accuracy_with_interval(labels, correct, [str(i) for i in range(400)])["interval"]
    centre = balanced_accuracy(labels, correct)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert low == pytest.approx(centre - half, abs=0.01)
    assert high == pytest.approx(centre + half, abs=0.01)


def test_interval_over_subjects_is_wider_when_trials_of_a_subject_agree() -> None:
    labels = np.tile([0, 1], 200)
    subjects = [f"s{i // 40}" for i in range(400)]
    correct = np.repeat([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0], 40)
    by_subject = accuracy_with_interval(labels, correct, subjects)["interval"]
    by_trial = accuracy_with_interval(labels, correct, [str(i) for i in range(400)])["interval"]
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
    assert same["difference"] == 0.0
    low, high = same["interval"]
    assert high == pytest.approx(stats.t.ppf(0.975, 99) / 102)  # no pair of 100 is discordant
    assert low == -high
    better = paired_difference(labels, np.ones(100), hard, [str(i) for i in range(100)])
    assert better["difference"] == pytest.approx(0.25, abs=0.02)
    assert better["interval"][0] > 0.1


def test_all_right_is_the_exact_interval() -> None:
    """192 of 192 in classes of one size: the rule of three's exact form, ``0.025 ** (1 / 192)``."""
    labels = np.repeat([0, 1], 96)
    got = summarise(labels, labels[None], ["s"] * 192)
    assert got["interval"] == pytest.approx([0.025 ** (1 / 192), 1.0])
    assert (got["groups"], got["unit"], got["method"]) == (192, "trial", "Korn-Graubard")
    wrong = accuracy_with_interval(labels, np.zeros(192), [str(i) for i in range(192)])
    assert wrong["interval"] == pytest.approx([0.0, 1 - 0.025 ** (1 / 192)])
    assert "CAUTION" not in format_score(got)


def test_the_binomial_case_is_clopper_and_pearson() -> None:
    """Classes of one size and recall: the effective trials are all trials, so scipy's exact interval."""
    labels = np.repeat([0, 1], 50)
    correct = np.tile([1.0] * 4 + [0.0], 20)
    low, high = accuracy_with_interval(labels, correct, [str(i) for i in range(100)])["interval"]
    exact = stats.binomtest(80, 100).proportion_ci(0.95, method="exact")
    assert low == pytest.approx(exact.low, abs=0.002)
    assert high == pytest.approx(exact.high, abs=0.002)


@pytest.mark.parametrize("subjects", [2, 3, 4])
def test_few_subjects_who_are_always_right_prove_little(subjects: int) -> None:
    labels = np.tile([0, 1], 96)
    owners = [f"s{i % subjects}" for i in range(192)]
    got = summarise(labels, labels[None], owners)
    alone = summarise(labels, labels[None], ["s"] * 192)
    assert got["interval"][1] == 1.0
    assert got["interval"][0] < alone["interval"][0] - 0.02
    assert got["groups"] == subjects
    text = format_score(got)
    assert f"95 % from {subjects} subjects, Korn-Graubard" in text
    assert "CAUTION: fewer than 5 subjects say little about new ones" in text


def test_one_group_bounds_nothing() -> None:
    labels, right = np.array([0, 1]), np.ones(2)
    assert accuracy_with_interval(labels, right, ["a", "a"])["interval"] == [0.0, 1.0]
    assert paired_difference(labels, right, 1 - right, ["a", "a"])["interval"] == [-1.0, 1.0]
    change = paired_mean(np.array([0.1, 0.3]), ["a", "a"])
    assert change["interval"] is None
    assert "no interval from 1 group" in format_score(change)


def coverage(subjects: int, spread: float, interval: Callable[..., tuple[float, float]]) -> float:
    """Return how often an interval holds the expected accuracy; subjects' own accuracies vary."""
    rng = np.random.default_rng(subjects)
    labels = np.tile([0, 1], 20 * subjects)
    owners = np.repeat(np.arange(subjects), 40)
    held, mean = 0, 0.75
    for _ in range(400):
        own = rng.beta(mean / spread, (1 - mean) / spread, subjects)
        right = (rng.random(len(labels)) < own[owners]).astype(float)
        low, high = interval(labels, right, [str(o) for o in owners])
        held += low <= mean <= high
    return held / 400


@pytest.mark.parametrize("subjects", [3, 4, 8, 20])
@pytest.mark.parametrize("spread", [0.02, 0.1])
def test_few_subjects_are_covered_as_promised(subjects: int, spread: float) -> None:
    def interval(labels: np.ndarray, right: np.ndarray, owners: list[str]) -> tuple[float, float]:
        low, high = accuracy_with_interval(labels, right, owners)["interval"]
        return low, high

    assert coverage(subjects, spread, interval) >= 0.93


def test_a_mean_change_is_the_t_interval_where_units_are_of_one_size() -> None:
    rng = np.random.default_rng(1)
    change = rng.normal(0.2, 1.0, (4, 30))
    got = paired_mean(change.reshape(-1), np.repeat(list("abcd"), 30).tolist())
    expected = stats.ttest_1samp(change.mean(axis=1), 0.0).confidence_interval()
    assert got["interval"] == pytest.approx([expected.low, expected.high])
    assert got["groups"] == 4
    assert "CAUTION" in format_score({**got, "unit": "subject"}, "+")

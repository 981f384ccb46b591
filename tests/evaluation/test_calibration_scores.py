"""Calibration of window probabilities against sums written out window by window."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.export.evaluation.calibration_scores import calibration  # noqa: E402
from mimamba_edge.export.training.temperature import HeldOut, evaluate_nested  # noqa: E402

SUBJECTS, TRIALS, WINDOWS, CLASSES = 3, 20, 4, 3


def drawn(true_t: float, seeds: int = 2):
    """Logits of windows whose labels are drawn from their softmax at ``true_t``, one label a window."""
    rng = np.random.default_rng(0)
    trials = tuple(
        Trial("f", 5.0 * i, 5.0 * i + 4, "a", f"s{i % SUBJECTS}", "d", "r", "")
        for i in range(SUBJECTS * TRIALS)
    )
    owner = np.repeat(np.arange(len(trials)), WINDOWS)
    logits = rng.normal(0, 2, (1, len(owner), CLASSES)) + 1e-3 * rng.normal(size=(seeds, len(owner), CLASSES))
    p = np.exp(logits[0] / true_t)
    labels = (rng.random((len(owner), 1)) > np.cumsum(p / p.sum(1, keepdims=True), axis=1)).sum(axis=1)
    return logits, labels, owner, trials


def softmax(row: np.ndarray, t: float) -> list[float]:
    e = [math.exp((v - max(row)) / t) for v in row]
    return [v / sum(e) for v in e]


def test_every_figure_is_the_sum_over_windows() -> None:
    logits, labels, owner, trials = drawn(2.0)
    t = np.where(owner % 2 == 0, 1.5, 2.5) * np.ones((2, 1))
    found = calibration(logits, t, labels, owner, trials)
    assert found.temperatures == [1.5, 2.5]
    assert [one.name for one in found.subjects] == ["s0", "s1", "s2"]
    for group in (found.overall, found.subjects[1]):
        rows = [i for i in range(len(owner)) if group.name in ("", trials[owner[i]].subject)]
        assert (group.n_windows, group.n_trials) == (len(rows), len(rows) // WINDOWS)
        for side, applied in ((group.before, np.ones_like(t)), (group.after, t)):
            loss, brier, sure = 0.0, 0.0, []
            for s in range(2):
                for i in rows:
                    p = softmax(logits[s, i], applied[s, i])
                    loss -= math.log(p[labels[i]])
                    brier += sum((p[k] - (k == labels[i])) ** 2 for k in range(CLASSES))
                    sure.append((max(p), int(np.argmax(p)) == labels[i]))
            n = len(sure)
            assert side.nll.mean == pytest.approx(loss / n)
            assert side.brier.mean == pytest.approx(brier / n)
            sure.sort()
            bins = [[sure[j] for j in part] for part in np.array_split(range(n), 10)]
            gap = sum(abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins) / n
            assert side.ece.mean == pytest.approx(gap)
            assert [b.n_windows for b in side.bins] == [len(b) for b in bins]
            assert [b.confidence for b in side.bins] == pytest.approx(
                [np.mean([c for c, _ in b]) for b in bins]
            )
            assert [b.right for b in side.bins] == pytest.approx([np.mean([r for _, r in b]) for b in bins])
        assert group.nll_change.mean == pytest.approx(group.after.nll.mean - group.before.nll.mean)
        assert group.ece_change.mean == pytest.approx(group.after.ece.mean - group.before.ece.mean)


def test_intervals_are_over_subjects_and_of_one_subject_over_trials() -> None:
    logits, labels, owner, trials = drawn(2.0)
    found = calibration(logits, np.full((2, len(owner)), 2.0), labels, owner, trials)
    change = found.overall.nll_change
    assert (change.unit, change.groups) == ("subject", SUBJECTS)
    of_subject = [one.nll_change.mean for one in found.subjects]
    half = stats.t.ppf(0.975, SUBJECTS - 1) * np.std(of_subject, ddof=1) / math.sqrt(SUBJECTS)
    assert change.interval == pytest.approx([change.mean - half, change.mean + half])
    for one in found.subjects:
        assert (one.nll_change.unit, one.nll_change.groups) == ("trial", TRIALS)
        assert one.before.ece.interval is not None
        assert 0 <= one.before.ece.interval[0] < one.before.ece.mean < one.before.ece.interval[1]


def test_seeds_repeat_the_same_windows_and_narrow_nothing() -> None:
    logits, labels, owner, trials = drawn(2.0, seeds=1)
    t = np.full((1, len(owner)), 2.0)
    once = calibration(logits, t, labels, owner, trials)
    often = calibration(np.tile(logits, (8, 1, 1)), np.tile(t, (8, 1)), labels, owner, trials)
    assert often.overall.nll_change.interval == pytest.approx(once.overall.nll_change.interval)
    assert often.subjects[0].before.brier.interval == pytest.approx(once.subjects[0].before.brier.interval)


def test_the_temperature_that_drew_the_labels_leaves_what_chance_shows() -> None:
    logits, labels, owner, trials = drawn(3.0, seeds=1)
    found = calibration(logits, np.full((1, len(owner)), 3.0), labels, owner, trials).overall
    assert found.before.ece.mean > 3 * found.before.ece_by_chance
    assert found.after.ece.mean < 2 * found.after.ece_by_chance
    assert found.nll_change.interval is not None
    assert found.nll_change.interval[1] < 0


def test_train_reports_the_same_of_the_same_windows() -> None:
    logits, labels, owner, trials = drawn(2.5, seeds=2)
    fold = owner % 4
    both = HeldOut(logits.reshape(-1, CLASSES), np.tile(labels, 2), np.tile(owner, 2), np.tile(fold, 2))
    _, folds, told = evaluate_nested(both, [t.subject for t in trials])
    t = np.array([one.value for one in folds])[fold] * np.ones((2, 1))
    found = calibration(logits, t, labels, owner, trials).overall
    for side in ("before", "after"):
        ours = getattr(found, side)
        assert told[side] == pytest.approx({"nll": ours.nll.mean, "ece": ours.ece.mean})
    assert found.nll_change.interval == pytest.approx(told["nll_change"]["interval"])

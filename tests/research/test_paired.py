"""Our paired permutation test and MOABB's, written again in NumPy, on the same scores; and the splits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.evaluation.permutation import paired_p, sign_flip_p  # noqa: E402
from mimamba_edge.export.training.protocol import make_folds  # noqa: E402
from mimamba_edge.export.training.scores import balanced_accuracy, paired_difference, paired_mean  # noqa: E402
from tests.research import trials_of  # noqa: E402
from tests.research.moabb_rules import effect, one_sided_p, splits  # noqa: E402

DIFFERENCES = [
    np.random.default_rng(n).normal(shift, 0.1, n) for n in (2, 5, 9, 12) for shift in (0.05, -0.1)
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: f"{len(d)}-{d.mean():+.2f}")
def test_up_to_thirteen_subjects_p_is_twice_the_smaller_of_moabbs(difference: np.ndarray) -> None:
    better, worse = one_sided_p(difference), one_sided_p(-difference)
    assert (better < worse) == (difference.sum() > 0)
    assert sign_flip_p(difference) == pytest.approx(2 * min(better, worse), abs=1e-12)
    assert sign_flip_p(-difference) == sign_flip_p(difference)


def test_of_more_subjects_p_is_within_the_error_of_its_draws() -> None:
    difference = np.random.default_rng(4).normal(0.03, 0.08, 16)
    drawn = sign_flip_p(difference)
    signs = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = np.mean(np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12)
    assert 0.01 < exact < 0.9
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / 9999)
    assert sign_flip_p(difference, seed=1) != drawn


def test_ties_count_and_nothing_to_flip_is_no_evidence() -> None:
    assert sign_flip_p(np.array([0.1, 0.2, -0.3, 0.0])) == 1.0
    assert sign_flip_p(np.zeros(5)) == 1.0
    # The same decimals add up to other last bits in another order: 0.3 - 0.1 - 0.2 is not 0 in float64.
    whole = np.array([3, -1, -2, 4, 5, -2])
    signs = 1 - 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1)
    exact = np.mean(np.abs(signs @ whole) >= abs(whole.sum()))
    assert [sign_flip_p(whole * unit) for unit in (0.1, 1 / 7, 1e-9)] == [exact] * 3


def test_p_of_a_true_null_is_uniform() -> None:
    rng = np.random.default_rng(0)
    p = np.array([sign_flip_p(rng.standard_normal(8)) for _ in range(400)])
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= level) - level) < 4 * np.sqrt(level * (1 - level) / len(p))


def test_of_the_trials_of_one_subject_it_is_mcnemars_exact_test() -> None:
    labels = np.arange(40) % 2
    a, b = np.ones(40), np.ones(40)
    a[:2], b[5:14] = 0, 0
    units = [str(i) for i in range(40)]
    assert paired_p(labels, a, b, units) == pytest.approx(binomtest(2, 11).pvalue)


def test_it_is_the_exchange_of_the_two_methods_in_whole_subjects() -> None:
    """Of classes of unequal sizes, also within a subject: each way to exchange is scored."""
    rng = np.random.default_rng(8)
    n_subjects, n = 6, 50
    labels, subject = rng.choice(3, n, p=[0.6, 0.3, 0.1]), rng.integers(n_subjects, size=n)
    a, b = (rng.random(n) < 0.7).astype(float), (rng.random(n) < 0.5).astype(float)

    def difference(exchanged: int) -> float:
        swap = (exchanged >> subject) & 1 == 1
        return balanced_accuracy(labels, np.where(swap, b, a)) - balanced_accuracy(
            labels, np.where(swap, a, b)
        )

    every = np.abs([difference(k) for k in range(2**n_subjects)])
    p = paired_p(labels, a, b, [f"s{s}" for s in subject])
    assert p == np.mean(every >= every[0] - 1e-12)
    assert 0.05 < p < 0.95


def test_of_subjects_with_equal_classes_it_is_moabbs_on_their_scores() -> None:
    rng = np.random.default_rng(3)
    n_subjects, n = 9, 20
    labels, of_subject = np.tile(np.arange(n) % 2, n_subjects), np.repeat(np.arange(n_subjects), n)
    a, b = (rng.random(len(labels)) < share for share in (0.75, 0.6))
    score = np.array(
        [
            [np.mean([x[(of_subject == s) & (labels == k)].mean() for k in (0, 1)]) for s in range(9)]
            for x in (a, b)
        ]
    )
    difference = score[0] - score[1]
    units = [str(s) for s in of_subject]
    p = paired_p(labels, a.astype(float), b.astype(float), units)
    assert p == pytest.approx(2 * min(one_sided_p(difference), one_sided_p(-difference)))
    # The interval says the same of the same differences as MOABB's effect size: t = effect * sqrt(subjects).
    interval = paired_mean(difference, [str(s) for s in range(9)])["interval"]
    half = (interval[1] - interval[0]) / 2
    assert effect(difference) * 3 == pytest.approx(2.306 * difference.mean() / half, rel=1e-3)
    ours = paired_difference(labels, a.astype(float), b.astype(float), units)
    assert ours["difference"] == pytest.approx(difference.mean())
    assert (p < 0.05) == (ours["interval"][0] > 0)


@pytest.mark.parametrize(
    ("protocol", "evaluation"),
    [
        ("cross-subject", "CrossSubject"),
        ("cross-session", "CrossSession"),
        ("leave-one-run-out", "WithinSession"),
    ],
)
def test_folds_are_moabbs_where_the_protocols_mean_the_same(protocol: str, evaluation: str) -> None:
    """Of one subject (for runs: one session) at a time; MOABB's training part is ours and our validation."""
    trials = trials_of(subjects=3, sessions=3, runs=3)
    theirs = splits(trials, evaluation)
    folds = make_folds(trials, protocol)
    assert {frozenset(f.test.tolist()) for f in folds} == {test for _, test in theirs}, "the same tested sets"
    ours = set()
    parts = {
        "CrossSubject": lambda t: "all",
        "CrossSession": lambda t: t.subject,
        "WithinSession": lambda t: f"{t.subject} {t.session}",
    }
    names = [parts[evaluation](t) for t in trials]
    for name in dict.fromkeys(names):
        index = np.flatnonzero(np.array(names) == name)
        for fold in make_folds([trials[i] for i in index], protocol):
            fitted = index[np.concatenate([fold.train, fold.validation])]
            ours.add((frozenset(fitted.tolist()), frozenset(index[fold.test].tolist())))
    assert ours == theirs
    trained = {frozenset(f.test.tolist()): {*f.train.tolist(), *f.validation.tolist()} for f in folds}
    for train, test in theirs:
        assert train <= trained[test], "with all subjects at once the training part is MOABB's and more"
        assert (train == trained[test]) == (evaluation == "CrossSubject")

"""Permutation test and the matrix of both sides, against counts made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.export.evaluation.overlap import overlap  # noqa: E402
from mimamba_edge.export.evaluation.permutation import permutation_p  # noqa: E402
from mimamba_edge.export.training.protocol import make_folds  # noqa: E402


def test_p_is_the_share_of_all_orders_within_groups() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1])
    groups = ["a", "a", "a", "a", "b", "b"]
    predicted = np.array([[0, 0, 1, 0, 0, 1], [0, 1, 1, 1, 1, 0]])

    def score(y: np.ndarray) -> float:
        return float(np.mean([[(row[y == k] == k).mean() for k in (0, 1)] for row in predicted]))

    orders = [
        [*a, *b] for a in itertools.permutations(labels[:4]) for b in itertools.permutations(labels[4:])
    ]
    exact = np.mean([score(np.array(o)) >= score(labels) - 1e-12 for o in orders])
    assert permutation_p(labels, predicted, groups) == pytest.approx(exact, abs=0.015)


def test_what_a_group_has_more_of_is_no_evidence() -> None:
    """Each subject is guessed to be of the class it mostly is: right in 80 %, and nothing was recognised."""
    subject = np.repeat([0, 1], 50)
    labels = np.where(np.tile(np.arange(10) < 8, 10), subject, 1 - subject)
    groups = [str(s) for s in subject]
    assert permutation_p(labels, subject[None], groups) == 1.0
    assert permutation_p(labels, subject[None], ["all"] * 100) < 0.001
    assert permutation_p(labels, labels[None], groups) == pytest.approx(1e-4)


def test_the_matrix_counts_what_both_sides_share() -> None:
    rows = [
        Trial(
            f"s{s}d{d}", 5.0 * i, 5.0 * i + 2, "ab"[i % 2], f"s{s}", f"d{d}", "r", f"clip-{i if d else i + 3}"
        )
        for s in range(2)
        for d in range(3)
        for i in range(6)
    ]
    found = {o.factor: o for o in overlap(rows, make_folds(rows, "cross-session"))}
    assert list(found) == ["trial", "neighbour", "stimulus", "run", "session", "subject"]
    assert {found[k].n_train for k in ("trial", "neighbour", "run", "session")} == {0}
    assert found["subject"].n_train == 36
    assert found["subject"].both == ["s0", "s1"]
    # clip-0 to clip-2 are shown in two sessions of each, clip-6 to clip-8 in the first one of each only.
    assert found["stimulus"].n_train == 36
    within = {o.factor: o for o in overlap(rows, make_folds(rows, "within-session"))}
    assert within["trial"].n_train == 0
    assert 0 < within["neighbour"].n_train < 36
    assert within["session"].n_train == 36

"""Permutation tests: whether predictions say anything about labels, and whether two methods differ."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_EXACT", "PERMUTATIONS", "paired_p", "permutation_p", "sign_flip_p"]

PERMUTATIONS = 9999
MOST_EXACT = 13
"""Differences whose signs are flipped in every way, as in MOABB; of more, some ways are drawn."""


def permutation_p(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: Sequence[str], seed: int = 0
) -> float:
    """Return how often labels that say nothing score as high: one-sided, at least 1 in 10,000.

    The labels of the trials of one group are exchanged among these, the predictions stay: what a person or a
    fold has more of is in the permuted scores as well. The statistic is the balanced accuracy, the mean over
    seeds; the observed order counts as one permutation (Phipson and Smyth, SAGMB 9, 2010).

    Args:
        labels: Class of each trial ``(n,)``.
        predicted: Out of fold, of each seed ``(seeds, n)``.
        groups: Of each trial: subject and fold.
        seed: Of the permutations.
    """
    rng = np.random.default_rng(seed)
    classes, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # What a trial adds if its label were k: the share of seeds that say k, by the size of that class.
    gain = (predicted[:, :, None] == classes).mean(axis=0) / (counts * len(classes))
    observed = gain[np.arange(len(labels)), of_class].sum()
    _, of_group = np.unique(np.asarray(groups), return_inverse=True)
    total = np.zeros(PERMUTATIONS)
    for group in range(int(of_group.max()) + 1):
        members = np.flatnonzero(of_group == group)
        own = of_class[members]
        for start in range(0, PERMUTATIONS, 1000):
            many = min(1000, PERMUTATIONS - start)
            shuffled = rng.permuted(np.tile(own, (many, 1)), axis=1)
            total[start : start + many] += gain[members, shuffled].sum(axis=1)
    return float((1 + np.sum(total >= observed - 1e-12)) / (1 + PERMUTATIONS))


def sign_flip_p(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Return how often differences whose signs say nothing have a sum as far from 0: two-sided.

    The paired permutation test of MOABB (``moabb.analysis.meta_analysis.compute_pvals_perm``; Pitman,
    Supplement to the Journal of the Royal Statistical Society 4, 1937): each unit's difference between two
    methods may as well have had the other sign. MOABB gives both one-sided values; this is twice the smaller
    one. Of single trials that one of two methods has right and the other wrong it is McNemar's exact test.

    Args:
        differences: First method less the second, one an independent unit ``(n,)``.
        seed: Of the draws, where there are more than :data:`MOST_EXACT` units.

    Returns:
        At least ``2 / 2**n``, or 1 in 10,000.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]  # a sign of 0 changes nothing
    # Sums of the same values in another order may differ by rounding: these are ties.
    tie = 1e-9 * float(np.abs(values).sum())
    observed = abs(float(values.sum())) - tie
    if len(values) <= MOST_EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= observed))
    rng = np.random.default_rng(seed)
    as_far = 1
    for start in range(0, PERMUTATIONS, 1000):
        many = min(1000, PERMUTATIONS - start)
        signs = rng.choice((-1.0, 1.0), size=(many, len(values)))
        as_far += int(np.sum(np.abs(signs @ values) >= observed))
    return as_far / (1 + PERMUTATIONS)


def paired_p(
    labels: NDArray[np.int64],
    correct_a: NDArray[np.float64],
    correct_b: NDArray[np.float64],
    units: Sequence[str],
) -> float:
    """Return :func:`sign_flip_p` of what each unit adds to a difference in balanced accuracy.

    Units with as many trials of each class as the others add what their own balanced accuracies differ by,
    divided by the number of units: the test is then MOABB's on scores of subjects. Where they have not, MOABB
    counts subjects alike, this counts trials of a class alike, as the difference itself does.

    Args:
        labels: Class of each trial ``(n,)``.
        correct_a: Share of seeds that the first was right on, of each trial ``(n,)``.
        correct_b: The second's.
        units: Independent unit of each trial.
    """
    _, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    _, of_unit = np.unique(np.asarray(units), return_inverse=True)
    added: NDArray[np.float64] = (correct_a - correct_b) / (counts[of_class] * len(counts))
    return sign_flip_p(np.bincount(of_unit, weights=added).astype(np.float64))

"""Whether predictions say anything about labels: a permutation test within whole groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PERMUTATIONS", "permutation_p"]

PERMUTATIONS = 9999


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

"""What MOABB 1.7 does, written again from its documentation in plain NumPy: statistics and splits.

``test_moabb.py`` holds this to MOABB itself where that is installed; here it holds ours, in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.labels import Trial

Pair = tuple[frozenset[int], frozenset[int]]
"""Indices of the trials of a fold: trained and tested."""


def one_sided_p(difference: NDArray[np.float64]) -> float:
    """``compute_pvals_perm`` of two pipelines for up to 13 subjects: small where the first is better."""
    n = len(difference)
    as_high = 0
    for number in range(2**n):
        signs = np.array([1 if number >> i & 1 else -1 for i in range(n)])
        as_high += float(signs @ difference) >= difference.sum() - 1e-12
    return min(as_high, 2**n - 1) / 2**n


def effect(difference: NDArray[np.float64]) -> float:
    """``compute_effect``: the standardised mean difference."""
    return float(difference.mean() / difference.std(ddof=1))


def _leave_one_out(members: Sequence[int], group: Callable[[int], str]) -> Iterator[Pair]:
    for name in sorted({group(i) for i in members}):
        test = frozenset(i for i in members if group(i) == name)
        yield frozenset(members) - test, test


def splits(trials: Sequence[Trial], evaluation: str) -> set[Pair]:
    """``CrossSubjectSplitter``, ``CrossSessionSplitter``, or ``WithinSessionSplitter`` over whole runs."""
    everything = range(len(trials))
    if evaluation == "CrossSubject":
        return set(_leave_one_out(everything, lambda i: trials[i].subject))
    found: set[Pair] = set()
    for subject in {t.subject for t in trials}:
        of_subject = [i for i in everything if trials[i].subject == subject]
        if evaluation == "CrossSession":
            found |= set(_leave_one_out(of_subject, lambda i: trials[i].session))
            continue
        for session in {trials[i].session for i in of_subject}:
            inside = [i for i in of_subject if trials[i].session == session]
            found |= set(_leave_one_out(inside, lambda i: trials[i].run))
    return found

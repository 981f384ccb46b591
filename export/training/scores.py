"""Scores of a cross-validation, with intervals over the units that are independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["balanced_accuracy", "bootstrap_interval", "paired_difference", "paired_mean", "summarise"]

_RESAMPLES = 2000


def balanced_accuracy(labels: NDArray[np.int64], correct: NDArray[np.float64]) -> float:
    """Return the mean over classes of the share of correct trials.

    Args:
        labels: Class of each trial ``(n,)``.
        correct: 1 or 0, or the share of seeds that were right, ``(n,)``.
    """
    return float(np.mean([correct[labels == k].mean() for k in np.unique(labels)]))


def _resamples(units: Sequence[str], seed: int) -> list[NDArray[np.int64]]:
    """Draw whole units with replacement and return the trials of each draw."""
    rng = np.random.default_rng(seed)
    names, of_unit = np.unique(np.asarray(units), return_inverse=True)
    members = [np.flatnonzero(of_unit == k) for k in range(len(names))]
    return [
        np.concatenate([members[k] for k in rng.integers(0, len(names), len(names))])
        for _ in range(_RESAMPLES)
    ]


def bootstrap_interval(
    labels: NDArray[np.int64], correct: NDArray[np.float64], units: Sequence[str], *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the balanced accuracy over independent units.

    Args:
        labels: Class of each trial ``(n,)``.
        correct: Share of seeds that were right on each trial ``(n,)``: seeds are averaged, never counted
            as new evidence.
        units: Unit of each trial: the subject, or the trial itself where there is one subject.
        seed: Seed of the draw.
    """
    values = [
        balanced_accuracy(labels[i], correct[i])
        for i in _resamples(units, seed)
        if len(np.unique(labels[i])) == len(np.unique(labels))
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def paired_difference(
    labels: NDArray[np.int64],
    correct_a: NDArray[np.float64],
    correct_b: NDArray[np.float64],
    units: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the difference in balanced accuracy of two methods on the same trials, with its interval."""
    full = len(np.unique(labels))
    values = [
        balanced_accuracy(labels[i], correct_a[i]) - balanced_accuracy(labels[i], correct_b[i])
        for i in _resamples(units, seed)
        if len(np.unique(labels[i])) == full
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    difference = balanced_accuracy(labels, correct_a) - balanced_accuracy(labels, correct_b)
    return {"difference": difference, "interval": [float(low), float(high)]}


def paired_mean(change: NDArray[np.float64], units: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Return the mean of a change measured on each item, with its 95 % interval over independent units.

    Args:
        change: One value an item ``(n,)``: after minus before.
        units: Unit of each item.
        seed: Seed of the draw.
    """
    names, of_unit = np.unique(np.asarray(units), return_inverse=True)
    sums = np.bincount(of_unit, change, minlength=len(names))
    counts = np.bincount(of_unit, minlength=len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), (_RESAMPLES, len(names)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return {"difference": float(np.mean(change)), "interval": [float(low), float(high)]}


def summarise(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], subjects: Sequence[str]
) -> dict[str, Any]:
    """Score out-of-fold predictions of several seeds.

    Args:
        labels: Class of each trial ``(n,)``.
        predicted: Out-of-fold prediction of each seed ``(seeds, n)``.
        subjects: Subject of each trial.

    Returns:
        ``mean``, ``interval`` (95 %), ``unit`` of the interval, ``seeds`` (one value each) and
        ``majority_share``.
    """
    correct = (predicted == labels).astype(np.float64)
    many = len(set(subjects)) > 1
    units = list(subjects) if many else [str(i) for i in range(len(labels))]
    low, high = bootstrap_interval(labels, correct.mean(axis=0), units)
    per_seed = [balanced_accuracy(labels, row) for row in correct]
    return {
        "mean": float(np.mean(per_seed)),
        "interval": [low, high],
        "unit": "subject" if many else "trial",
        "seeds": per_seed,
        "majority_share": float(np.bincount(labels).max() / len(labels)),
    }

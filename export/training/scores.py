"""Scores of a cross-validation, with intervals over the units that are independent.

Three intervals, all from the spread between whole units (subjects, or trials where there is one subject) by
linearisation (Cochran 1977, chapter 6), with the t of as many degrees of freedom as there are units less one:

- a balanced accuracy: Korn and Graubard (Survey Methodology 24, 1998), the exact interval of Clopper and
  Pearson at the effective number of trials. It keeps its width where all answers are right and widens for few
  subjects, where a bootstrap over them collapses;
- a difference of two of them on the same trials: t interval, with half a trial added to each of the four
  outcomes (Agresti and Min, Statistics in Medicine 24, 2005), so that two methods that agree on every trial
  of a small set are not said to be equal for certain;
- the mean of a change: t interval (Ibragimov and Mueller, Journal of Business & Economic Statistics 28,
  2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "FEW_GROUPS",
    "accuracy_with_interval",
    "balanced_accuracy",
    "format_score",
    "independent_units",
    "paired_difference",
    "paired_mean",
    "summarise",
]

FEW_GROUPS = 5
"""With fewer independent groups an interval rests on its assumptions: it is shown with a caution."""
_TAIL = 0.025

EXACT, PAIRED, MEAN = "Korn-Graubard", "paired t, Agresti-Min", "paired t"


def balanced_accuracy(labels: NDArray[np.int64], correct: NDArray[np.float64]) -> float:
    """Return the mean over classes of the share of correct trials.

    Args:
        labels: Class of each trial ``(n,)``.
        correct: 1 or 0, or the share of seeds that were right, ``(n,)``.
    """
    return float(np.mean([correct[labels == k].mean() for k in np.unique(labels)]))


def _groups(units: Sequence[str]) -> tuple[int, NDArray[np.int64]]:
    """Return how many units there are, and the number of the unit of each item."""
    names, of_unit = np.unique(np.asarray(units), return_inverse=True)
    return len(names), of_unit.astype(np.int64)


def _t(degrees: int) -> float:
    return float(stats.t.ppf(1 - _TAIL, degrees)) if degrees > 0 else float("inf")


def _variance(shares: NDArray[np.float64], units: Sequence[str]) -> float:
    """Return the variance of a sum of shares that is 0 in all, from the spread between whole units."""
    count, of_unit = _groups(units)
    sums = np.bincount(of_unit, shares, minlength=count)
    return float(count / (count - 1) * np.sum(sums**2)) if count > 1 else 0.0


def _influence(labels: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each trial adds to the mean over classes of the mean of a value, about that mean."""
    classes, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.bincount(of_class, values) / counts
    shares: NDArray[np.float64] = (values - means[of_class]) / (counts[of_class] * len(classes))
    return shares


def _trials(labels: NDArray[np.int64]) -> float:
    """Return the number of trials that counts: all of them, fewer where the classes are of unequal sizes."""
    counts = np.unique(labels, return_counts=True)[1]
    return float(len(counts) ** 2 / np.sum(1.0 / counts))


def accuracy_with_interval(
    labels: NDArray[np.int64], correct: NDArray[np.float64], units: Sequence[str]
) -> dict[str, Any]:
    """Return the balanced accuracy with its 95 % interval over independent units.

    Args:
        labels: Class of each trial ``(n,)``.
        correct: Share of seeds that were right on each trial ``(n,)``: seeds are averaged, never counted
            as new evidence.
        units: Unit of each trial: the subject, or the trial itself where there is one subject.

    Returns:
        ``mean``, ``interval``, ``method``, ``groups`` (number of units).
    """
    mean, groups = balanced_accuracy(labels, correct), len(set(units))
    variance, most = _variance(_influence(labels, correct), units), _trials(labels)
    # Never more than there are trials, and before the degrees of freedom count: subjects who all score alike
    # do not hide how few they are.
    effective = most if variance == 0 else min(most, mean * (1 - mean) / variance)
    effective *= (_t(len(labels) - 1) / _t(groups - 1)) ** 2 if groups > 1 else 0.0
    right, wrong = mean * effective, (1 - mean) * effective
    low = float(stats.beta.ppf(_TAIL, right, wrong + 1)) if right > 0 else 0.0
    high = float(stats.beta.ppf(1 - _TAIL, right + 1, wrong)) if wrong > 0 else 1.0
    return {"mean": mean, "interval": [low, high], "method": EXACT, "groups": groups}


def paired_difference(
    labels: NDArray[np.int64],
    correct_a: NDArray[np.float64],
    correct_b: NDArray[np.float64],
    units: Sequence[str],
) -> dict[str, Any]:
    """Return the difference in balanced accuracy of two methods on the same trials, with its interval.

    Args:
        labels: Class of each trial ``(n,)``.
        correct_a: Share of seeds that the first was right on, of each trial ``(n,)``.
        correct_b: The second's.
        units: Unit of each trial.

    Returns:
        ``difference``, ``interval`` (95 %), ``method``, ``groups``.
    """
    groups = len(set(units))
    difference = balanced_accuracy(labels, correct_a) - balanced_accuracy(labels, correct_b)
    variance = _variance(_influence(labels, correct_a - correct_b), units) + 1 / (_trials(labels) + 2) ** 2
    half = _t(groups - 1) * float(np.sqrt(variance))
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return {"difference": difference, "interval": [low, high], "method": PAIRED, "groups": groups}


def paired_mean(change: NDArray[np.float64], units: Sequence[str]) -> dict[str, Any]:
    """Return the mean of a change measured on each item, with its 95 % interval over independent units.

    Args:
        change: One value an item ``(n,)``: after minus before.
        units: Unit of each item.

    Returns:
        ``difference``, ``interval`` (``None``: one unit has no spread), ``method``, ``groups``.
    """
    mean, groups = float(np.mean(change)), len(set(units))
    half = _t(groups - 1) * float(np.sqrt(_variance((change - mean) / len(change), units)))
    interval = [mean - half, mean + half] if groups > 1 else None
    return {"difference": mean, "interval": interval, "method": MEAN, "groups": groups}


def format_score(score: dict[str, Any], sign: str = "") -> str:
    """Return an interval in words: its bounds, from how many groups, and a caution where they are few.

    Args:
        score: What one of the functions here returned, with the ``unit`` of its groups if that is known.
        sign: Of the numbers' format: ``"+"`` for differences.
    """
    unit, groups = score.get("unit", "group"), score["groups"]
    of = f"{groups} {unit}{'s' * (groups != 1)}"
    if score["interval"] is None:
        return f"no interval from {of}"
    low, high = score["interval"]
    few = (
        f"; CAUTION: fewer than {FEW_GROUPS} {unit}s say little about new ones" if groups < FEW_GROUPS else ""
    )
    return f"{low:{sign}.3f} to {high:{sign}.3f}, 95 % from {of}, {score['method']}{few}"


def independent_units(subjects: Sequence[str], trials: Sequence[str] | None = None) -> tuple[list[str], str]:
    """Return the independent unit of each item, and what kind it is: ``subject``, of one subject ``trial``.

    Args:
        subjects: Subject of each item.
        trials: Its trial; by default each item is one.
    """
    if len(set(subjects)) > 1:
        return list(subjects), "subject"
    return (list(trials) if trials is not None else [str(i) for i in range(len(subjects))]), "trial"


def summarise(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    subjects: Sequence[str],
    trials: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score out-of-fold predictions of several seeds.

    Args:
        labels: Class of each trial ``(n,)``.
        predicted: Out-of-fold prediction of each seed ``(seeds, n)``.
        subjects: Subject of each trial.
        trials: See :func:`independent_units`.

    Returns:
        As :func:`accuracy_with_interval`, with ``unit`` of the groups, ``seeds`` (one value each) and
        ``majority_share``.
    """
    correct = (predicted == labels).astype(np.float64)
    units, unit = independent_units(subjects, trials)
    per_seed = [balanced_accuracy(labels, row) for row in correct]
    return {
        **accuracy_with_interval(labels, correct.mean(axis=0), units),
        "unit": unit,
        "seeds": per_seed,
        "majority_share": float(np.bincount(labels).max() / len(labels)),
    }

"""One temperature for a model: how sure it may be, learned from windows that its weights never saw.

Probabilities are ``softmax(logits / T)`` (Guo et al., "On Calibration of Modern Neural Networks", arXiv
1706.04599). One number cannot change which class is chosen, only how sure the answer sounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mimamba_edge.export.training.scores import paired_mean

__all__ = [
    "BOUNDS",
    "LEAST_TRIALS",
    "HeldOut",
    "Temperature",
    "confidence_bins",
    "ece",
    "evaluate_nested",
    "fit_temperature",
    "nll",
]

BOUNDS = (0.2, 10.0)
"""Sharpening by more than 5 or softening by more than 10 is no calibration any more (ours)."""
LEAST_TRIALS = 20
"""With fewer trials the model's own temperature of 1 is as good a guess as any (ours)."""
_BINS = 10
_AT_BOUND = 1e-3


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: Divides the logits.
        note: Why it was left as it was or stands at a bound; empty where the data decided.
    """

    value: float
    note: str = ""


@dataclass(frozen=True)
class HeldOut:
    """Logits of windows by models that were not fitted on them: every fold and seed one after another.

    Attributes:
        logits: ``(n, n_outputs)``.
        labels: Class of each window ``(n,)``.
        trial: Trial of each window ``(n,)``.
        fold: Which fold tested it ``(n,)``.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    trial: NDArray[np.int64]
    fold: NDArray[np.int64]


def nll(logits: NDArray[Any], labels: NDArray[np.int64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the negative log-likelihood of each window ``(n,)``, in nats."""
    logs = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return np.asarray(-logs[np.arange(len(labels)), labels])


def confidence_bins(confidence: NDArray[np.float64], bins: int = _BINS) -> list[NDArray[np.int64]]:
    """Return the indices of windows from the least sure to the surest, in bins of equally many.

    Args:
        confidence: Probability of the chosen class ``(n,)``.
        bins: Their number, if there are as many windows.
    """
    return np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))


def ece(probs: NDArray[np.float64], labels: NDArray[np.int64], bins: int = _BINS) -> float:
    """Return the expected calibration error: mean gap between confidence and share of right answers.

    Bins hold equally many windows, as few windows leave bins of equal width empty. Chance alone makes it
    positive, the more so the fewer windows there are.

    Args:
        probs: ``(n, n_outputs)``.
        labels: ``(n,)``.
        bins: Their number, if there are as many windows.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    parts = confidence_bins(confidence, bins)
    return float(sum(len(i) * abs(confidence[i].mean() - right[i].mean()) for i in parts) / len(labels))


def fit_temperature(
    logits: NDArray[Any], labels: NDArray[np.int64], n_trials: int, default: float = 1.0
) -> Temperature:
    """Return the temperature of least mean negative log-likelihood within :data:`BOUNDS`.

    Likelihood is convex in ``1 / T``, so there is one minimum. Where no window is wrong it lies at 0: then
    nothing tells how sure is too sure, and the temperature stays as it is.

    Args:
        logits: Of windows that the model was not fitted on, ``(n, n_outputs)``.
        labels: Their classes ``(n,)``.
        n_trials: Independent trials among them.
        default: Where the data cannot tell: 1, or that of the checkpoint which was fine-tuned.
    """
    if n_trials < LEAST_TRIALS:
        return Temperature(default, f"unchanged: {n_trials} trials, fewer than {LEAST_TRIALS}")
    logits = np.asarray(logits, dtype=np.float64)
    if (logits.argmax(axis=1) == labels).all():
        return Temperature(
            default, "unchanged: no held-out window was wrong, so the temperature cannot be fitted"
        )
    low, high = (math.log(bound) for bound in BOUNDS)
    found = minimize_scalar(
        lambda log_t: float(nll(logits, labels, math.exp(log_t)).mean()),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-7},
    )
    if found.x > high - _AT_BOUND:
        return Temperature(BOUNDS[1], "at its upper bound: the logits are hardly better than chance")
    if found.x < low + _AT_BOUND:
        return Temperature(BOUNDS[0], "at its lower bound")
    return Temperature(math.exp(found.x))


def evaluate_nested(
    held: HeldOut, units: Sequence[str], default: float = 1.0
) -> tuple[Temperature, list[Temperature], dict[str, Any]]:
    """Fit the published temperature and one for each fold, and say what they are worth.

    The published one is fitted on all held-out windows, so it cannot be judged on them. Judged are the
    windows of each fold by the temperature fitted on the windows of the other folds. That one is also
    what the fold's own checkpoint gets: no label of its test trials went into it. (The other folds' weights
    were fitted on those trials. One number, fitted on what these weights held out, is next to no way for
    that to leak, but it is not strictly none.)

    Args:
        held: See :class:`HeldOut`.
        units: Independent unit of each trial, by its number.
        default: See :func:`fit_temperature`.

    Returns:
        The published temperature, that of each fold, and the report.
    """
    published = fit_temperature(held.logits, held.labels, len(np.unique(held.trial)), default)
    folds, after = [], np.ones(len(held.labels))
    for number in range(int(held.fold.max()) + 1):
        other = held.fold != number
        n_trials = len(np.unique(held.trial[other]))
        folds.append(fit_temperature(held.logits[other], held.labels[other], n_trials, default))
        after[~other] = folds[-1].value
    judged: dict[str, Any] = {}
    change = np.zeros(len(held.labels))
    for name, temperatures, sign in (("before", np.ones(len(after)), -1), ("after", after, 1)):
        logits = held.logits / temperatures[:, None]
        loss = nll(logits, held.labels)
        change += sign * loss
        probs = np.exp(log_softmax(logits, axis=1))
        judged[name] = {"nll": float(loss.mean()), "ece": ece(probs, held.labels)}
    owners = [units[t] for t in held.trial]
    return (
        published,
        folds,
        {
            "value": published.value,
            "note": published.note,
            "n_windows": len(held.labels),
            "n_trials": len(np.unique(held.trial)),
            **judged,
            "nll_change": paired_mean(change, owners),
            "judged": "each fold's windows by the temperature of the other folds, whose own held-out "
            "windows gave it; ECE over 10 bins of equally many windows",
            "folds": [t.value for t in folds],
        },
    )

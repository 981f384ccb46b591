"""What choosing the epoch on the tested trials would have added: measured, never done.

Papers that keep the epoch with the best test score report the best of many looks at the same trials (6.2
points on average, arXiv 2607.27655). Here the epoch is chosen on a validation group; the test part's answers
after every epoch are kept beside, to say on the user's own data what the other way would have shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.export.training.scores import balanced_accuracy, paired_difference

__all__ = ["added_by_picking", "mean_of_trials", "picked_on_test"]

_F = TypeVar("_F", bound=np.floating[Any])


def mean_of_trials(logits: NDArray[_F], owner: NDArray[np.int64], trials: NDArray[np.int64]) -> NDArray[_F]:
    """Return the mean over each trial's windows: ``(..., n, k)`` to ``(..., n_trials, k)``.

    Args:
        logits: Of windows.
        owner: Trial of each window ``(n,)``.
        trials: Which trials, in the order of the result.
    """
    # By places, not by a mask for each trial: where windows count as trials there are 152,055 in SEED.
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], trials)
    stops = np.searchsorted(owner[order], trials, "right")
    parts = (order[start:stop] for start, stop in zip(starts, stops, strict=True))
    return np.stack([logits[..., part, :].mean(axis=-2) for part in parts], axis=-2)


def picked_on_test(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the classes of a fold's trials ``(n,)`` at the epoch that scores best on these very trials.

    Args:
        logits: Of the trials after each epoch ``(epochs, n, k)``.
        labels: Their classes ``(n,)``.
    """
    predicted = logits.argmax(axis=-1)
    scores = [balanced_accuracy(labels, (row == labels).astype(np.float64)) for row in predicted]
    best: NDArray[np.int64] = predicted[int(np.argmax(scores))]
    return best


def added_by_picking(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    picked: NDArray[np.int64],
    units: Sequence[str],
) -> dict[str, Any]:
    """Return the balanced accuracy with the epochs picked on the tested trials, and what that adds.

    Args:
        labels: Class of each trial ``(n,)``.
        predicted: Out of fold, by the epochs that the validation groups chose ``(seeds, n)``.
        picked: By those that :func:`picked_on_test` chose ``(seeds, n)``.
        units: Independent unit of each trial.
    """
    after, before = ((rows == labels).mean(axis=0) for rows in (picked, predicted))
    return {"mean": balanced_accuracy(labels, after), **paired_difference(labels, after, before, units)}

"""The validation part of rows that come without recordings: whole groups, or some rows of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimamba_edge.errors import ConfigError, DataError

__all__ = ["InputError", "by_groups", "by_trials", "training_and_validation"]


class InputError(DataError, ValueError):
    """What was given to ``fit`` or ``predict`` cannot be used; scikit-learn expects a ``ValueError``."""


def training_and_validation(
    labels: NDArray[np.int64], groups: ArrayLike | None, share: float, rng: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that are trained on and those that choose the epoch.

    Args:
        labels: Class of each row ``(n,)``.
        groups: Group of each row, none of which is divided; by default rows are drawn.
        share: Of the rows, for validation; 0 gives it none.
        rng: Source of randomness.

    Raises:
        ConfigError: The share is none.
        InputError: The groups do not fit, or none of them can be held out.
    """
    if not 0 <= share < 1:
        raise ConfigError("validation is no share of the rows", got=share, expected="from 0 to under 1")
    held: NDArray[np.bool_] | None = np.zeros(len(labels), dtype=bool)
    if share and groups is None:
        held = by_trials(labels, share, rng)
    elif share:
        named = np.asarray(groups)
        if named.shape != labels.shape:
            raise InputError("groups has another length than y", got=named.shape, expected=labels.shape)
        held = by_groups(labels, named, share, rng)
    if held is None:
        raise InputError(
            "no group can be held out for validation",
            got=f"{len(np.unique(np.asarray(groups)))} groups",
            expected="each class in two groups or more",
            do="give finer groups, or validation=0",
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def by_trials(labels: NDArray[np.int64], share: float, rng: np.random.RandomState) -> NDArray[np.bool_]:
    """Return which rows ``(n,)`` are held out: of each class its share, one at least and never all.

    A class of one row keeps it for the training.
    """
    held = np.zeros(len(labels), dtype=bool)
    for k in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == k))
        held[members[: min(len(members) - 1, max(1, round(share * len(members))))]] = True
    return held


def by_groups(
    labels: NDArray[np.int64], groups: NDArray[Any], share: float, rng: np.random.RandomState
) -> NDArray[np.bool_] | None:
    """Return which rows ``(n,)`` are held out: whole groups, as few as give the share.

    Which groups is drawn, among the draws that leave every class to the training: the one whose validation
    part shows most classes.

    Returns:
        ``None`` where no draw leaves every class to the training.
    """
    names, of_group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order, wanted = rng.permutation(len(names)), share * len(labels)
    best: tuple[int, NDArray[np.bool_]] | None = None
    for first in range(len(order)):
        drawn = np.roll(order, -first)
        n_held = int(np.searchsorted(np.cumsum(counts[drawn]), wanted)) + 1
        held = np.isin(of_group, drawn[:n_held])
        if len(np.unique(labels[~held])) < len(np.unique(labels)):
            continue
        shown = len(np.unique(labels[held]))
        if best is None or shown > best[0]:
            best = shown, held
    return None if best is None else best[1]

"""Splits that keep whole groups together, so that no trial, run, session or subject stands on two sides.

Windows of one trial overlap in everything that is not emotion; a random split of windows therefore
measures memory (a survey finds accuracy inflated by up to 46 %). Every protocol here moves whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.labels import Trial
from mimamba_edge.errors import ConfigError, DataError

__all__ = ["PROTOCOLS", "Fold", "make_folds"]

PROTOCOLS = {
    "within-session": "blocks of neighbouring trials of one session are held out in turn",
    "leave-one-run-out": "each run is held out in turn",
    "cross-session": "each session is held out in turn",
    "cross-subject": "each subject is held out in turn",
}
"""From fine to coarse."""
_BLOCKS = 5


@dataclass(frozen=True)
class Fold:
    """Indices of trials: disjoint, and no group in two of them.

    Attributes:
        name: The group that is tested.
        validation_name: The group that stops the training.
        train: Trials that are fitted.
        validation: Trials that choose the epoch.
        test: Trials that are scored, once.
    """

    name: str
    validation_name: str
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(trials: Sequence[Trial], protocol: str) -> list[Fold]:
    """Split trials by a protocol; the group after the tested one, in order, is the validation group.

    Args:
        trials: All trials, in the order of the label table.
        protocol: A key of :data:`PROTOCOLS`.

    Raises:
        ConfigError: Unknown protocol.
        DataError: Fewer than three groups (one each to train, validate and test), or a training
            part without one of the classes.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {protocol!r}", expected=", ".join(PROTOCOLS))
    groups = _groups(trials, protocol)
    names = list(dict.fromkeys(groups))
    if len(names) < 3:
        raise DataError(
            f"the protocol {protocol} needs at least 3 groups: one each for training, validation and test",
            got=f"{len(names)}: {', '.join(names)}",
            do=_advice("record more", trials, protocol),
        )
    of_group = np.array([names.index(g) for g in groups])
    labels = np.array([t.label for t in trials])
    folds = []
    for i, name in enumerate(names):
        j = (i + 1) % len(names)
        train = np.flatnonzero((of_group != i) & (of_group != j))
        absent = sorted(set(labels.tolist()) - set(labels[train].tolist()))
        if absent:
            raise DataError(
                f"the fold that tests {name} has no training trial of {', '.join(absent)}",
                expected="every class in at least three groups",
                do=_advice("record the missing classes in more groups", trials, protocol),
            )
        folds.append(
            Fold(name, names[j], train, np.flatnonzero(of_group == j), np.flatnonzero(of_group == i))
        )
    return folds


def _advice(first: str, trials: Sequence[Trial], protocol: str) -> str:
    """Return what to do, with the finer protocols that can split these very trials."""
    works = []
    for finer in list(PROTOCOLS)[: list(PROTOCOLS).index(protocol)]:
        try:
            make_folds(trials, finer)
        except DataError:
            continue
        works.append(finer)
    return (
        f"{first}, or choose a finer protocol: --protocol {' or '.join(reversed(works))}" if works else first
    )


def _groups(trials: Sequence[Trial], protocol: str) -> list[str]:
    """Return the name of each trial's group."""
    if protocol == "cross-subject":
        return [t.subject for t in trials]
    if protocol == "cross-session":
        return [f"{t.subject}/{t.session}" for t in trials]
    if protocol == "leave-one-run-out":
        return [f"{t.subject}/{t.session}/{t.run}" for t in trials]
    return _blocks(trials)


def _blocks(trials: Sequence[Trial]) -> list[str]:
    """Cut each session, in time order, into blocks of neighbouring trials.

    Neighbours share drift and state; a block keeps them on one side.
    """
    by_session: dict[str, list[int]] = {}
    for i, t in enumerate(trials):
        by_session.setdefault(f"{t.subject}/{t.session}", []).append(i)
    names = [""] * len(trials)
    for session, members in by_session.items():
        members.sort(key=lambda i: (trials[i].run, trials[i].file, trials[i].start_s))
        for block, part in enumerate(np.array_split(np.array(members), min(_BLOCKS, len(members)))):
            for i in part:
                names[int(i)] = f"{session}/block-{block + 1}"
    return names

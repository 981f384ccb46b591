"""What tested trials share with trained ones: trial, neighbours, stimulus, run, session, subject."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from mimamba_edge.data.labels import Trial
from mimamba_edge.export.evaluation.report import Overlap
from mimamba_edge.export.training.protocol import Fold

__all__ = ["FACTORS", "beside_in_time", "overlap"]

FACTORS: dict[str, Callable[[Trial], str]] = {
    "trial": lambda t: f"{t.file} {t.start_s:.3f}",
    "stimulus": lambda t: t.stimulus,
    "run": lambda t: f"{t.subject}/{t.session}/{t.run}",
    "session": lambda t: f"{t.subject}/{t.session}",
    "subject": lambda t: t.subject,
}
"""From fine to coarse, what a trial may have in common with another."""


def overlap(trials: Sequence[Trial], folds: Sequence[Fold]) -> list[Overlap]:
    """Count, for each of :data:`FACTORS`, the tested trials that share it with the training of their fold.

    ``neighbour`` counts those whose neighbour in time, in the same recording, was trained on. Trials without
    a stimulus share none.
    """
    tested = sum(len(fold.test) for fold in folds)
    found = []
    for factor, key in FACTORS.items():
        names = np.array([key(t) for t in trials])
        shared = {side: np.zeros(len(trials), dtype=bool) for side in ("train", "validation")}
        for fold in folds:
            for side, mask in shared.items():
                mask[fold.test] = np.isin(names[fold.test], names[getattr(fold, side)])
        named = names != ""
        counts = {side: int((mask & named).sum()) for side, mask in shared.items()}
        both = sorted(set(names[shared["train"] & named].tolist())) if factor != "trial" else []
        found.append(Overlap(factor, tested, counts["train"], counts["validation"], both))
    found.insert(1, _neighbours(trials, folds))
    return found


def beside_in_time(trials: Sequence[Trial]) -> dict[int, list[int]]:
    """Return the neighbours in time of each trial, in the same recording, by their indices."""
    order = sorted(range(len(trials)), key=lambda i: (trials[i].file, trials[i].start_s))
    beside: dict[int, list[int]] = {i: [] for i in order}
    for one, two in itertools.pairwise(order):
        if trials[one].file == trials[two].file:
            beside[one].append(two)
            beside[two].append(one)
    return beside


def _neighbours(trials: Sequence[Trial], folds: Sequence[Fold]) -> Overlap:
    beside = beside_in_time(trials)
    counts = [0, 0]
    for fold in folds:
        for k, side in enumerate((fold.train, fold.validation)):
            there = set(side.tolist())
            counts[k] += sum(bool(there.intersection(beside[int(i)])) for i in fold.test)
    return Overlap("neighbour", sum(len(fold.test) for fold in folds), counts[0], counts[1], [])

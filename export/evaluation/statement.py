"""What a report says of its data set and trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import Trial
from mimamba_edge.export.evaluation.report import DataStatement, ScoredTrial
from mimamba_edge.export.training.protocol import Fold

__all__ = ["describe_data", "scored_trials"]


def describe_data(dataset: Dataset) -> DataStatement:
    """Return what a data set says of itself."""
    processing = dataset.processing
    return DataStatement(
        name=dataset.name,
        labels_sha256=dataset.labels_sha256(),
        n_subjects=len(dataset.subjects),
        n_sessions=sum(len(dataset.sessions(subject)) for subject in dataset.subjects),
        n_recordings=len(dataset.files),
        n_trials=len(dataset.trials),
        licence=dataset.licence,
        source=dataset.source,
        labelling=dataset.labelling,
        reference=processing.reference,
        band_hz=None if processing.band_hz is None else list(processing.band_hz),
        cleaning=processing.cleaning,
        faults=[str(fault) for fault in dataset.faults],
    )


def scored_trials(trials: Sequence[Trial], folds: Sequence[Fold]) -> list[ScoredTrial]:
    """Return the trials with the fold that tested each."""
    of_fold = np.full(len(trials), -1)
    for number, fold in enumerate(folds):
        of_fold[fold.test] = number
    return [
        ScoredTrial(
            t.file,
            t.start_s,
            t.label,
            t.subject,
            t.session,
            t.run,
            t.stimulus,
            folds[k].name if k >= 0 else "",
        )
        for t, k in zip(trials, of_fold, strict=True)
    ]

"""What a report says of its model, protocol, data set and trials, for the report, the page and the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.console import printable
from mimamba_edge.contract import DEFAULT_FAMILY
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import Trial
from mimamba_edge.export.evaluation.report import (
    DataStatement,
    EvaluationReport,
    Method,
    ScoredTrial,
)
from mimamba_edge.export.training.protocol import PROTOCOLS, Fold, check_protocol, excluded

__all__ = [
    "confusion",
    "data_facts",
    "describe_data",
    "licence",
    "made_by",
    "model_facts",
    "protocol_facts",
    "scored_trials",
    "short",
]


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


def confusion(report: EvaluationReport, method: Method) -> list[list[int]]:
    """Return how often a trial of each class (rows) was said to be of each class, over all seeds."""
    counts = Counter(
        (trial.label, report.class_names[said])
        for row in method.predicted
        for trial, said in zip(report.trials, row, strict=True)
    )
    return [[counts[true, said] for said in report.class_names] for true in report.class_names]


def short(report: EvaluationReport) -> str:
    """Return the model's file name, for titles."""
    return printable(Path(report.model).name)


def made_by(report: EvaluationReport) -> str:
    """Return what numbers of a report are of, in one line."""
    c, n = report.contract, len(report.methods[0].predicted)
    commit = report.environment.get("commit")
    changed = " with local changes" if report.environment.get("dirty") else ""
    return " · ".join(
        [
            report.protocol,
            f"{report.n_trials} trials of {printable(report.data.name)}",
            f"windows of {c['n_times'] / c['sfreq']:g} s at {c['sfreq']:g} Hz",
            f"{n} seed{'s' * (n != 1)}",
            f"commit {str(commit)[:10]}{changed}" if commit else "not run from a checkout",
        ]
    )


def protocol_facts(report: EvaluationReport) -> dict[str, str]:
    """Return how trials were held out."""
    base, stimuli = check_protocol(report.protocol)
    held = PROTOCOLS.get(base, "windows at random")
    if stimuli:
        held += ", and so is a fifth of the stimuli"
    own = report.trained_on == "out-of-fold"
    if report.warning:
        scored = "fold models that were trained on other windows of the same trials"
    elif own:
        scored = "fold models, each on the trials that it never saw"
    else:
        scored = "the model itself, which was trained on other recordings"
    names = {"order": "place in the session"}
    claims = [names.get(one, one) for one in excluded(report.protocol)]
    return {
        "Protocol": f"{report.protocol}: {held}",
        "Scored by": scored,
        "Not recognisable by": ", ".join(claims) or "nothing is excluded",
        "Epoch chosen on": "a part of its own, which is not scored" if own else "",
        "Folds": str(len(report.methods[0].folds)) if report.methods[0].folds else "none",
        "Seeds": f"{len(report.methods[0].predicted)}, averaged: they are not new evidence",
        "A trial's class": "the mean of the logits of its windows",
        "Chance": f"{report.chance:.3f}: one by {len(report.class_names)} classes "
        f"({', '.join(map(printable, report.class_names))})",
        "Left out": ", ".join(f"{n} trials: {printable(why)}" for why, n in report.left_out.items())
        or "no trial",
    }


def model_facts(report: EvaluationReport) -> dict[str, str]:
    """Return what the model takes, and what it is."""
    c = report.contract
    return {
        "Model": f"{short(report)}, family {printable(c.get('family', DEFAULT_FAMILY))}",
        "Channels": f"{len(c['ch_names'])}: {', '.join(map(printable, c['ch_names']))}",
        "Window": f"{c['n_times'] / c['sfreq']:g} s, {c['n_times']} samples at {c['sfreq']:g} Hz",
        "Filters": ", ".join(map(_filter, c["filters"])) + ", causal" if c["filters"] else "none",
        "Reference": printable(c["reference"], 400),
        "Scaling": f"{printable(c['scaling']['kind'])}, of the training part",
        "Temperature": f"{c['temperature']:.3f}",
        "Trained for": _training(c.get("training", {})),
    }


def _filter(one: dict[str, Any]) -> str:
    if one["kind"] == "bandpass":
        return f"band-pass {one['low_hz']:g} to {one['high_hz']:g} Hz (Butterworth, order {one['order']})"
    return f"notch {one['freq_hz']:g} Hz (q {one['q']:g})"


def _training(training: dict[str, Any]) -> str:
    epochs = training.get("epochs")
    return "" if epochs is None else f"{printable(epochs)} epochs, the median of the folds"


def licence(data: DataStatement) -> str:
    """Return the first line of a data set's licence."""
    return printable(next((line.strip() for line in data.licence.splitlines() if line.strip()), ""))


def data_facts(report: EvaluationReport) -> dict[str, str]:
    """Return what was evaluated on."""
    d = report.data
    band = "" if d.band_hz is None else f"{d.band_hz[0]:g} to {d.band_hz[1]:g} Hz"
    return {
        "Data set": printable(d.name),
        "Subjects": str(d.n_subjects),
        "Sessions, recordings": f"{d.n_sessions}, {d.n_recordings}",
        "Trials": f"{d.n_trials} in the table, {report.n_trials} scored",
        "Labels": printable(d.labelling, 2000) or "as recorded",
        "Reference of the recording": printable(d.reference, 400),
        "Filtered before": band or "not known",
        "Cleaned before": printable(d.cleaning, 2000) or "nothing known",
        "Licence": licence(d) or "none came with it",
        "Source": printable(d.source, 2000) or "not told",
        "Not as published": printable("; ".join(d.faults), 2000),
        "SHA-256 of the labels": printable(d.labels_sha256),
    }

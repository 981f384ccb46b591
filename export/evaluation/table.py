"""From predictions of several methods to rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import show_note, show_table
from mimamba_edge.data.windows import Windows
from mimamba_edge.export.evaluation.calibration_scores import Calibration, calibration
from mimamba_edge.export.evaluation.permutation import PERMUTATIONS, paired_p, permutation_p
from mimamba_edge.export.evaluation.report import (
    Difference,
    EvaluationReport,
    Group,
    Method,
    PersonalCurve,
    Score,
)
from mimamba_edge.export.quantize.folds import loss_and_gain
from mimamba_edge.export.training.protocol import Fold
from mimamba_edge.export.training.scores import (
    balanced_accuracy,
    format_score,
    independent_units,
    paired_difference,
    summarise,
)

__all__ = [
    "BEST_NETWORK",
    "CALIBRATION_HEADER",
    "METHODS_HEADER",
    "OVERLAP_HEADER",
    "PERSONAL_HEADER",
    "Scorer",
    "calibration_rows",
    "group_rows",
    "method_rows",
    "notes",
    "overlap_rows",
    "personal_notes",
    "personal_rows",
    "show",
]

METHODS_HEADER = ("method", "balanced accuracy", "95 % interval", "accuracy", "less the first row", "p")
OVERLAP_HEADER = ("tested trials whose ... was trained on", "trained on", "validated on", "of")
CALIBRATION_HEADER = (
    "method",
    "subject",
    "windows",
    "ECE",
    "by chance",
    "NLL",
    "change of NLL",
    "Brier score",
)
PERSONAL_HEADER = (
    "fitted on the person",
    "minutes",
    "balanced accuracy",
    "95 % interval",
    "less as delivered",
)
_LOSS = 0.05
BEST_NETWORK = "best network of others"
_WORDS = {"trial": "own windows", "neighbour": "neighbour in time"}


@dataclass(frozen=True)
class Scorer:
    """Scores methods on the same trials.

    Attributes:
        windows: With the trials that are scored.
        folds: How they were held out; empty where the model never saw any of them.
    """

    windows: Windows
    folds: Sequence[Fold]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each trial ``(n,)``."""
        return np.array([self.windows.class_names.index(t.label) for t in self.windows.trials])

    def method(
        self,
        name: str,
        kind: str,
        predicted: NDArray[np.int64],
        against: NDArray[np.int64] | None,
        calibrated: Calibration | None = None,
    ) -> Method:
        """Return the row of one method.

        Args:
            name: For people.
            kind: See :class:`mimamba_edge.export.evaluation.report.Method`.
            predicted: Class of each trial by each seed ``(seeds, n)``.
            against: The same of the method that it is compared with ``(seeds, n)``.
            calibrated: How sure it is, and how right.
        """
        trials, labels = self.windows.trials, self.labels
        subjects = [t.subject for t in trials]
        right = (predicted == labels).mean(axis=0)
        identities = [f"{t.file} {t.start_s}" for t in trials]
        folds = [_group(f.name, labels, right, f.test) for f in self.folds]
        of_fold = np.zeros(len(trials), dtype=np.int64)
        for number, fold in enumerate(self.folds):
            of_fold[fold.test] = number
        of_subject = np.array(subjects)
        return Method(
            name=name,
            kind=kind,
            balanced_accuracy=Score(**summarise(labels, predicted, subjects, identities)),
            accuracy=float(right.mean()),
            permutation_p=permutation_p(
                labels, predicted, [f"{s} {k}" for s, k in zip(subjects, of_fold, strict=True)]
            ),
            against=None if against is None else self._difference(predicted, against),
            folds=folds,
            subjects=[
                _group(s, labels, right, np.flatnonzero(of_subject == s)) for s in dict.fromkeys(subjects)
            ],
            predicted=predicted.tolist(),
            calibration=calibrated,
        )

    def calibration(self, logits: NDArray[Any], temperatures: NDArray[np.float64]) -> Calibration:
        """Return the calibration of window logits.

        Args:
            logits: Of each window by each seed ``(seeds, n, k)``.
            temperatures: Of what scored each of them ``(seeds, n)``.
        """
        windows = self.windows
        return calibration(logits, temperatures, windows.labels, windows.trial_of, windows.trials)

    def _difference(self, predicted: NDArray[np.int64], against: NDArray[np.int64]) -> Difference:
        trials, labels = self.windows.trials, self.labels
        units, unit = independent_units(
            [t.subject for t in trials], [f"{t.file} {t.start_s}" for t in trials]
        )
        after, before = ((rows == labels).mean(axis=0) for rows in (predicted, against))
        counted = {}
        if len(predicted) == len(against) == 1:
            counted = {k: v for k, v in loss_and_gain(before, after).items() if k != "net_loss"}
        p = paired_p(labels, after, before, units)
        return Difference(
            **paired_difference(labels, after, before, units), unit=unit, sign_flip_p=p, **counted
        )


def _group(
    name: str, labels: NDArray[np.int64], right: NDArray[np.float64], members: NDArray[np.int64]
) -> Group:
    """Return the score of some of the trials."""
    return Group(
        name,
        len(members),
        balanced_accuracy(labels[members], right[members]),
        float(right[members].mean()),
    )


def method_rows(report: EvaluationReport) -> list[tuple[str, ...]]:
    """Return the rows of the table of methods, and the line of chance."""
    rows = []
    for one in report.methods:
        low, high = one.balanced_accuracy.interval
        less = ""
        if one.against is not None:
            a, b = one.against.interval
            paired = f"p {one.against.sign_flip_p:.4f}"
            less = f"{one.against.difference:+.3f} ({a:+.3f} to {b:+.3f}; {paired})"
        rows.append(
            (
                one.name,
                f"{one.balanced_accuracy.mean:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{one.accuracy:.3f}",
                less,
                f"{one.permutation_p:.4f}",
            )
        )
    return [*rows, ("chance", f"{report.chance:.3f}", "", "", "", "")]


def group_rows(report: EvaluationReport, which: str) -> list[tuple[str, ...]]:
    """Return a row for each fold or subject, with the balanced accuracy of every method.

    Args:
        report: The report.
        which: ``"folds"`` or ``"subjects"``.
    """
    columns = [getattr(one, which) for one in report.methods]
    return [
        (groups[0].name, str(groups[0].n_trials), *(f"{g.balanced_accuracy:.3f}" for g in groups))
        for groups in zip(*columns, strict=True)
    ]


def calibration_rows(report: EvaluationReport) -> list[tuple[str, ...]]:
    """Return a row for all subjects and one for each, of every method that gives probabilities."""
    rows: list[tuple[str, ...]] = []
    for one in report.methods:
        if one.calibration is None:
            continue
        subjects = one.calibration.subjects
        for group in (one.calibration.overall, *(subjects if len(subjects) > 1 else ())):
            b, a, change = group.before, group.after, group.nll_change
            interval = ""
            if change.interval is not None:
                interval = f" ({change.interval[0]:+.3f} to {change.interval[1]:+.3f})"
            rows.append(
                (
                    one.name,
                    group.name or "all",
                    str(group.n_windows),
                    f"{b.ece.mean:.3f} to {a.ece.mean:.3f}",
                    f"{a.ece_by_chance:.3f}",
                    f"{b.nll.mean:.3f} to {a.nll.mean:.3f}",
                    f"{change.mean:+.3f}{interval}",
                    f"{b.brier.mean:.3f} to {a.brier.mean:.3f}",
                )
            )
    return rows


def overlap_rows(report: EvaluationReport) -> list[tuple[str, ...]]:
    """Return the rows of the matrix of what stands on both sides."""
    return [
        (_WORDS.get(o.factor, o.factor), str(o.n_train), str(o.n_validation), str(o.n_tested))
        for o in report.overlap
    ]


def personal_rows(curve: PersonalCurve) -> list[tuple[str, ...]]:
    """Return a row for the model as delivered, and one for every calibration."""
    rows: list[tuple[str, ...]] = []
    for one in curve.points:
        low, high = one.scored.balanced_accuracy.interval
        less = ""
        if one.scored.against is not None:
            a, b = one.scored.against.interval
            less = f"{one.scored.against.difference:+.3f} ({a:+.3f} to {b:+.3f})"
        used = "" if abs(one.used_minutes - one.minutes) < 0.05 else f" (used {one.used_minutes:.1f})"
        mean = f"{one.scored.balanced_accuracy.mean:.3f}"
        rows.append((one.adapted, f"{one.minutes:g}{used}", mean, f"{low:.3f} to {high:.3f}", less))
    return rows


def personal_notes(curve: PersonalCurve) -> list[str]:
    """Return what has to be said below the table of personal calibration."""
    score = format_score(asdict(curve.points[0].scored.balanced_accuracy))
    of = f"the {len(curve.scored)} later trials of {len(curve.groups)} held-out groups"
    found = [f"personal calibration is scored on {of}, the same at all minutes; as delivered: {score}"]
    if curve.neighbours:
        found.append(f"{len(curve.neighbours)} of them stand beside a calibration trial in time")
    shared = {o.factor: o.n_train for o in curve.overlap}
    if shared.get("stimulus"):
        found.append(f"{shared['stimulus']} of them show what a calibration trial showed")
    found += [f"too short for the calibration: {name}: {why}" for name, why in curve.left_out.items()]
    return found


def notes(report: EvaluationReport) -> list[str]:
    """Return what has to be said below the table."""
    score = report.methods[0].balanced_accuracy
    found = [
        f"first row: {format_score(asdict(score))}",
        f"p: {PERMUTATIONS} permutations of the labels within subject and fold",
        f"always guessing the largest class: {score.majority_share:.3f} of the trials are right",
    ]
    differences = [one.against for one in report.methods if one.against is not None]
    if differences:
        units = f"{differences[0].groups} {differences[0].unit}s"
        found.append(
            f"p beside a difference: how often its {units} with random signs differ as much, two-sided "
            "(MOABB's paired permutation test)"
        )
    for one in report.methods:
        if one.against is not None and one.kind == "artefact" and one.against.mcnemar_p is not None:
            found.append(
                f"{one.name} against the network in PyTorch: {one.against.lost} trials lost, "
                f"{one.against.gained} gained, McNemar's p {one.against.mcnemar_p:.2g}"
            )
    found += [_best_network(networks)] if (networks := _networks(report)) else []
    if report.picked_on_test is not None:
        picked = report.picked_on_test
        found.append(
            "choosing the epoch on the tested trials, which was not done, would have shown "
            f"{picked['mean']:.3f} ({picked['difference']:+.3f}: {format_score(picked, '+')})"
        )
    if report.personal is not None:
        found += personal_notes(report.personal)
    return [*found, *report.notes, *([f"WARNING: {report.warning}"] if report.warning else [])]


def _networks(report: EvaluationReport) -> list[tuple[Method, Difference]]:
    return [(one, one.against) for one in report.methods if one.kind == "network" and one.against is not None]


def _best_network(networks: Sequence[tuple[Method, Difference]]) -> str:
    """Say whether the first row may lose more than :data:`_LOSS` against the best network of others."""
    best, less = max(networks, key=lambda pair: pair[0].balanced_accuracy.mean)
    low, high = less.interval
    verdict = "excludes" if high < _LOSS else "does NOT exclude"
    return (
        f"{BEST_NETWORK}: {best.name}, {less.difference:+.3f} ({low:+.3f} to {high:+.3f}) on the "
        f"same trials, which {verdict} that the first row loses more than {_LOSS:g} against it"
    )


def show(report: EvaluationReport) -> None:
    """Print the tables of a report."""
    names = [one.name.partition(":")[0].partition(",")[0] for one in report.methods]
    if report.methods[0].folds:
        title = f"Balanced accuracy by held-out group ({report.protocol})"
        show_table(title, ("tested", "trials", *names), group_rows(report, "folds"), left=(0,))
    if len(report.methods[0].subjects) > 1:
        show_table("By subject", ("subject", "trials", *names), group_rows(report, "subjects"), left=(0,))
    if report.overlap:
        show_table("On both sides of the split", OVERLAP_HEADER, overlap_rows(report), left=(0,))
    if calibrated := calibration_rows(report):
        title = "Calibration of windows, before to after the temperature; of all figures, less is better"
        show_table(title, CALIBRATION_HEADER, calibrated, left=(0, 1))
    title = f"{report.n_trials} trials, {report.trained_on} ({report.protocol})"
    show_table(title, METHODS_HEADER, method_rows(report), left=(0,))
    if report.personal is not None:
        title = "Accuracy against minutes of personal calibration"
        show_table(title, PERSONAL_HEADER, personal_rows(report.personal), left=(0,))
    for note in notes(report):
        show_note(note)

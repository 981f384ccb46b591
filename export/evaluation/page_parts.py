"""Parts of the page of a report: what all sections share, and both kinds of calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape

from mimamba_edge.bench.document import items, scroll_table
from mimamba_edge.console import printable
from mimamba_edge.export.evaluation import table
from mimamba_edge.export.evaluation.calibration_scores import GroupCalibration
from mimamba_edge.export.evaluation.pictures import Axis, Line, Mark, curves, key, plain, rows, square
from mimamba_edge.export.evaluation.report import EvaluationReport, Method, PersonalPoint
from mimamba_edge.export.evaluation.statement import made_by

__all__ = ["SHARE", "calibration", "card", "is_ours", "made", "personal", "printable_cells"]

SHARE = Axis(-0.02, 1.02, 0.1, "balanced accuracy")
"""Axis of all balanced accuracies."""


def made(report: EvaluationReport) -> str:
    """Return the line below every picture: what its numbers are of."""
    return f'<p class="made">{plain(made_by(report))}</p>'


def card(report: EvaluationReport, body: str) -> str:
    """Return a picture in its frame, with the line of what its numbers are of."""
    return f'<div class="card">{body}</div>{made(report)}'


def is_ours(method: Method) -> bool:
    """Return whether a row is set off from the others by colour: the model, and files made of it."""
    return method.kind in ("model", "artefact")


def printable_cells(lines: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return rows of a table whose cells may hold text from outside."""
    return [tuple(printable(cell) for cell in line) for line in lines]


def calibration(report: EvaluationReport) -> str:
    """Return a diagram for each method that gives probabilities, and the error of each subject."""
    judged = [one for one in report.methods if one.calibration is not None]
    if not judged:
        return "<p>No row gives probabilities.</p>"
    cards = ""
    for one in judged:
        assert one.calibration is not None
        overall = one.calibration.overall
        diagram = square(
            [(_points(overall, "before"), False), (_points(overall, "after"), True)],
            "mean confidence",
            "accuracy of windows",
        )
        told = (
            f"{overall.n_windows} windows · ECE {overall.before.ece.mean:.3f} to "
            f"{overall.after.ece.mean:.3f} (by chance {overall.after.ece_by_chance:.3f})"
        )
        cards += (
            f'<div class="card"><b>{plain(one.name)}</b><p class="made">{escape(told)}</p>{diagram}</div>'
        )
    legend = (
        '<ul class="key"><li class="other"><svg viewBox="0 0 12 12" class="mark">'
        '<circle cx="6" cy="6" r="4.5"/></svg>before the temperature</li>'
        '<li class="ours"><svg viewBox="0 0 12 12" class="mark"><circle class="full" cx="6" cy="6" r="4.5"/>'
        "</svg>after</li><li>dotted: as right as it is sure; below it, too sure</li></ul>"
    )
    numbers = scroll_table(
        table.CALIBRATION_HEADER, (("", line) for line in printable_cells(table.calibration_rows(report)))
    )
    return f'<div class="grid">{cards}</div>{legend}{made(report)}{_ece(report, judged[0])}{numbers}'


def _points(group: GroupCalibration, side: str) -> list[tuple[float, float, str]]:
    bins = (group.before if side == "before" else group.after).bins
    return [
        (
            b.confidence,
            b.right,
            f"{side}: {b.n_windows} windows, sure {b.confidence:.3f}, right {b.right:.3f}",
        )
        for b in bins
    ]


def _ece(report: EvaluationReport, method: Method) -> str:
    """Return the calibration error of each subject."""
    assert method.calibration is not None
    subjects = method.calibration.subjects
    if len(subjects) < 2:
        return ""
    values = [v for s in subjects for v in (s.before.ece.mean, s.after.ece.mean, s.after.ece_by_chance)]
    axis = replace(Axis.around(values, "expected calibration error"), low=0.0)
    lines = [
        Line(
            f"{s.name} · {s.after.ece.mean:.3f}",
            "",
            [
                Mark(s.after.ece.mean, 0, f"after {s.after.ece.mean:.3f}", None, ours=True),
                Mark(s.before.ece.mean, 1, f"before {s.before.ece.mean:.3f}"),
                Mark(s.after.ece_by_chance, 4, f"by chance {s.after.ece_by_chance:.3f}"),
            ],
        )
        for s in subjects
    ]
    legend = key(
        [("after the temperature", True), ("before", False)],
        "plus: what a perfectly calibrated model would show on as many windows",
        printable(method.name),
    )
    return card(report, rows(lines, axis, thin=True) + legend)


def personal(report: EvaluationReport) -> str:
    """Return a curve for each kind of personal calibration."""
    curve = report.personal
    if curve is None:
        return "<p>Not measured: <code>--calibration-minutes 1,2,4</code> asks for it.</p>"
    start = curve.points[0]
    kinds = [k for k in dict.fromkeys(one.adapted for one in curve.points) if k != start.adapted]
    series = [(kind, [start, *(one for one in curve.points if one.adapted == kind)]) for kind in kinds]
    picture = curves(
        [[_point(one) for one in points] for _, points in series],
        "minutes of personal calibration",
        "balanced accuracy",
        marked=report.chance,
    )
    legend = key([(kind, False) for kind in kinds], f"dotted: chance, {report.chance:.3f}")
    numbers = scroll_table(
        table.PERSONAL_HEADER, (("", line) for line in printable_cells(table.personal_rows(curve)))
    )
    told = items(printable(note, 2000) for note in table.personal_notes(curve))
    return f"{card(report, picture + legend)}{numbers}{told}"


def _point(one: PersonalPoint) -> tuple[float, float, Sequence[float], str]:
    score = one.scored.balanced_accuracy
    low, high = score.interval
    told = f"{one.adapted}, {one.used_minutes:.1f} min: {score.mean:.3f} ({low:.3f} to {high:.3f})"
    return one.used_minutes, score.mean, score.interval, told

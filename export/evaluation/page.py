"""The report of ``evaluate`` as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mimamba_edge.bench.document import document, facts, items, machine_facts, scroll_table, tiles
from mimamba_edge.console import printable
from mimamba_edge.export.evaluation import table
from mimamba_edge.export.evaluation.literature import LEAKS, reported_on
from mimamba_edge.export.evaluation.page_parts import (
    SHARE,
    calibration,
    card,
    is_ours,
    made,
    personal,
    printable_cells,
)
from mimamba_edge.export.evaluation.pictures import Axis, Line, Mark, key, plain, rows, shares
from mimamba_edge.export.evaluation.report import EvaluationReport, Group, Method
from mimamba_edge.export.evaluation.statement import (
    confusion,
    data_facts,
    model_facts,
    protocol_facts,
    short,
)
from mimamba_edge.export.training.protocol import excluded
from mimamba_edge.export.training.scores import FEW_GROUPS

__all__ = ["render_page"]

_LOSS = 0.05
_MANY = 40
"""Rows of a picture above which it is folded away until asked for."""
_NAMED = 12


def render_page(report: EvaluationReport) -> str:
    """Return the page of a report."""
    parts = [
        ("Methods", _methods(report)),
        ("Difference from the first row", _differences(report)),
        ("By subject", _groups(report, "subjects")),
        ("By held-out group", _groups(report, "folds")),
        ("Confusion", _confusion(report)),
        ("Calibration: is it as sure as it is right?", calibration(report)),
        ("Accuracy against minutes of personal calibration", personal(report)),
        ("On both sides of the split", _overlap(report)),
        ("What choosing the epoch on the tested trials would have added", _picked(report)),
        ("Beside the literature", _literature(report)),
        ("Read with the figures", items(printable(note, 2000) for note in table.notes(report))),
        ("Protocol", facts(protocol_facts(report))),
        ("Model, channels and window", facts(model_facts(report))),
        ("Data", facts(data_facts(report))),
        ("Machine and software", facts(machine_facts(report.environment))),
    ]
    sections = "".join(f"<h2>{escape(title)}</h2>{body}" for title, body in parts)
    body = f"""{_warning(report)}{_command(report)}{_tiles(report)}{_cautions(report)}
{sections}{_warning(report)}"""
    version = escape(str(report.environment["versions"]["mimamba-edge"]))
    return document(
        ("LEAKY SPLIT: " if report.warning else "") + f"Accuracy of {short(report)}",
        printable(f"{report.data.name} · {report.protocol} · {report.environment['time'][:10]}"),
        body,
        f"""Written by mimamba-edge {version}. Every prediction is in the JSON report
(<code>--report</code>). Not a medical device; what is measured here holds for these people and
recordings.""",
    )


def _warning(report: EvaluationReport) -> str:
    """Return what nobody may miss: the scores measure memory."""
    if not report.warning:
        return ""
    return (
        '<div class="leak" role="alert"><b>Do not quote these figures</b>'
        f"<p>{plain(report.warning)}</p></div>"
    )


def _command(report: EvaluationReport) -> str:
    command = report.command or "made from Python"
    return f'<pre class="command">{escape(printable(command, 2000))}</pre>{made(report)}'


def _tiles(report: EvaluationReport) -> str:
    first = report.methods[0]
    score = first.balanced_accuracy
    low, high = score.interval
    figures = [
        (f"{score.mean:.3f}", f"balanced accuracy of {printable(first.name)}, 95 % {low:.3f} to {high:.3f}"),
        (
            f"{report.chance:.3f}",
            f"by chance; the largest class alone is {score.majority_share:.3f} of the trials",
        ),
    ]
    others = [one for one in report.methods[1:] if not is_ours(one) and one.against is not None]
    if others:
        best = max(others, key=lambda one: one.balanced_accuracy.mean)
        figures.append(_tile(best))
    figures.append(
        (f"{first.permutation_p:.4f}", "permutation test: p that labels without meaning score as high")
    )
    return tiles(figures)


def _tile(best: Method) -> tuple[str, str]:
    assert best.against is not None
    low, high = best.against.interval
    return (
        f"{best.against.difference:+.3f}",
        f"the best other method less that, {low:+.3f} to {high:+.3f}: {printable(best.name)}",
    )


def _cautions(report: EvaluationReport) -> str:
    score = report.methods[0].balanced_accuracy
    found = []
    if report.data.n_subjects < FEW_GROUPS:
        people = "one person" if report.data.n_subjects == 1 else f"{report.data.n_subjects} people"
        found.append(f"Caution: {people}. These figures say little about anybody else.")
    if score.interval[0] <= report.chance:
        found.append(f"The 95 % interval of the first row holds chance, {report.chance:.3f}.")
    return "".join(f'<p class="caution">{escape(one)}</p>' for one in found)


def _names(report: EvaluationReport) -> list[tuple[str, bool]]:
    return [(one.name, is_ours(one)) for one in report.methods]


def _methods(report: EvaluationReport) -> str:
    lines = []
    for i, one in enumerate(report.methods):
        score = one.balanced_accuracy
        low, high = score.interval
        told = f"{score.mean:.3f} ({low:.3f} to {high:.3f})"
        if len(score.seeds) > 1:
            told += f" · seeds {min(score.seeds):.3f} to {max(score.seeds):.3f}"
        lines.append(Line(one.name, told, [Mark(score.mean, i, told, score.interval, is_ours(one))]))
    legend = key((), f"line: 95 % interval over {_units(report)}", f"dotted: chance, {report.chance:.3f}")
    picture = rows(lines, SHARE, marked=[report.chance]) + legend
    kinds = ["ours" if is_ours(one) else "other" for one in report.methods] + ["other"]
    numbers = scroll_table(
        table.METHODS_HEADER, zip(kinds, printable_cells(table.method_rows(report)), strict=True), "first"
    )
    return f"{card(report, picture)}{numbers}"


def _units(report: EvaluationReport) -> str:
    score = report.methods[0].balanced_accuracy
    return f"{score.groups} {score.unit}{'s' * (score.groups != 1)}"


def _differences(report: EvaluationReport) -> str:
    against = [(i, one, one.against) for i, one in enumerate(report.methods) if one.against is not None]
    if not against:
        return "<p>One row only: nothing to compare it with.</p>"
    axis = Axis.around(
        [-_LOSS, _LOSS, *(v for _, _, d in against for v in d.interval)], "balanced accuracy, paired"
    )
    lines = []
    for i, one, less in against:
        low, high = less.interval
        told = f"{less.difference:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(Line(one.name, told, [Mark(less.difference, i, told, less.interval, is_ours(one))]))
    legend = key(
        (),
        f"compared with {printable(report.methods[0].name)} on the same trials",
        "an interval that holds 0 shows no difference",
        f"dotted: 0 and {_LOSS:g} to either side: an interval that ends left of +{_LOSS:g} excludes that the "
        "first row loses more than 5 points, one that starts right of the other line that the method does",
    )
    return card(report, rows(lines, axis, marked=[0.0, -_LOSS, _LOSS]) + legend)


def _groups(report: EvaluationReport, which: str) -> str:
    """Return a row for each fold or subject, with a mark for every method."""
    columns: list[list[Group]] = [getattr(one, which) for one in report.methods]
    if not columns[0]:
        return "<p>No folds: the model never saw these recordings.</p>"
    if which == "folds" and len(report.methods[0].subjects) > 1 and _same(columns[0], report):
        return "<p>The held-out groups are the subjects.</p>"
    if which == "subjects" and len(columns[0]) == 1:
        return f"<p>One subject ({plain(columns[0][0].name)}): see the held-out groups.</p>"
    lines = []
    for groups in zip(*columns, strict=True):
        marks = [
            Mark(g.balanced_accuracy, i, f"{one.name} {g.balanced_accuracy:.3f}", None, is_ours(one))
            for i, (g, one) in enumerate(zip(groups, report.methods, strict=True))
        ]
        name = f"{groups[0].name} · {groups[0].balanced_accuracy:.3f} · {groups[0].n_trials} trials"
        lines.append(Line(name, "", marks, beam=report.chance))
    legend = key(_names(report), f"dotted: chance, {report.chance:.3f}; line: from there to the first row")
    header = (which[:-1], "trials", *(printable(one.name) for one in report.methods))
    cells = printable_cells(table.group_rows(report, which))
    numbers = scroll_table(header, (("", line) for line in cells))
    picture = rows(lines, SHARE, marked=[report.chance], thin=True) + legend
    if len(lines) > _MANY:
        return _folded(f"{len(lines)} rows", card(report, picture)) + _folded("In numbers", numbers)
    return card(report, picture) + _folded("In numbers", numbers)


def _same(folds: Sequence[Group], report: EvaluationReport) -> bool:
    return {(f.name, f.n_trials) for f in folds} == {(s.name, s.n_trials) for s in report.methods[0].subjects}


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _confusion(report: EvaluationReport) -> str:
    names = report.class_names
    tables = ""
    for one in report.methods:
        head = "".join(f"<th>{plain(name)}</th>" for name in names)
        body = ""
        for name, counts in zip(names, confusion(report, one), strict=True):
            of = sum(counts)
            cells = "".join(
                f'<td style="background:rgb(23 102 184 / {0.55 * n / max(of, 1):.2f})">{n}'
                f"<small>{n / max(of, 1):.0%}</small></td>"
                for n in counts
            )
            body += f"<tr><th>{plain(name)}</th>{cells}</tr>"
        tables += (
            f'<div class="card"><b>{plain(one.name)}</b><div class="scroll"><table class="confusion">'
            f"<thead><tr><th>true \\ predicted</th>{head}</tr></thead><tbody>{body}</tbody></table>"
            "</div></div>"
        )
    seeds = max(len(one.predicted) for one in report.methods)
    told = f"<p>Trials; of the network all {seeds} seeds together.</p>" if seeds > 1 else ""
    return f'{told}<div class="grid">{tables}</div>{made(report)}'


def _overlap(report: EvaluationReport) -> str:
    if not report.overlap:
        return "<p>The model was not trained on these recordings; its training trials are not known here.</p>"
    claimed = excluded(report.protocol)
    lines = []
    for one, cells in zip(report.overlap, table.overlap_rows(report), strict=True):
        claim = one.factor in claimed or (one.factor == "neighbour" and "order" in claimed)
        named = ", ".join(printable(name, 40) for name in one.both[:_NAMED])
        more = f" and {len(one.both) - _NAMED} more" if len(one.both) > _NAMED else ""
        text = "excluded by the protocol" if claim else named + more
        css = "yes" if claim else ""
        if one.n_train and (claim or one.factor == "trial"):
            text, css = "LEAK: " + (text or "windows of one trial on both sides"), "no"
        counts = [(one.n_train, one.n_tested), (one.n_validation, one.n_tested)]
        lines.append((cells[0], counts, text, css))
    header = ("tested trials whose ...", "was trained on", "was validated on", "on both sides")
    return shares(header, lines) + made(report)


def _picked(report: EvaluationReport) -> str:
    picked = report.picked_on_test
    if picked is None or not {"mean", "difference", "interval"} <= set(picked) or not picked["interval"]:
        return "<p>Not known: the training did not keep it.</p>"
    low, high = picked["interval"]
    told = f"{picked['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    axis = Axis.around([low, high], "balanced accuracy, paired")
    line = Line(
        "epoch chosen on the tested trials",
        f"{told} · it would have shown {picked['mean']:.3f}",
        [Mark(picked["difference"], 7, told, picked["interval"])],
    )
    said = "<p>This was not done: the epochs were chosen on validation groups.</p>"
    return said + card(report, rows([line], axis, marked=[0.0]))


def _literature(report: EvaluationReport) -> str:
    found = reported_on(report.data.name)
    leaks = items(LEAKS)
    if not found:
        return f"<p>No figure of others on these data is known here. Measured by others:</p>{leaks}"
    first = report.methods[0]
    head = ("method", "accuracy", "largest class", "protocol", "source")
    own = (
        printable(first.name),
        f"{first.accuracy:.3f}",
        f"{first.balanced_accuracy.majority_share:.3f}",
        report.protocol,
        "this report",
    )
    others = [(o.what, o.accuracy, o.beside or "not told", o.protocol, o.source) for o in found]
    cells = scroll_table(head, [("ours", own), *(("", line) for line in others)], "words")
    return (
        f"{cells}<p>Accuracies under different protocols are not comparable. Measured by others:</p>{leaks}"
    )

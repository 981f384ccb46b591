"""A model card: what a model is, what it was evaluated on, what it is for and what it is not for.

Markdown with the YAML front matter of Hugging Face's model cards (huggingface_hub's ``ModelCardData`` and its
``model-index``). Sections after Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mimamba_edge.console import printable
from mimamba_edge.contract import DEFAULT_FAMILY, Contract
from mimamba_edge.export.evaluation import table
from mimamba_edge.export.evaluation.reading import Bench
from mimamba_edge.export.evaluation.report import EvaluationReport, Method
from mimamba_edge.export.evaluation.statement import (
    data_facts,
    licence,
    made_by,
    model_facts,
    protocol_facts,
    short,
)
from mimamba_edge.export.training.scores import FEW_GROUPS

__all__ = ["BLANK", "markdown", "render_card"]

BLANK = "________ (blank: only the owner of the weights can say; until then they come with no licence)"
_MARKUP = re.compile(r"([\\`*_\[\]<>&|~#!$@{}])")
_START = re.compile(r"^(\d*)([-+.)])(?=\s)")
"""What would begin a list inside a list."""
_LONG = 2000


def markdown(text: object, limit: int = 120) -> str:
    """Return a text from outside as Markdown that shows it: no markup, no link, no second line."""
    shown = _MARKUP.sub(r"\\\1", printable(text, limit).strip())
    # Bare addresses become links in GitHub's Markdown.
    return shown.replace("://", "&#58;//").replace("www.", "www&#46;")


def render_card(report: EvaluationReport, bench: Bench | None = None) -> str:
    """Return the card of the model of a report.

    Args:
        report: Its evaluation.
        bench: What ``bench`` measured on the device, or ``None``.
    """
    scored = _scored(report)
    parts = [
        ("Intended use", _uses(report)),
        ("Out of scope", _items(_OUT_OF_SCOPE)),
        ("Results", _results(report, scored)),
        ("By subject", _subjects(report)),
        ("Calibration", _calibration(scored)),
        ("Personal calibration", _personal(report)),
        ("Limits", _items(_limits(report, scored))),
        ("Latency", _latency(bench)),
        ("Model and input", _facts(model_facts(report))),
        ("Data", _facts(data_facts(report))),
        ("Protocol", _facts(protocol_facts(report))),
        ("How it was made", _made(report)),
        ("Licence", _licence(report)),
    ]
    sections = "\n\n".join(f"## {title}\n\n{body}" for title, body in parts)
    warning = f"> **WARNING: {markdown(report.warning, _LONG)}**\n\n" if report.warning else ""
    title = f"# {markdown(short(report))}"
    return f"{_front_matter(report, scored)}\n{title}\n\n{warning}{_lead(report, scored)}\n\n{sections}\n"


def _scored(report: EvaluationReport) -> Method:
    """Return the row of the file itself: the artefact's where there is one."""
    return next((one for one in report.methods if one.kind == "artefact"), report.methods[0])


def _front_matter(report: EvaluationReport, scored: Method) -> str:
    contract, score = report.contract, scored.balanced_accuracy
    family = contract.get("family", DEFAULT_FAMILY)
    lines = [
        "---",
        "# license: to be filled in by the owner of the weights",
        "library_name: mimamba-edge",
        "tags:",
        *(f"- {_yaml(tag)}" for tag in ("eeg", "brain-computer-interface", "mamba", family)),
        "metrics:",
        "- balanced_accuracy",
        "- accuracy",
    ]
    if not report.warning:  # what must not be quoted does not go where machines quote it
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", report.data.name).strip("-.")[:80] or "data"
        lines += [
            "model-index:",
            f"- name: {_yaml(short(report))}",
            "  results:",
            "  - task:",
            "      type: other",
            f"      name: {_yaml('EEG classification: ' + ', '.join(report.class_names))}",
            "    dataset:",
            f"      type: {_yaml(slug)}",
            f"      name: {_yaml(report.data.name)}",
            f"      split: {_yaml(f'{report.protocol}, {report.trained_on}')}",
            "    metrics:",
            "    - type: balanced_accuracy",
            f"      value: {score.mean:.4f}",
            f"      name: {_yaml(f'balanced accuracy, chance {report.chance:.3f}')}",
            "      args:",
            f"        interval_95: [{score.interval[0]:.4f}, {score.interval[1]:.4f}]",
            f"        n_trials: {report.n_trials}",
            f"        n_subjects: {report.data.n_subjects}",
            "    - type: accuracy",
            f"      value: {scored.accuracy:.4f}",
            f"      name: {_yaml(f'accuracy, largest class {score.majority_share:.3f}')}",
        ]
    return "\n".join([*lines, "---", ""])


def _yaml(text: object) -> str:
    """Return a text as a YAML scalar in double quotes, whose escapes are those of JSON."""
    return json.dumps(printable(text, _LONG), ensure_ascii=False)


def _lead(report: EvaluationReport, scored: Method) -> str:
    c = report.contract
    classes = ", ".join(markdown(name) for name in report.class_names)
    channels = ", ".join(markdown(name) for name in c["ch_names"])
    return (
        f"Tells {len(report.class_names)} classes apart ({classes}) in {c['n_times'] / c['sfreq']:g} s of "
        f"EEG from {len(c['ch_names'])} channels ({channels}) at {c['sfreq']:g} Hz.\n\n"
        f"Balanced accuracy **{scored.balanced_accuracy.mean:.3f}** ({_interval(scored)}), chance "
        f"{report.chance:.3f}: {markdown(made_by(report), _LONG)}."
    )


def _interval(method: Method) -> str:
    score = method.balanced_accuracy
    low, high = score.interval
    return f"95 % {low:.3f} to {high:.3f}, over {score.groups} {score.unit}{'s' * (score.groups != 1)}"


_OUT_OF_SCOPE = (
    "Anything medical: this is not a medical device; it diagnoses, monitors and treats nothing.",
    "Decisions about people, and anything where a wrong answer does harm.",
    "Inferring emotions at work or in education: Article 5(1)(f) of the EU's AI Act prohibits it.",
    "Use without telling people: Article 50(3) of the same asks to inform them.",
    "Other headsets, channels, references or filters than those below; other clips, tasks or classes.",
)


def _uses(report: EvaluationReport) -> str:
    if report.trained_on != "out-of-fold":
        whom = "It was scored on recordings that were not in the training; of whom is not compared."
    elif report.protocol.startswith("cross-subject"):
        whom = "It was scored on people who were not in the training."
    else:
        whom = "It was scored on people who were in the training: nothing is known of anybody else."
    return (
        "Research and prototypes, on recordings and people like those that it was evaluated on, with their "
        f"knowledge. {whom}"
    )


def _results(report: EvaluationReport, scored: Method) -> str:
    found = [_table(table.METHODS_HEADER, table.method_rows(report))]
    if scored is not report.methods[0]:
        found.append(f"The row of this file: {markdown(scored.name)}.")
    return "\n\n".join([*found, _items(table.notes(report))])


def _subjects(report: EvaluationReport) -> str:
    rows = table.group_rows(report, "subjects")
    return _table(("subject", "trials", *(one.name for one in report.methods)), rows)


def _calibration(scored: Method) -> str:
    if scored.calibration is None:
        return "Not measured."
    one = scored.calibration.overall
    before, after = one.before, one.after
    ece = f"{before.ece.mean:.3f} before the temperature, {after.ece.mean:.3f} after"
    return _items(
        [
            f"Expected calibration error {ece}, {after.ece_by_chance:.3f} by chance; {one.n_windows} windows",
            f"Negative log-likelihood {before.nll.mean:.3f} before, {after.nll.mean:.3f} after",
            f"Brier score {before.brier.mean:.3f} before, {after.brier.mean:.3f} after",
        ]
    )


def _personal(report: EvaluationReport) -> str:
    if report.personal is None:
        return "Not measured."
    rows = _table(table.PERSONAL_HEADER, table.personal_rows(report.personal))
    return f"{rows}\n\n{_items(table.personal_notes(report.personal))}"


def _limits(report: EvaluationReport, scored: Method) -> list[str]:
    found, n = [], report.data.n_subjects
    if report.warning:
        found.append(f"The split leaks: {report.warning}")
    if n < FEW_GROUPS:
        found.append(f"{n} subject{'s' * (n != 1)}: fewer than {FEW_GROUPS} say little about anybody else")
    if scored.balanced_accuracy.interval[0] <= report.chance:
        found.append(f"The 95 % interval holds chance ({report.chance:.3f})")
    for one in report.overlap:
        if one.factor == "stimulus" and one.n_train:
            found.append(f"{one.n_train} of {one.n_tested} tested trials show a stimulus that was trained on")
    found += [f"Not as a live signal: {what}" for what in Contract.from_dict(report.contract).unlike_live()]
    found += [f"{count} trials left out: {why}" for why, count in report.left_out.items()]
    found += [f"Data not as published: {fault}" for fault in report.data.faults]
    return [
        *found,
        "The scores are those of the recordings above; another day, headset or room may give others",
    ]


def _latency(bench: Bench | None) -> str:
    if bench is None:
        return "Not measured. `mimamba-edge bench MODEL --report bench.json` on the device measures it."
    cells = [
        (Path(row.artifact).name, row.runner, str(row.batch), *(f"{ms:.3g}" for ms in row.latencies))
        for row in bench.rows
        if row.latencies
    ]
    if not cells:
        return "Not measured: the report of `bench` has no times."
    header = ("file", "runs in", "batch", "p50 ms", "p99 ms", "max ms")
    where = f"Compute only, on {markdown(bench.environment.device)}, {markdown(bench.environment.time)}."
    return f"{_table(header, cells)}\n\n{where}"


def _made(report: EvaluationReport) -> str:
    env = report.environment
    packages = ", ".join(f"{name} {version}" for name, version in env["versions"].items() if version)
    command = f"    {printable(report.command, _LONG)}\n\n" if report.command else ""
    lines = {"Commit": env["commit"] or "not run from a checkout", "Packages": packages, "Time": env["time"]}
    return command + _facts(lines)


def _licence(report: EvaluationReport) -> str:
    data = markdown(licence(report.data)) or "none came with it"
    return f"Of the weights: **{BLANK}**\n\nOf the data: {data}"


def _items(lines: Iterable[str]) -> str:
    return "\n".join("- " + _START.sub(r"\1\\\2", markdown(line, _LONG)) for line in lines)


def _facts(lines: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}**: {markdown(value, _LONG)}" for name, value in lines.items() if value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    shown = [f"| {' | '.join(markdown(cell) for cell in line)} |" for line in lines]
    return "\n".join([shown[0], "| --- |" + " ---: |" * (len(header) - 1), *shown[1:]])

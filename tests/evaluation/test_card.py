"""The model card: valid front matter, the report's numbers, names that stay text; made again from JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from markdown_it import MarkdownIt

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import DataError  # noqa: E402
from mimamba_edge.export.evaluation.card import BLANK, render_card  # noqa: E402
from mimamba_edge.export.evaluation.page import render_page  # noqa: E402
from mimamba_edge.export.evaluation.reading import TIMES, read_report  # noqa: E402
from mimamba_edge.export.evaluation.report import EvaluationReport, ScoredTrial  # noqa: E402
from mimamba_edge.export.training.protocol import LEAKY, LEAKY_WARNING  # noqa: E402
from mimamba_edge.outputs import write_report  # noqa: E402
from mimamba_edge.strict_json import read_json  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401
from tests.evaluation.reports import CLASSES, HOSTILE, as_json, make_report  # noqa: E402

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "formats" / "evaluation.schema.json"
FRONT = """---
# license: to be filled in by the owner of the weights
library_name: mimamba-edge
tags:
- "eeg"
- "brain-computer-interface"
- "mamba"
- "msimamba"
metrics:
- balanced_accuracy
- accuracy
model-index:
- name: "ck<pt>|x\N{REPLACEMENT CHARACTER}.pt"
  results:
  - task:
      type: other
      name: "EEG classification: <b>calm</b>, ex|cited\N{REPLACEMENT CHARACTER}---"
    dataset:
      type: "SEED"
      name: "SEED"
      split: "cross-subject, out-of-fold"
    metrics:
    - type: balanced_accuracy
      value: 0.7500
      name: "balanced accuracy, chance 0.500"
      args:
        interval_95: [0.5171, 0.9097]
        n_trials: 40
        n_subjects: 5
    - type: accuracy
      value: 0.7500
      name: "accuracy, largest class 0.500"
---
"""
HEADINGS = [
    *(
        "Intended use",
        "Out of scope",
        "Results",
        "By subject",
        "Calibration",
        "Personal calibration",
        "Limits",
        "Latency",
    ),
    *("Model and input", "Data", "Protocol", "How it was made", "Licence"),
]


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return make_report()


@pytest.fixture(scope="module")
def card(report: EvaluationReport) -> str:
    return render_card(report)


def tokens(card: str) -> list[Any]:
    """Return the tokens of the text below the front matter, as GitHub and Hugging Face read it."""
    text = card.split("\n---\n", 1)[1]
    return MarkdownIt("commonmark", {"linkify": False}).enable("table").parse(text)


def inside(found: list[Any], opened: str, kind: str) -> list[str]:
    """Return the shown text of each inline that follows an opening token."""
    shown = []
    for before, one in itertools.pairwise(found):
        if before.type == opened and before.tag == kind:
            shown.append("".join(child.content for child in one.children))
    return shown


def test_front_matter_is_that_of_the_specification(card) -> None:
    assert card.startswith(FRONT)


def test_the_hub_reads_it(card, tmp_path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="pip install huggingface_hub")
    read = hub.ModelCard(card).data
    assert [(r.metric_type, r.metric_value) for r in read.eval_results] == [
        ("balanced_accuracy", 0.75),
        ("accuracy", 0.75),
    ]
    assert read.to_dict()["library_name"] == "mimamba-edge"


def test_names_from_outside_stay_text(report, card) -> None:
    found = tokens(card)
    kinds = {t.type for t in found} | {c.type for t in found for c in t.children or ()}
    assert not {"html_block", "html_inline", "link_open", "image", "em_open", "fence", "hr"} & kinds
    assert [t.content for t in found if t.type == "code_block"] == [report.command + "\n"]
    assert inside(found, "heading_open", "h1") == ["ck<pt>|x\N{REPLACEMENT CHARACTER}.pt"]
    assert inside(found, "heading_open", "h2") == HEADINGS
    assert "\x1b" not in card
    assert "://" not in card.replace("&#58;//", "")
    assert "<script>alert(1)</script>" in inside(found, "td_open", "td")


def test_its_numbers_are_those_of_the_report(report, card) -> None:
    cells = inside(tokens(card), "td_open", "td")
    width = 2 + len(report.methods)
    start = cells.index(HOSTILE[0])
    for k in range(len(HOSTILE)):
        row = cells[start + width * k : start + width * (k + 1)]
        assert row[1:] == ["8", *(f"{m.subjects[k].balanced_accuracy:.3f}" for m in report.methods)]
    assert "**0.750** (95 % 0.517 to 0.910, over 5 subjects), chance 0.500" in card
    sure = report.methods[0].calibration
    assert sure is not None
    assert (
        f"{sure.overall.before.ece.mean:.3f} before the temperature, {sure.overall.after.ece.mean:.3f} after"
        in card
    )


def test_what_has_to_be_said_is_said(report, card) -> None:
    assert BLANK in card
    assert "this is not a medical device" in card
    assert "Not measured. `mimamba-edge bench" in card
    assert "people who were not in the training" in card
    assert "40 of 40 tested trials show a stimulus that was trained on" in card
    alone = replace(report, data=replace(report.data, n_subjects=1), protocol="cross-session")
    assert "1 subject: fewer than 5" in render_card(alone)
    assert "nothing is known of anybody else" in render_card(alone)


def test_a_leak_is_said_first_and_quoted_to_no_machine(report) -> None:
    leaky = render_card(replace(report, protocol=LEAKY, warning=LEAKY_WARNING))
    assert "model-index" not in leaky
    assert leaky.split("# ck")[1].splitlines()[2].startswith("> **WARNING: leaky-window puts")


def test_page_and_card_are_made_again_from_the_json(report, card, tmp_path, run) -> None:  # noqa: F811
    told = as_json(report)
    jsonschema.validate(told, json.loads(SCHEMA.read_text()))
    source = tmp_path / "e.json"
    source.write_text(json.dumps({"made_by": "mimamba-edge evaluate", **told}))
    bench = tmp_path / "b.json"
    row = {"artifact": "d/m|.onnx", "runner": "cpu", "batch": 1, "p50_ms": 1.25, "p99_ms": 2.0, "max_ms": 9.0}
    none = dict(row, p50_ms=None, p99_ms=None, max_ms=None)
    machine = report.environment | {"device": "A<B", "time": "now"}
    bench.write_text(json.dumps({"rows": [row, none], "environment": machine}))
    out = run("report", source, "--html", tmp_path / "p.html", "--card", tmp_path / "c.md")
    assert out.code == 0, out.err
    assert (tmp_path / "c.md").read_text() == card
    made = (tmp_path / "p.html").read_text()
    assert made.split("<title>")[1] == render_page(report).split("<title>")[1]
    again = run("report", source, "--card", tmp_path / "c.md")
    assert again.code == 2
    assert "completed by hand" in again.err
    out = run("report", source, "--card", tmp_path / "d.md", "--bench", bench)
    assert out.code == 0, out.err
    assert (
        "| m\\|.onnx | cpu | 1 | 1.25 | 2 | 9 |\n\nCompute only, on A\\<B, now."
        in (tmp_path / "d.md").read_text()
    )
    # Larger than other JSON may be: a set of 13,500 trials, or of windows that count as such, gives 6 MB.
    source.write_text(json.dumps(told | {"notes": ["x" * 15_000] * 400}))
    shown = run("report", source)
    assert shown.code == 0
    assert "0.750" in shown.out
    assert run("report", bench).code == 2
    assert "name the card" in run("report", source, "--bench", bench).err


def _of_first(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda told: change(told["methods"][0])


def test_the_report_of_all_windows_of_seed_can_be_read(tmp_path) -> None:
    """Where windows count as trials: a part of the report, as large a one as of the usual bounds."""
    made = make_report(personal=None)
    n = -(-152_055 // TIMES)
    trial = ScoredTrial("15_20131105.mat: 15_eeg15", 0.0, CLASSES[0], "15", "3", "15", "15", "block 3")
    trials = [replace(trial, start_s=0.125 * i, label=CLASSES[i % 2]) for i in range(n)]
    methods = [replace(one, predicted=[[i % 2 for i in range(n)]] * 10) for one in made.methods]
    part = replace(made, trials=trials, n_trials=n, methods=methods)
    write_report(tmp_path / "e.json", "evaluate", asdict(part))
    assert read_json(tmp_path / "e.json", dict[str, Any])["n_trials"] == n
    again = read_report(tmp_path / "e.json")
    assert (again.trials, again.methods) == (trials, methods)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda told: told.update(schema="mimamba.evaluation/9"), "schema"),
        (lambda told: told.update(methods=[]), "methods"),
        (lambda told: told["trials"].pop(), "trials"),
        (lambda told: told["contract"].pop("sfreq"), "sfreq"),
        (lambda told: told.update(protocol="cross"), "unknown protocol"),
        (lambda told: told["environment"].pop("versions"), "versions"),
        (lambda told: told["picked_on_test"].update(interval=[1.0]), "picked_on_test"),
        (lambda told: told["personal"]["points"].pop(0), "0 minutes"),
        (_of_first(lambda one: one["predicted"].pop() and one["predicted"][0].pop()), "prediction"),
        (_of_first(lambda one: one["predicted"][0].__setitem__(3, 2)), "prediction"),
        (_of_first(lambda one: one["predicted"][1].__setitem__(3, -1)), "prediction"),
        (_of_first(lambda one: one["balanced_accuracy"].update(interval=[0.2, 0.1])), "interval"),
        (_of_first(lambda one: one["balanced_accuracy"].update(mean="<b>")), "mean"),
        (_of_first(lambda one: one["subjects"].pop()), "subjects"),
    ],
)
def test_a_spoiled_report_is_refused_by_the_field(report, tmp_path, spoil, words) -> None:
    told = as_json(report)
    spoil(told)
    (tmp_path / "e.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=words):
        read_report(tmp_path / "e.json")

"""The page of a report: its numbers are the report's, names stay text, a leak cannot be missed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.evaluation.page import render_page  # noqa: E402
from mimamba_edge.export.evaluation.report import EvaluationReport  # noqa: E402
from mimamba_edge.export.training.protocol import LEAKY, LEAKY_WARNING  # noqa: E402
from tests.evaluation.reports import CLASSES, HOSTILE, make_report  # noqa: E402
from tests.html_page import HtmlPage  # noqa: E402

SECTIONS = (
    "Methods",
    "Difference from the first row",
    "By subject",
    "By held-out group",
    "Confusion",
    "Calibration: is it as sure as it is right?",
    "Accuracy against minutes of personal calibration",
    "On both sides of the split",
    "What choosing the epoch on the tested trials would have added",
    "Beside the literature",
    "Read with the figures",
    "Protocol",
    "Model, channels and window",
    "Data",
    "Machine and software",
)


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return make_report()


@pytest.fixture(scope="module")
def page(report: EvaluationReport) -> HtmlPage:
    return HtmlPage(render_page(report))


def test_it_stands_alone_with_all_its_sections(report, page) -> None:
    text = render_page(report)
    page.assert_stands_alone(text)
    assert tuple(page.texts("h2")) == SECTIONS
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    made = "cross-subject · 40 trials of SEED · windows of 0.625 s at 32 Hz · 2 seeds · commit 0123456789"
    assert page.texts("p").count(made) >= 8
    assert page.texts("pre") == [report.command]


def test_numbers_are_those_of_the_report(report, page) -> None:
    rows = [" ".join(line.split()) for line in page.texts("tr")]
    for one in report.methods:
        low, high = one.balanced_accuracy.interval
        interval = f"{low:.3f} to {high:.3f}"
        assert any(f"{one.balanced_accuracy.mean:.3f}{interval}" in row for row in rows)
    for k in range(len(HOSTILE)):
        scores = "".join(f"{one.subjects[k].balanced_accuracy:.3f}" for one in report.methods)
        assert any(row.endswith("8" + scores) for row in rows)
    shown = page.texts("td")
    first = report.methods[0]
    counts = Counter(
        (trial.label, CLASSES[said])
        for row in first.predicted
        for trial, said in zip(report.trials, row, strict=True)
    )
    for true in CLASSES:
        of = sum(counts[true, said] for said in CLASSES)
        for said in CLASSES:
            assert f"{counts[true, said]}{counts[true, said] / of:.0%}" in shown
    sure = first.calibration
    assert sure is not None
    points = [e.attrs for e in page.elements if "point" in str(e.attrs.get("class"))]
    found = [((float(p["cx"]) - 40) / 250, (260 - float(p["cy"])) / 250) for p in points]
    bins = [*sure.overall.before.bins, *sure.overall.after.bins]
    for (x, y), one in zip(found, bins, strict=True):
        assert (x, y) == pytest.approx((one.confidence, one.right), abs=1e-3)


def test_minutes_of_personal_calibration_are_drawn_and_told(report, page) -> None:
    assert report.personal is not None
    signs = [e for e in page.elements if e.attrs.get("class") == "sign"]
    assert [e.text for e in signs] == [
        f"{one.adapted}, {one.used_minutes:.1f} min: {score.mean:.3f} ({score.interval[0]:.3f} to "
        f"{score.interval[1]:.3f})"
        for one in report.personal.points
        for score in [one.scored.balanced_accuracy]
    ]
    assert "too short for the calibration: <p>: short" in page.texts("li")


def test_marks_stand_where_their_values_are(report, page) -> None:
    """From 0 at 1.92 % of the width to 1 at 98.08 %: the axis runs from -0.02 to 1.02."""
    at = [float(m[1]) for m in re.finditer(r'class="mark \w+" style="left:([\d.]+)%"', render_page(report))]
    wanted = [100 * (one.balanced_accuracy.mean + 0.02) / 1.04 for one in report.methods]
    assert at[:3] == pytest.approx(wanted, abs=0.01)
    subjects = [
        [100 * (m.subjects[k].balanced_accuracy + 0.02) / 1.04 for m in report.methods] for k in range(5)
    ]
    # After the three rows and the two differences; in each row the first method is drawn last.
    assert at[5:20] == pytest.approx([v for row in subjects for v in reversed(row)], abs=0.01)


def test_names_from_outside_stay_text(report, page) -> None:
    text = render_page(report)
    assert not {"b>calm", "<net", "<i>other", "<note", "<p>:", "<none"} & set(re.findall(r"<[^>]{0,9}", text))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    everything = page.elements[0].text
    for told in ("<script>alert(1)</script>", "<net|work>", "<b>calm</b>", "eyes <removed>"):
        assert told in everything


def test_a_leak_cannot_be_missed(report) -> None:
    assert "LEAK" not in render_page(report)
    leaky = replace(report, protocol=LEAKY, warning=LEAKY_WARNING)
    page = HtmlPage(render_page(leaky))
    assert page.texts("h1")[0].startswith("LEAKY SPLIT")
    boxes = [e.text for e in page.elements if e.attrs.get("role") == "alert"]
    assert len(boxes) == 2
    assert all(LEAKY_WARNING in box for box in boxes)
    assert "Scored byfold models that were trained on other windows" in page.elements[0].text


def test_what_a_protocol_excludes_and_what_it_does_not(report, page) -> None:
    rows = [row for row in page.texts("tr") if " of 40" in row]
    assert "subject0 of 400 of 40excluded by the protocol" in rows
    assert any(row.startswith("stimulus40 of 4040 of 40clip|0, clip|1") for row in rows)
    shared = [replace(o, n_train=3) if o.factor == "subject" else o for o in report.overlap]
    text = HtmlPage(render_page(replace(report, overlap=shared))).elements[0].text
    assert "LEAK: excluded by the protocol" in text


def test_figures_of_others_stand_beside_where_the_data_are_known(report, page) -> None:
    assert {"0.9136", "0.55", "0.382", "0.640"} <= set(page.texts("td"))
    other = replace(report, data=replace(report.data, name="mine"))
    assert "0.9136" not in render_page(other)


def test_one_person_is_cautioned_and_a_bare_report_still_makes_a_page(report) -> None:
    first = report.methods[0]
    alone = replace(first, subjects=first.subjects[:1], folds=[], calibration=None)
    bare = replace(
        report,
        data=replace(report.data, n_subjects=1),
        methods=[alone],
        overlap=[],
        picked_on_test=None,
        personal=None,
        command="",
    )
    page = HtmlPage(render_page(bare))
    assert tuple(page.texts("h2")) == SECTIONS
    assert "Caution: one person. These figures say little about anybody else." in page.texts("p")

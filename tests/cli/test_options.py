"""Numbers that no machine could obey are refused by the option itself: the same for all verbs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import typer

from mimamba_edge.cli.app import app
from mimamba_edge.load import builtin_model

MODEL = "model.onnx"
_SECONDS = ("inf", "-inf", "nan", "1e308", "-1", "x", "9" * 5000)
_COUNTS = ("9" * 26, "-1", "1e3", "nan", "9" * 5000)
_CASES = [
    ("stream", "--seconds", _SECONDS, (MODEL, "--source", "x.csv")),
    ("stream", "--smooth", _SECONDS, (MODEL, "--source", "x.csv")),
    ("stream", "--hysteresis", (*_SECONDS, "1.5"), (MODEL, "--source", "x.csv")),
    ("stream", "--deadline", _SECONDS, (MODEL, "--source", "x.csv")),
    ("stream", "--threads", (*_COUNTS, "0", "10000"), (MODEL, "--source", "x.csv")),
    ("stream", "--mains", _COUNTS, (MODEL, "--source", "x.csv")),
    ("stream", "--page-port", _COUNTS, (MODEL, "--source", "x.csv")),
    ("bench", "--threads", (*_COUNTS, "0", "10000"), (MODEL,)),
    ("bench", "--batch", (*_COUNTS, "0", "1,", "1," + "9" * 26), (MODEL,)),
    ("build", "--batch", (*_COUNTS, "0"), ("m.trt.onnx",)),
    ("record", "--seconds", _SECONDS, ("--source", "x.csv", "-o", "out")),
    ("record", "--tmin", ("inf", "nan", "-1e308"), ("--source", "x.csv", "-o", "out")),
    ("record", "--tmax", ("inf", "nan", "1e308"), ("--source", "x.csv", "-o", "out")),
    ("check-signal", "--seconds", _SECONDS, ("--source", "x.csv")),
    ("calibrate", "--seconds", _SECONDS, (MODEL, "--source", "x.csv", "-o", "p.json")),
    ("train", "--window", _SECONDS, ("data",)),
    ("train", "--sfreq", _SECONDS, ("data",)),
    ("train", "--seeds", (*_COUNTS, "0"), ("data",)),
    ("train", "--epochs", (*_COUNTS, "0"), ("data",)),
    ("simulate", "--runs", (*_COUNTS, "0"), ("eeg",)),
    ("simulate", "--trials", (*_COUNTS, "1"), ("eeg",)),
    ("simulate", "--seed", _COUNTS, ("eeg",)),
    ("parity", "--hop", (*_COUNTS, "0"), (MODEL, MODEL)),
    ("parity", "--limit", (*_COUNTS, "0"), (MODEL, MODEL)),
    ("pack", "--instances", (*_COUNTS, "0"), (MODEL, "-o", "out", "--host", "triton")),
    ("sources", "--seconds", ("inf", "nan", "1e308", "0"), ()),
]


@pytest.mark.parametrize(
    ("verb", "option", "values", "rest"), _CASES, ids=[f"{verb}{option}" for verb, option, *_ in _CASES]
)
def test_what_cannot_be_is_refused_by_name(verb, option, values, rest, run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in values:
        done = run(verb, f"{option}={value}", *rest)
        assert (done.code, done.out) == (2, ""), (value[:30], done)
        assert option in done.err
        assert "got" in done.err
        assert "expected" in done.err
        assert len(done.err) < 1000
        # The value is named, but for what is too long to be.
        assert value[:20] in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "spelled"),
    [
        ("parity a.onnx b.onnx --json p.json", "--report PATH"),
        ("bench a.onnx --json=b.json", "--report PATH"),
        ("quantize a.onnx --int8", "--to int8"),
        ("quantize a.onnx --to int8 --calib eeg", "--data"),
        ("evaluate c.pt eeg --page=e.html", "--html"),
        ("report e.json --page e.html", "--html"),
        ("predict a.onnx eeg --out t.csv", "--output"),
    ],
)
def test_an_old_spelling_is_answered_by_the_new_one(run, line: str, spelled: str) -> None:
    done = run(*line.split())
    assert (done.code, done.out) == (2, "")
    assert f"use {spelled}" in done.err


def test_what_writes_json_prints_it_too() -> None:
    writing = [(verb, function) for verb, function in _verbs(app) if "report" in get_type_hints(function)]
    assert len(writing) >= 8
    assert [verb for verb, function in writing if "json" not in get_type_hints(function)] == []


@pytest.mark.ort
def test_json_is_all_that_is_printed(run, tmp_path: Path) -> None:
    report = tmp_path / "p.json"
    done = run("parity", builtin_model(), builtin_model(), "--limit", 2, "--json", "--report", report)
    assert (done.code, json.loads(done.out)) == (0, json.loads(report.read_text()))
    assert "windows" in run("parity", builtin_model(), builtin_model(), "--limit", 2).out


def _verbs(app: typer.Typer) -> Iterator[tuple[str, Callable[..., None]]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield command.name or command.callback.__name__, command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _verbs(group.typer_instance)


def test_every_number_of_the_command_line_is_bounded() -> None:
    """No option may be a bare int or float: those take what no machine can obey."""
    bounded = 0
    for verb, function in _verbs(app):
        for name, hint in get_type_hints(function, include_extras=True).items():
            base, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            if {int, float} & {base, *get_args(base)}:
                assert more[0].parser is not None, f"--{name} of {verb} has no bounds"
                bounded += 1
    assert bounded >= 20


def test_what_is_not_there_is_named_with_the_step_before_it(run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command, step in (
        ("bench model.pt", "mimamba-edge train"),
        ("parity model.onnx model.onnx", "mimamba-edge export"),
        ("bench model.onnx --data eeg", "mimamba-edge export"),
        ("data check eeg", "mimamba-edge simulate eeg"),
        ("stream model.onnx", "mimamba-edge sources"),
    ):
        done = run(*command.split())
        assert (done.code, done.out) == (2, "")
        assert step in done.err

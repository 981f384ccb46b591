"""`bench --fp16 --int8`: the artefacts beside a model or made, in one table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

from mimamba_edge.artifact import Manifest, manifest_path, write_manifest
from mimamba_edge.bench import run as bench_run
from mimamba_edge.bench.measure import Budget
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.export.quantize import evaluate, pipeline, verdict
from mimamba_edge.export.quantize.recipes import RECIPES
from mimamba_edge.load import builtin_model
from mimamba_edge.parity.compare import Check
from mimamba_edge.runtime.reference import reference_path

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    write_dataset(folder, runs=3, trials=2)
    return folder


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    quick = Budget(runs=10, least_s=0.0, most_s=0.1, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr(evaluate, "TIMING", quick)
    monkeypatch.setattr(bench_run, "Budget", lambda: quick)
    monkeypatch.setattr(pipeline, "CALIBRATION", 16)
    monkeypatch.setattr(pipeline, "JUDGED", 48)
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    source = builtin_model()
    for path in (source, reference_path(source)):
        for one in (path, manifest_path(path)):
            shutil.copy(one, tmp_path / one.name)
    return tmp_path / source.name


def rows(path: Path) -> dict[str, dict]:
    return {Path(row["artifact"]).name: row for row in json.loads(path.read_text())["rows"]}


def test_all_precisions_in_one_table(run, model, data):
    record, page = model.with_name("b.json"), model.with_name("b.html")
    done = run("bench", model, "--fp16", "--int8", "--data", data, "--report", record, "--html", page)
    assert done.code == 0, done.err
    assert "reference.fp16.onnx was made, as it was not beside the model" in done.out
    found = rows(record)
    assert list(found) == ["reference.onnx", "reference.fp16.onnx", "reference.int8-cpu.onnx"]
    assert found["reference.fp16.onnx"]["precision"] == "fp16"
    assert found["reference.fp16.onnx"]["verified"]
    int8 = found["reference.int8-cpu.onnx"]
    assert int8["verified"] or "made, but below the acceptance limits" in int8["why_not"]
    assert "SQNR dB" in done.out
    assert "SQNR dB" in page.read_text()


def test_what_stands_beside_is_used_with_its_accuracy(run, model):
    assert run("quantize", model, "--to", "fp16").code == 0
    path = model.with_name("reference.fp16.onnx")
    manifest = Manifest.load(path)
    manifest.verification["accuracy"] = {"right": {"fp32": 181, "fp16": 180}, "n_trials": 192}
    write_manifest(path, manifest)
    before = path.stat().st_mtime_ns
    record = model.with_name("b.json")
    done = run("bench", model, "--fp16", "--report", record)
    assert done.code == 0, done.err
    assert "stands beside the model" in done.out
    assert path.stat().st_mtime_ns == before
    found = rows(record)
    assert found["reference.onnx"]["accuracy"] == {"right": 181, "n_trials": 192}
    assert found["reference.fp16.onnx"]["accuracy"] == {"right": 180, "n_trials": 192}
    assert "180 of 192" in done.out


def test_int8_without_recordings_says_what_it_needs(run, model):
    done = run("bench", model, "--int8")
    assert (done.code, done.out) == (2, "")
    assert "add --data" in done.err


def test_what_was_refused_is_not_made_again(run, model, data, monkeypatch):
    request = pipeline.Request(model, model.with_name("q.onnx"), RECIPES["int8-cpu"], data, "mse", None)
    evaluation = evaluate.Evaluation(None, None, {}, checks=[Check("speed", "0.5 x", ">= 1 x", False)])
    kept = verdict.keep(request, "a" * 64, evaluation)
    assert kept == model.with_name("q.refused.json")
    _, refusal = verdict.standing(request, "a" * 64)
    assert "0.5 x" in refusal.reasons
    assert verdict.standing(request, "b" * 64) is None
    (data / "more.csv").touch()
    assert verdict.standing(request, "a" * 64) is None
    (data / "more.csv").unlink()
    monkeypatch.setattr(verdict, "__version__", "9")
    assert verdict.standing(request, "a" * 64) is None
    kept.write_text("mine")
    assert verdict.keep(request, "a" * 64, evaluation) is None
    assert kept.read_text() == "mine"


def test_the_built_in_model_is_not_written_beside(run, model):
    beside = {path.name for path in builtin_model().parent.iterdir()}
    done = run("bench", "--fp16")
    assert done.code == 0, done.err
    assert {path.name for path in builtin_model().parent.iterdir()} == beside
    assert list((model.parent / "cache" / "models").glob("*/reference.fp16.onnx"))


def test_an_artefact_of_another_model_is_refused(run, model):
    assert run("quantize", model, "--to", "fp16").code == 0
    path = model.with_name("reference.fp16.onnx")
    manifest = Manifest.load(path)
    manifest.verification["fp32_sha256"] = "0" * 64
    write_manifest(path, manifest)
    done = run("bench", model, "--fp16")
    assert done.code == 2
    assert "was not made from" in done.err


@pytest.mark.parametrize(
    "arguments", [["a.onnx", "b.onnx", "--fp16"], ["a.plan", "--int8"], ["a.trt.onnx", "--fp16"]]
)
def test_models_that_have_no_lower_precisions(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    for name in arguments[:-1]:
        Path(name).write_bytes(b"x")
    assert run("bench", *arguments).code == 2

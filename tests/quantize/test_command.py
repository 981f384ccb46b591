"""`mimamba-edge quantize` on the model that comes with the package and a simulated data set."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

from mimamba_edge.artifact import Manifest, manifest_path, sha256_file
from mimamba_edge.bench.measure import Budget
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.export.families.msimamba import int8_ranges
from mimamba_edge.export.quantize import evaluate, pipeline, recipes
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.runtime.reference import Reference, reference_path
from tests.cli.conftest import run  # noqa: F401

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    write_dataset(folder, runs=3, trials=4)
    return folder


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluate, "TIMING", Budget(runs=20, least_s=0.0, most_s=0.2, warm_s=0.0))
    monkeypatch.setattr(pipeline, "CALIBRATION", 24)
    monkeypatch.setattr(pipeline, "JUDGED", 64)
    source = builtin_model()
    for path in (source, reference_path(source)):
        for one in (path, manifest_path(path)):
            shutil.copy(one, tmp_path / one.name)
    return tmp_path / source.name


def with_speedup(monkeypatch, least: float) -> None:
    held = dataclasses.replace(recipes.RECIPES["int8-cpu"], least_speedup=least)
    monkeypatch.setitem(recipes.RECIPES, "int8-cpu", held)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_fp16_writes_both_forms_and_leaves_the_input_alone(run, model, data):  # noqa: F811
    before = sha256_file(model)
    done = run("quantize", model, "--to", "fp16", "--data", data, "--report", model.with_name("r.json"))
    assert done.code == 0, done.err
    assert sha256_file(model) == before
    for name, kind in (("reference.fp16.onnx", "onnx"), ("reference.fp16.trt.onnx", "trt.onnx")):
        manifest = Manifest.load(model.with_name(name))
        assert (manifest.kind, manifest.precision) == (kind, "fp16")
        assert manifest.source_sha256 == Manifest.load(model).source_sha256
        assert manifest.verification["fp32_sha256"] == before
    report = json.loads(model.with_name("r.json").read_text())
    assert report["passed"]
    assert report["parity"]["sqnr_db"] >= 50
    assert report["speed"] is None
    assert "not measured" in done.out
    # What bench verifies against is found for it.
    assert Reference.beside(model.with_name("reference.fp16.onnx")).logits.size


def test_int8_for_tensorrt(run, model, data):  # noqa: F811
    out = model.with_name("other.int8.trt.onnx")
    done = run("quantize", model, "--to", "int8", "--target", "tensorrt", "--data", data, "-o", out)
    assert done.code == 0, done.err
    assert {"other.int8.onnx", "other.int8.trt.onnx", "other.ref.npz"} <= files(model.parent)
    reference = Reference.beside(model.with_name("other.int8.onnx"))
    with load_model(str(model.with_name("other.int8.onnx"))) as runner:
        got = runner.logits(reference.windows)
    noise = np.square(got - reference.logits).sum()
    assert 10 * np.log10(np.square(reference.logits).sum() / noise) >= 40


def test_int8_for_the_cpu_is_written_if_it_is_fast_enough(run, model, data, monkeypatch):  # noqa: F811
    with_speedup(monkeypatch, 0.0)
    page = model.with_name("r.html")
    done = run(
        "quantize",
        model,
        "--to",
        "int8",
        "--data",
        data,
        "--html",
        page,
        "--report",
        page.with_suffix(".json"),
    )
    assert done.code == 0, done.err
    assert Manifest.load(model.with_name("reference.int8-cpu.onnx")).precision == "int8"
    report = json.loads(page.with_suffix(".json").read_text())
    speed = report["speed"]
    assert speed["ratio"] == pytest.approx(speed["fp32"]["p50_ms"] / speed["int8"]["p50_ms"])
    assert "SQNR" in page.read_text()
    assert "http" not in page.read_text().replace("http-equiv", "")


def test_int8_for_the_cpu_is_refused_if_it_is_not(run, model, data, monkeypatch):  # noqa: F811
    with_speedup(monkeypatch, 1000.0)
    before = files(model.parent)
    done = run("quantize", model, "--to", "int8", "--data", data, "--report", model.with_name("r.json"))
    assert done.code == 1
    assert files(model.parent) - before == {"r.json", "reference.int8-cpu.refused.json"}
    assert "faster than fp32" in done.err
    assert "missed" in done.out
    report = json.loads(model.with_name("r.json").read_text())
    assert not report["passed"]
    assert report["published"] == []
    again = run("quantize", model, "--to", "int8", "--data", data)
    assert again.code == 1
    assert "was refused before" in again.err
    assert "faster than fp32" in again.err


def test_calibration_is_taken_from_the_cache_the_second_time(run, model, data, monkeypatch):  # noqa: F811
    with_speedup(monkeypatch, 0.0)
    out = model.with_name("reference.int8-cpu.onnx")
    assert run("quantize", model, "--to", "int8", "--data", data).code == 0
    first = out.read_bytes()
    monkeypatch.setattr(int8_ranges, "calibrate_block", None)  # any call would fail
    assert run("quantize", model, "--to", "int8", "--data", data).code == 0
    assert out.read_bytes() == first
    kept = list((model.parent / "cache" / "calibration").glob("*.json"))
    assert len(kept) == 1
    kept[0].write_text("{")  # a damaged one is computed again
    monkeypatch.undo()


def test_another_method_is_another_calibration(run, model, data, monkeypatch):  # noqa: F811
    with_speedup(monkeypatch, 0.0)
    out = model.with_name("reference.int8-cpu.onnx")
    contents = set()
    for method in ("mse", "percentile", "minmax"):
        assert run("quantize", model, "--to", "int8", "--data", data, "--method", method).code == 0
        contents.add(out.read_bytes())
    assert len(contents) == 3


def test_sensitivity_ranks_every_layer(run, model, data):  # noqa: F811
    json_path = model.with_name("r.json")
    done = run("quantize", model, "--to", "fp16", "--data", data, "--sensitivity", "--report", json_path)
    assert done.code == 0, done.err
    costs = json.loads(json_path.read_text())["sensitivity"]
    names = [cost["node"] for cost in costs]
    assert len(names) == len(set(names)) == 14
    assert [c["sqnr_db"] for c in costs] == sorted(c["sqnr_db"] for c in costs)
    used = {c["node"]: c["used_by"] for c in costs if c["used_by"]}
    assert {name.split("/")[-1] for name, by in used.items() if by == "cpu"} == {"conv 1", "conv 2"}
    assert sum(by == "tensorrt" for by in used.values()) == 2


def spoiled(data: Path, target: Path, change) -> Path:
    """Copy one recording with other numbers in its channels."""
    source = sorted(data.glob("*.csv"))
    lines = next(p for p in source if p.name != "labels.csv").read_text().splitlines()
    header = lines[0].split(",")
    rows = np.array([[float(v or "nan") for v in line.split(",")] for line in lines[1:]])
    names, rows = change(header, rows)
    text = "\n".join([",".join(names), *(",".join(f"{v:.6f}" for v in row) for row in rows)])
    target.write_text(text + "\n")
    return target


def flat(header, rows):
    rows[:, 1:5] = 3.0
    return header, rows


def renamed(header, rows):
    return [header[0], "Fz", "Cz", "Pz", "Oz", *header[5:]], rows


@pytest.mark.parametrize(("change", "words"), [(flat, "constant|valid"), (renamed, "TP9")])
def test_recordings_that_do_not_fit(run, model, data, tmp_path, change, words):  # noqa: F811
    before = files(tmp_path)
    bad = spoiled(data, tmp_path / "bad.csv", change)
    done = run("quantize", model, "--to", "int8", "--data", bad)
    assert done.code == 2
    assert any(word in done.err for word in words.split("|")), done.err
    assert files(tmp_path) - before == {"bad.csv"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "int8"], "--data"),
        (["--to", "int4"], "--to int8 --target cpu"),
        (["--to", "fp16", "--target", "cpu"], "--to fp16"),
        (["--to", "int8", "--data", "nowhere"], "nowhere"),
        (["--to", "fp16", "-o", "model.plan"], "model.plan"),
    ],
)
def test_options_that_cannot_work(run, model, arguments, words, monkeypatch):  # noqa: F811
    monkeypatch.chdir(model.parent)
    before = files(model.parent)
    done = run("quantize", model, *arguments)
    assert done.code == 2
    assert words in done.err
    assert files(model.parent) == before


@pytest.mark.parametrize(
    "name", ["reference.fp16.onnx", "reference.fp16.trt.onnx", "a.plan", "a.pt", "a.onnx"]
)
def test_models_that_cannot_be_quantised(run, model, data, name):  # noqa: F811
    if name.startswith("reference"):
        assert run("quantize", model, "--to", "fp16", "--data", data).code == 0
    elif name != "a.onnx":
        model.with_name(name).write_bytes(b"x")
    before = files(model.parent)
    done = run("quantize", model.with_name(name), "--to", "int8", "--data", data)
    assert done.code == 2
    assert name in done.err
    assert files(model.parent) == before


@pytest.mark.parametrize(
    "name",
    ["z.onnx", "z.onnx.json", "z.trt.onnx", "z.trt.onnx.json", "z.ref.npz", "reference.trt.onnx"],
)
def test_reports_do_not_go_over_artefacts(run, model, name):  # noqa: F811
    before = files(model.parent)
    out = model.with_name("z.onnx")
    done = run("quantize", model, "--to", "fp16", "-o", out, "--report", model.with_name(name))
    assert done.code == 2
    assert "would be overwritten" in done.err
    assert files(model.parent) == before


def test_folds_without_their_data_set(run, model, data, tmp_path):  # noqa: F811
    one = next(path for path in sorted(data.glob("*.csv")) if path.name != "labels.csv")
    done = run("quantize", model, "--to", "fp16", "--data", one, "--folds", tmp_path)
    assert done.code == 2
    assert "labels.csv" in done.err


def test_a_damaged_reference_is_found_before_anything_is_made(run, model):  # noqa: F811
    reference_path(model).write_bytes(b"x")
    done = run("quantize", model, "--to", "fp16")
    assert done.code == 2
    assert "disagree" in done.err
    assert not model.with_name("reference.fp16.onnx").exists()


def test_a_recording_too_short_says_what_was_left_out(run, model, data, tmp_path):  # noqa: F811
    source = next(path for path in sorted(data.glob("*.csv")) if path.name != "labels.csv")
    short = tmp_path / "short.csv"
    short.write_text("\n".join(source.read_text().splitlines()[:400]) + "\n")
    done = run("quantize", model, "--to", "int8", "--data", short)
    assert done.code == 2
    assert "1.6 s in 1 file" in done.err
    assert "settling" in done.err


def test_an_empty_folder_of_recordings(run, model, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    done = run("quantize", model, "--to", "int8", "--data", tmp_path / "empty")
    assert done.code == 2
    assert "no recordings" in done.err


def test_interrupted_calibration_leaves_nothing(run, model, data, monkeypatch):  # noqa: F811
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(int8_ranges, "calibrate_block", interrupt)
    before = files(model.parent)
    folders = set(model.parent.iterdir())
    done = run("quantize", model, "--to", "int8", "--data", data)
    assert done.code == 130
    assert files(model.parent) == before
    assert set(model.parent.iterdir()) == folders

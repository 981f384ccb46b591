"""``evaluate`` as typed: each trial is scored by the fold that held it out, in every kind of file."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge.artifact import Manifest, sha256_file, write_manifest  # noqa: E402
from mimamba_edge.data.dataset import open_dataset  # noqa: E402
from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.data.windows import trial_windows  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint  # noqa: E402
from mimamba_edge.export.quantize.recipes import RECIPES  # noqa: E402
from mimamba_edge.export.runner import OracleRunner  # noqa: E402
from mimamba_edge.export.training.protocol import LEAKY, split  # noqa: E402
from mimamba_edge.export.training.scores import balanced_accuracy  # noqa: E402
from mimamba_edge.export.training.train import fold_name  # noqa: E402
from mimamba_edge.signal.scaling import apply_scaling  # noqa: E402
from mimamba_edge.trt.plan import PlanManifest  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401
from tests.evaluation.trained import Trained, Turned, oracle_classes, write_trained  # noqa: E402
from tests.modelfiles import answers, tiny_contract, write_model, write_reference  # noqa: E402
from tests.trt.machine import make_machine, write_plan  # noqa: E402
from tests.trt.models import write_trt_model  # noqa: E402

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "formats" / "evaluation.schema.json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return write_trained(tmp_path_factory.mktemp("run"), seeds=2)


def score(labels: np.ndarray, predicted: np.ndarray) -> float:
    return balanced_accuracy(labels, (predicted == labels).astype(np.float64))


def test_a_checkpoint_is_scored_by_its_folds_beside_the_baselines(trained, tmp_path, run):  # noqa: F811
    page = tmp_path / "e.html"
    out = run("evaluate", trained.checkpoint, trained.data, "--report", tmp_path / "e.json", "--html", page)
    assert out.code == 0, out.err
    report = json.loads((tmp_path / "e.json").read_text())
    again = tmp_path / "again.html"
    assert run("report", tmp_path / "e.json", "--html", again).code == 0
    assert again.read_text() == page.read_text(), "the JSON report holds all that the page shows"
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    model, trivial, power, tangent = report["methods"]
    labels, classes, _ = oracle_classes(trained, seed=1)
    assert model["predicted"][1] == classes.tolist()
    assert model["balanced_accuracy"]["seeds"][1] == pytest.approx(score(labels, classes))
    assert [t["label"] for t in report["trials"]] == [report["class_names"][k] for k in labels]
    assert trivial["balanced_accuracy"]["mean"] == 0.5
    assert len(model["folds"]) == 3
    assert sum(f["n_trials"] for f in model["folds"]) == report["n_trials"] == 18
    assert power["balanced_accuracy"]["mean"] > 0.7, "alpha and beta tell the simulated classes apart"
    assert tangent["against"]["difference"] == pytest.approx(
        tangent["balanced_accuracy"]["mean"] - model["balanced_accuracy"]["mean"]
    )
    shared = {o["factor"]: (o["n_train"], o["n_validation"], o["n_tested"]) for o in report["overlap"]}
    assert shared["trial"] == shared["run"] == shared["neighbour"] == (0, 0, 18)
    assert shared["session"] == shared["subject"] == (18, 18, 18)
    assert f"{power['balanced_accuracy']['mean']:.3f}" in out.out
    assert "WARNING" not in out.out
    assert power["calibration"] is None
    told = model["calibration"]
    assert told["temperatures"] == [1.0, 1.5, 2.0]
    before, after = (np.mean([oracle_nll(trained, seed, at) for seed in range(2)]) for at in (False, True))
    assert told["overall"]["before"]["nll"]["mean"] == pytest.approx(before, rel=1e-4)
    assert told["overall"]["after"]["nll"]["mean"] == pytest.approx(after, rel=1e-4)
    assert f"{before:.3f} to {after:.3f}" in out.out


def oracle_nll(trained: Trained, seed: int, calibrated: bool) -> float:
    """The loss of all tested windows by the float64 oracle, at 1 or at the temperature of their fold."""
    contract = load_checkpoint(trained.checkpoint).contract
    windows, folds = split(trial_windows(open_dataset(trained.data), contract), "leave-one-run-out")
    loss = []
    for fold in folds:
        path = trained.folds / f"{fold_name(seed, fold)}.pt"
        held = load_checkpoint(path).contract
        tested = np.isin(windows.trial_of, fold.test)
        with OracleRunner(path) as runner:
            logits = runner.logits(apply_scaling(windows.data[tested], held.scaling)).astype(np.float64)
        p = np.exp(logits / (held.temperature if calibrated else 1.0))
        p /= p.sum(axis=1, keepdims=True)
        loss += list(-np.log(p[np.arange(len(p)), windows.labels[tested]]))
    return float(np.mean(loss))


def one_seed(trained: Trained, folder: Path) -> Path:
    """Copy a checkpoint and the folds of one seed."""
    shutil.copy(trained.checkpoint, folder / "ckpt.pt")
    (folder / "ckpt-folds").mkdir()
    for path in trained.folds.glob("seed0-*"):
        shutil.copy(path, folder / "ckpt-folds" / path.name)
    return folder


def test_a_file_of_lower_precision_is_made_of_each_fold(trained, tmp_path, run, monkeypatch):  # noqa: F811
    monkeypatch.setitem(RECIPES, "int8-cpu", Turned("turned", "int8", ".x", "cpu", None, calibrated=True))
    int8 = one_seed(trained, tmp_path) / "turned.onnx"
    write_model(int8, load_checkpoint(trained.checkpoint).contract)
    made_of = sha256_file(trained.checkpoint)
    write_manifest(int8, dataclasses.replace(Manifest.load(int8), precision="int8", source_sha256=made_of))
    out = run("evaluate", int8, trained.data, "--report", tmp_path / "e.json")
    assert out.code == 0, out.err
    report = json.loads((tmp_path / "e.json").read_text())
    model, artefact = report["methods"][:2]
    assert artefact["name"] == "turned.onnx: ONNX Runtime, int8"
    _, plain, turned = oracle_classes(trained)
    assert model["predicted"][0] == plain.tolist()
    assert artefact["predicted"][0] == turned.tolist()
    assert artefact["against"]["interval"][0] < artefact["against"]["difference"]
    sure = [one["calibration"]["overall"]["after"]["nll"]["mean"] for one in (model, artefact)]
    assert sure[0] != sure[1], "a file's own probabilities, not the network's"


FOLD = tiny_contract(ch_names=("TP9", "AF7", "AF8", "TP10"), n_times=64, class_names=("calm", "excited"))


def fold_answers(windows: np.ndarray) -> np.ndarray:
    """What every engine of the fakes says."""
    return answers(FOLD, windows)


def write_fold_files(checkpoint: Path, onnx: Path) -> None:
    """Stand in for an export: files of a linear model, under the fold's own contract."""
    contract = load_checkpoint(checkpoint).contract
    write_model(onnx, contract)
    write_trt_model(onnx.with_name("fold.trt.onnx"), contract)
    write_reference(onnx.with_name("fold.ref.npz"), contract, n=9)


def test_an_engine_is_built_of_each_fold(trained, tmp_path, run, monkeypatch):  # noqa: F811
    told = "tests.evaluation.test_evaluate:fold_answers"
    world = make_machine(monkeypatch, tmp_path, run=told, children=True)
    monkeypatch.setattr("mimamba_edge.export.evaluation.model.export_checkpoint", write_fold_files)
    monkeypatch.chdir(one_seed(trained, tmp_path))
    held = load_checkpoint(trained.checkpoint).contract
    plan = write_plan(tmp_path, world, contract=held)
    made_of = sha256_file(trained.checkpoint)
    write_manifest(plan, dataclasses.replace(PlanManifest.load(plan), source_sha256=made_of))
    out = run("evaluate", plan, trained.data, "--report", tmp_path / "e.json")
    assert out.code == 0, out.err
    report = json.loads((tmp_path / "e.json").read_text())
    engine = report["methods"][1]
    assert engine["name"] == "tiny.plan: TensorRT, fp32"
    windows, folds = split(trial_windows(open_dataset(trained.data), held), "leave-one-run-out")
    for fold in folds:
        own = load_checkpoint(trained.folds / f"{fold_name(0, fold)}.pt").contract.scaling
        logits = answers(FOLD, apply_scaling(windows.data, own))
        for trial in fold.test:
            said = logits[windows.trial_of == trial].mean(axis=0).argmax()
            assert engine["predicted"][0][trial] == said
    world.cuda.assert_clean()


def test_recordings_made_since_are_scored_by_the_model_itself(trained, tmp_path, run):  # noqa: F811
    new = tmp_path / "new"
    write_dataset(new, runs=2, trials=6, seed=9)
    out = run("evaluate", trained.checkpoint, new, "--report", tmp_path / "e.json")
    assert out.code == 0, out.err
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["trained_on"] == "unseen"
    assert report["overlap"] == []
    held = load_checkpoint(trained.checkpoint)
    windows = trial_windows(open_dataset(new), held.contract)
    with OracleRunner(trained.checkpoint) as runner:
        logits = runner.logits(apply_scaling(windows.data, held.contract.scaling))
    classes = [logits[windows.trial_of == i].mean(axis=0).argmax() for i in range(12)]
    assert report["methods"][0]["predicted"] == [classes]
    assert len(report["methods"]) == 1
    assert report["methods"][0]["calibration"]["temperatures"] == [0.7]
    assert "no baselines" in out.out
    shutil.copy(trained.data / "run-02.csv", new / "run-02.csv")
    again = run("evaluate", trained.checkpoint, new)
    assert again.code == 2
    assert "a score on them would be memory" in again.err
    assert "run-02.csv" in again.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--protocol", "within-session"], "train with --protocol within-session"),
        (["--protocol", "cross"], "unknown protocol"),
    ],
)
def test_another_protocol_than_that_of_the_folds(trained, run, options, words):  # noqa: F811
    out = run("evaluate", trained.checkpoint, trained.data, *options)
    assert out.code == 2
    assert words in out.err


def test_folds_that_are_gone_are_asked_for(trained, tmp_path, run):  # noqa: F811
    shutil.copy(trained.checkpoint, tmp_path / "ckpt.pt")
    out = run("evaluate", tmp_path / "ckpt.pt", trained.data)
    assert out.code == 2
    assert "its fold models are not there" in out.err


def test_the_leaky_split_is_marked_wherever_its_figures_stand(tmp_path, run):  # noqa: F811
    trained = write_trained(tmp_path, protocol=LEAKY)
    out = run("evaluate", trained.checkpoint, trained.data, "--report", tmp_path / "e.json")
    assert out.code == 0, out.err
    report = json.loads((tmp_path / "e.json").read_text())
    assert "memory" in report["warning"]
    assert "warning: leaky-window" in out.err
    assert "WARNING: leaky-window" in out.out
    shared = {o["factor"]: o["n_train"] for o in report["overlap"]}
    assert shared["trial"] > 0.9 * report["n_trials"]
    assert report["n_trials"] > 18, "windows are scored, not trials"

"""Networks of others beside the model: what chooses their recipe, and what must not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.contract import Contract, Scaling  # noqa: E402
from mimamba_edge.data.dataset import open_dataset  # noqa: E402
from mimamba_edge.data.simulate import CH_NAMES, CLASSES, write_dataset  # noqa: E402
from mimamba_edge.data.windows import Windows, trial_windows  # noqa: E402
from mimamba_edge.errors import ConfigError, DependencyError  # noqa: E402
from mimamba_edge.export.evaluation import neural  # noqa: E402
from mimamba_edge.export.evaluation.neural import Network, check_networks, named, train_networks  # noqa: E402
from mimamba_edge.export.evaluation.personal import ADAPTATIONS  # noqa: E402
from mimamba_edge.export.jobs import run as jobs  # noqa: E402
from mimamba_edge.export.training.fit import Hyperparameters, fit, predict  # noqa: E402
from mimamba_edge.export.training.protocol import Fold, split  # noqa: E402
from mimamba_edge.export.training.selection import mean_of_trials  # noqa: E402
from mimamba_edge.signal.filters import default_filters  # noqa: E402
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401

HERE = "tests.evaluation.test_neural"
POWER = Network("power", f"{HERE}:Power")
SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "formats" / "evaluation.schema.json"


class Power(torch.nn.Module):
    """Linear in the log power of each channel at each of a few frequencies."""

    def __init__(self, n_chans: int, n_times: int, n_outputs: int) -> None:
        super().__init__()
        self.final_layer = torch.nn.Linear(n_chans * 32, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final_layer(torch.fft.rfft(x, dim=2).abs()[..., 1:33].add(1e-3).log().flatten(1))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    write_dataset(folder, subjects=3, runs=1, trials=6, seed=4)
    return folder


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(
        ch_names=CH_NAMES,
        sfreq=128.0,
        n_times=128,
        hop=128,
        class_names=CLASSES,
        filters=default_filters(128.0, 50.0),
        scaling=Scaling("none"),
    )


@pytest.fixture(scope="module")
def held_out(data: Path, contract: Contract) -> tuple[Windows, list[Fold]]:
    return split(trial_windows(open_dataset(data), contract), "cross-subject")


RECIPES = {
    "fast": Hyperparameters(epochs=8, learning_rate=1e-2, batch_size=8),
    "slow": Hyperparameters(epochs=4, learning_rate=1e-3),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Network, "recipes", RECIPES)
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "available_cores", lambda: 1)  # in this process, which has loaded torch


def by_hand(
    windows: Windows, contract: Contract, fold: Fold, recipe: Hyperparameters, seed: int
) -> tuple[tuple[float, float], np.ndarray]:
    """Return how a fit did on the validation group, and its classes of the tested trials."""
    rows = {name: np.isin(windows.trial_of, getattr(fold, name)) for name in ("train", "validation", "test")}
    scaling = fit_scaling(windows.data[rows["train"]])
    part = {name: (apply_scaling(windows.data[r], scaling), windows.labels[r]) for name, r in rows.items()}
    (blueprint,) = check_networks([POWER], contract).values()
    model, fitted = fit(blueprint, recipe, part["train"], validation=part["validation"], seed=seed)
    logits = mean_of_trials(predict(model, part["test"][0]), windows.trial_of[rows["test"]], fold.test)
    loss = fitted.history[fitted.best_epoch - 1]["validation_loss"]
    return (-fitted.validation_score, loss), logits.argmax(axis=1)


def test_the_validation_group_of_each_fold_chooses_the_recipe(held_out, contract, monkeypatch) -> None:
    windows, folds = held_out
    networks = check_networks([POWER], contract)
    trained = train_networks(networks, windows, folds, contract, seeds=2)[0]
    pairs = [(seed, fold) for seed in range(2) for fold in folds]
    for (seed, fold), name in zip(pairs, trained.recipes, strict=True):
        fits = {recipe: by_hand(windows, contract, fold, RECIPES[recipe], seed) for recipe in RECIPES}
        assert name == min(fits, key=lambda recipe: fits[recipe][0])
        assert np.array_equal(trained.predicted[seed, fold.test], fits[name][1])
    assert "of 2 recipes the validation groups chose, in 6 folds and seeds" in trained.note()
    monkeypatch.setattr(neural, "fit_fold", lambda *_: pytest.fail("it was trained before"))
    again = train_networks(networks, windows, folds, contract, seeds=2)[0]
    assert np.array_equal(again.predicted, trained.predicted)


def test_leak_labels_of_the_tested_trials_change_nothing(held_out, contract) -> None:
    windows, folds = held_out
    networks = check_networks([POWER], contract)
    trained = train_networks(networks, windows, folds[:1], contract, seeds=1)[0]
    tested = np.isin(windows.trial_of, folds[0].test)
    other = dataclasses.replace(windows, labels=np.where(tested, 1 - windows.labels, windows.labels))
    again = train_networks(networks, other, folds[:1], contract, seeds=1)[0]
    assert np.array_equal(again.predicted, trained.predicted)
    assert again.recipes == trained.recipes


def test_a_checkpoint_of_others_is_scored_beside_networks(data, tmp_path, run) -> None:  # noqa: F811
    spec, checkpoint = f"{HERE}:Power", tmp_path / "c.pt"
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                *("train", str(data), "--model", spec, "--protocol", "cross-subject", "--epochs", "8"),
                *("--seeds", "2", "-o", str(checkpoint), "--report", str(tmp_path / "t.json")),
            ]
        )
    out = run("evaluate", checkpoint, data)
    assert out.code == 2
    assert "add --model" in out.err
    report = tmp_path / "e.json"
    more = ("--against", spec, "--calibration-minutes", "0.13", "--report", report)
    out = run("evaluate", checkpoint, data, "--model", spec, *more)
    assert out.code == 0, out.err
    found = json.loads(report.read_text())
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    scored = json.loads((tmp_path / "t.json").read_text())["balanced_accuracy"]
    first, last = found["methods"][0], found["methods"][-1]
    assert first["name"] == "Power: PyTorch, fp32"
    assert first["balanced_accuracy"]["seeds"] == pytest.approx(scored["seeds"])
    assert (last["name"], last["kind"], len(last["predicted"])) == ("Power", "network", 2)
    adapted = [point["adapted"] for point in found["personal"]["points"]]
    assert adapted[1:] == [one.name for one in ADAPTATIONS], "its last layer is named as ours is"
    low, high = last["against"]["interval"]
    word = "excludes" if high < 0.05 else "does NOT exclude"
    assert f"({low:+.3f} to {high:+.3f}) on the same trials, which {word} that the first row loses" in out.out
    new = tmp_path / "new"
    write_dataset(new, runs=1, trials=4, seed=9)
    out = run("evaluate", checkpoint, new, "--model", spec, "--report", report)
    assert out.code == 0, out.err
    assert json.loads(report.read_text())["trained_on"] == "unseen"


def test_what_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="timesnet"):
        named("eegnets")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"\.\[baselines\]"):
        named("eegnet")
    assert named("a.b:C") == Network("C", "a.b:C")

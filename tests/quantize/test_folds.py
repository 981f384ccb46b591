"""Out-of-fold accuracy: what is counted, against predictions made another way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from onnx import ModelProto, numpy_helper  # noqa: E402
from scipy.stats import binom  # noqa: E402

from mimamba_edge.artifact import sha256_file  # noqa: E402
from mimamba_edge.data.dataset import open_dataset  # noqa: E402
from mimamba_edge.data.labels import read_labels  # noqa: E402
from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.data.windows import trial_windows  # noqa: E402
from mimamba_edge.errors import DataError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.quantize.folds import find_folds, paired_accuracy  # noqa: E402
from mimamba_edge.export.quantize.recipes import Recipe  # noqa: E402
from mimamba_edge.export.runner import OracleRunner  # noqa: E402
from mimamba_edge.export.training.protocol import make_folds  # noqa: E402
from mimamba_edge.export.training.train import fold_name  # noqa: E402
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling  # noqa: E402
from tests.onnx.conftest import make_checkpoint  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@dataclasses.dataclass(frozen=True)
class Turned(Recipe):
    """Swaps the two classes for windows of one half of the logits' range: loses and gains trials."""

    def make(self, model, windows=None, *, method="mse", on_step=lambda _: None):
        out = ModelProto()
        out.CopyFrom(model)
        weight = next(t for t in out.graph.initializer if t.name == "final_layer.weight")
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        return out


@dataclasses.dataclass(frozen=True)
class Trained:
    checkpoint: Path
    folds: Path
    data: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """Fold checkpoints as `train` lays them out, with weights that nobody trained."""
    root = tmp_path_factory.mktemp("run")
    data = root / "set"
    write_dataset(data, runs=3, trials=6)
    first = load_checkpoint(
        make_checkpoint(root / "first.pt", n_chans=4, n_times=64, n_outputs=2, sfreq=64.0, n_layers=1)
    )
    trials = read_labels(data)
    contract = dataclasses.replace(
        first.contract,
        ch_names=("TP9", "AF7", "AF8", "TP10"),
        class_names=tuple(sorted({t.label for t in trials})),
        training={
            "protocol": "leave-one-run-out",
            "data": {"labels_sha256": sha256_file(data / "labels.csv")},
        },
    )
    windows = trial_windows(open_dataset(data), contract)
    for number, fold in enumerate(make_folds(windows.trials, "leave-one-run-out")):
        torch.manual_seed(number)
        model = MSiMamba(**first.config.to_dict()).eval()
        part = windows.data[np.isin(windows.trial_of, fold.train)]
        own = dataclasses.replace(contract, scaling=fit_scaling(part))
        save_checkpoint(root / "ckpt-folds" / f"{fold_name(0, fold)}.pt", model, own)
    save_checkpoint(root / "ckpt.pt", model, contract)
    return Trained(root / "ckpt.pt", root / "ckpt-folds", data)


def oracle_right(trained: Trained) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and the float64 oracle's class of every trial, and the class if logits are turned."""
    contract = load_checkpoint(trained.checkpoint).contract
    windows = trial_windows(open_dataset(trained.data), contract)
    labels = np.array([windows.class_names.index(t.label) for t in windows.trials])
    plain, turned = np.full(len(labels), -1), np.full(len(labels), -1)
    for fold in make_folds(windows.trials, "leave-one-run-out"):
        path = trained.folds / f"{fold_name(0, fold)}.pt"
        held = load_checkpoint(path)
        bias = held.state_dict["final_layer.bias"].numpy()
        with OracleRunner(path) as runner:
            for trial in fold.test:
                part = windows.data[windows.trial_of == trial]
                logits = runner.logits(apply_scaling(part, held.contract.scaling)).mean(axis=0)
                plain[trial], turned[trial] = logits.argmax(), (2 * bias - logits).argmax()
    return labels, plain, turned


def test_trials_lost_and_gained_are_the_oracles(trained):
    contract = load_checkpoint(trained.checkpoint).contract
    labels, plain, turned = oracle_right(trained)
    done = []
    recipe = Turned("turned", "int8", ".x", "cpu", None, calibrated=True)
    got = paired_accuracy(
        trained.folds, open_dataset(trained.data), contract, recipe, done=lambda: done.append(1)
    )
    before, after = plain == labels, turned == labels
    assert got["n_trials"] == len(labels) == 18
    assert got["right"] == {"fp32": before.sum(), "int8": after.sum()}
    lost, gained = (before & ~after).sum(), (after & ~before).sum()
    assert lost
    assert gained
    assert (got["lost"], got["gained"], got["net_loss"]) == (lost, gained, lost - gained)
    worst = max(lost, gained)
    if lost != gained:  # exact McNemar: both tails of a fair coin
        assert got["mcnemar_p"] == pytest.approx(2 * binom.sf(worst - 1, lost + gained, 0.5))
    assert got["interval"][0] <= got["difference"] <= got["interval"][1]
    assert len(done) == 3


def test_other_labels_are_refused(trained, tmp_path):
    contract = load_checkpoint(trained.checkpoint).contract
    other = tmp_path / "other"
    write_dataset(other, runs=3, trials=6, seed=1)
    recipe = Turned("turned", "int8", ".x", "cpu", None, calibrated=True)
    with pytest.raises(DataError, match="not the data set"):
        paired_accuracy(trained.folds, open_dataset(other), contract, recipe)


def test_folds_of_another_model_are_refused(trained):
    contract = load_checkpoint(trained.checkpoint).contract
    recipe = Turned("turned", "int8", ".x", "cpu", None, calibrated=True)
    other = dataclasses.replace(contract, model={**contract.model, "d_model": 99})
    with pytest.raises(DataError, match="not a fold model of this model"):
        paired_accuracy(trained.folds, open_dataset(trained.data), other, recipe)


def test_a_missing_fold_is_named(trained, tmp_path):
    contract = load_checkpoint(trained.checkpoint).contract
    recipe = Turned("turned", "int8", ".x", "cpu", None, calibrated=True)
    with pytest.raises(DataError, match="no checkpoint of the fold"):
        paired_accuracy(tmp_path, open_dataset(trained.data), contract, recipe)


def test_folds_are_found_by_the_checkpoint_beside_them(trained, tmp_path, monkeypatch):
    source = sha256_file(trained.checkpoint)
    model = trained.checkpoint.parent / "out" / "model.onnx"
    assert find_folds(model, source) == trained.folds
    assert find_folds(model, "0" * 64) is None
    assert find_folds(tmp_path / "a" / "model.onnx", source) is None
    monkeypatch.chdir(trained.checkpoint.parent)
    assert find_folds(tmp_path / "a" / "model.onnx", source) == trained.folds

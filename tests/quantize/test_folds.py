"""Out-of-fold accuracy: what is counted, against predictions made another way."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from scipy.stats import binom  # noqa: E402

from mimamba_edge.artifact import sha256_file  # noqa: E402
from mimamba_edge.data.dataset import open_dataset  # noqa: E402
from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.errors import DataError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.quantize.folds import find_folds, paired_accuracy  # noqa: E402
from tests.evaluation.trained import Trained, Turned, oracle_classes, write_trained  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    return write_trained(tmp_path_factory.mktemp("run"))


def test_trials_lost_and_gained_are_the_oracles(trained):
    contract = load_checkpoint(trained.checkpoint).contract
    labels, plain, turned = oracle_classes(trained)
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


def test_a_fold_model_of_another_split_is_refused(trained, tmp_path):
    """Its fold has the same name here, but it was fitted on a trial that it would be scored on."""
    contract = load_checkpoint(trained.checkpoint).contract
    folds = tmp_path / "ckpt-folds"
    for path in trained.folds.iterdir():
        held = load_checkpoint(path)
        told = {**held.contract.training, "fold_sha256": "0" * 64}
        save_checkpoint(folds / path.name, held.build(), dataclasses.replace(held.contract, training=told))
    recipe = Turned("turned", "int8", ".x", "cpu", None, calibrated=True)
    with pytest.raises(DataError, match="fitted on other trials"):
        paired_accuracy(folds, open_dataset(trained.data), contract, recipe)

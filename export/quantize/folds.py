"""Accuracy of a lower precision out of fold: every trial is scored by a model that never saw it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from scipy.stats import binomtest

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import LOGITS, WINDOWS, Contract
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import LABELS
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.errors import DataError
from mimamba_edge.export.checkpoint import load_checkpoint
from mimamba_edge.export.onnx.export import to_onnx
from mimamba_edge.export.quantize.recipes import Recipe
from mimamba_edge.export.training.protocol import Fold, split
from mimamba_edge.export.training.scores import paired_difference
from mimamba_edge.export.training.train import fold_name
from mimamba_edge.runtime.ort import open_session
from mimamba_edge.signal.scaling import apply_scaling

__all__ = ["find_folds", "paired_accuracy"]

_CALIBRATION = 256
_SUFFIXES = (".pt", ".safetensors")


def find_folds(model: Path, source_sha256: str) -> Path | None:
    """Return the folder of fold checkpoints beside the checkpoint that a model was exported from.

    Looked for beside the model, one folder up and in the current folder.
    """
    for near in dict.fromkeys((model.parent, model.parent.parent, Path.cwd())):
        for folder in sorted(near.glob("*-folds")):
            stem = folder.name.removesuffix("-folds")
            for checkpoint in (folder.with_name(stem + suffix) for suffix in _SUFFIXES):
                if checkpoint.is_file() and sha256_file(checkpoint) == source_sha256:
                    return folder
    return None


def paired_accuracy(
    folder: Path,
    dataset: Dataset,
    contract: Contract,
    recipe: Recipe,
    *,
    method: str = "mse",
    done: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Score the fp32 and the lower precision of every fold's model on the fold's own test trials.

    One seed: each trial counts once. A fold's model is calibrated on its training trials.

    Args:
        folder: Fold checkpoints as ``train`` wrote them.
        dataset: What they were trained on.
        contract: Of the published model: signal path, classes, protocol.
        recipe: What is judged.
        method: Of calibration.
        done: Called after each fold.

    Returns:
        ``n_trials``; ``right`` of both; ``lost`` (fp32 alone right), ``gained``, ``net_loss``; ``mcnemar_p``
        (exact); ``difference`` in balanced accuracy with its ``interval``, ``method``, ``groups`` and their
        ``unit``: trial or subject.

    Raises:
        DataError: The data are others than in training, or a fold's checkpoint is missing.
    """
    _check_labels(contract, dataset)
    windows = trial_windows(dataset, contract)
    windows, folds = split(windows, str(contract.training["protocol"]))
    for fold in folds:
        _check_fold(_checkpoint_of(folder, fold), contract)
    right: dict[str, NDArray[np.float64]] = {}
    for name in ("fp32", recipe.precision):
        right[name] = np.full(len(windows.trials), np.nan)
    labels = np.array([windows.class_names.index(t.label) for t in windows.trials])
    for fold in folds:
        held = load_checkpoint(_checkpoint_of(folder, fold))
        scaled = apply_scaling(windows.data, held.contract.scaling)
        train = scaled[np.isin(windows.trial_of, fold.train)]
        few = train[np.linspace(0, len(train) - 1, min(len(train), _CALIBRATION)).round().astype(int)]
        plain = to_onnx(held.build(), held.contract)
        models = {"fp32": plain, recipe.precision: recipe.make(plain, few, method=method)}
        for name, model in models.items():
            guess = _guess(model, scaled, windows.trial_of, fold.test)
            right[name][fold.test] = guess == labels[fold.test]
        done()
    before, after = right["fp32"], right[recipe.precision]
    lost, gained = int((before > after).sum()), int((after > before).sum())
    subjects = [t.subject for t in windows.trials]
    units = subjects if len(set(subjects)) > 1 else [str(i) for i in range(len(labels))]
    return {
        "folds": str(folder),
        "protocol": contract.training["protocol"],
        "n_trials": len(labels),
        "right": {"fp32": int(before.sum()), recipe.precision: int(after.sum())},
        "lost": lost,
        "gained": gained,
        "net_loss": lost - gained,
        "mcnemar_p": float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
        **paired_difference(labels, after, before, units),
        "unit": "trial" if units is not subjects else "subject",
    }


def _check_labels(contract: Contract, dataset: Dataset) -> None:
    trained = contract.training.get("data", {}).get("labels_sha256")
    found = dataset.labels_sha256()
    if trained is None or "protocol" not in contract.training or found != trained:
        raise DataError(
            f"{dataset.spec} is not the data set that the model was trained on: "
            "no trial is known to be held out",
            got=f"{LABELS} with sha256 {found}",
            expected=f"sha256 {trained}",
            do="name the data set of the training, or leave out --folds",
        )


def _check_fold(path: Path, contract: Contract) -> None:
    """Check that a fold's model is the published one but for its weights and scaling.

    Raises:
        DataError: It takes other windows, names other classes or is another network.
    """
    keys = ("ch_names", "sfreq", "n_times", "class_names", "reference", "filters", "resampler", "model")
    one, other = contract.to_dict(), load_checkpoint(path).contract.to_dict()
    differing = [key for key in keys if one[key] != other[key]]
    if differing:
        raise DataError(
            f"{path} is not a fold model of this model: their contracts differ in {', '.join(differing)}",
            got={key: other[key] for key in differing},
            expected={key: one[key] for key in differing},
            do="name the folder that `train` wrote beside the model's checkpoint",
        )


def _checkpoint_of(folder: Path, fold: Fold) -> Path:
    for suffix in _SUFFIXES:
        path = folder / (fold_name(0, fold) + suffix)
        if path.is_file():
            return path
    raise DataError(
        f"{folder} has no checkpoint of the fold {fold.name}",
        expected=fold_name(0, fold) + ".pt",
        do="name the folder that `train` wrote beside its checkpoint",
    )


def _guess(
    model: ModelProto, scaled: NDArray[np.float32], trial_of: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the class of each tested trial: the mean of its windows' logits, as in training."""
    session = open_session(model.SerializeToString(), name="a fold's model", threads=1)
    out = []
    for trial in test:
        logits = session.run([LOGITS], {WINDOWS: scaled[trial_of == trial]})[0]
        out.append(int(logits.mean(axis=0).argmax()))
    return np.array(out, dtype=np.int64)

"""Accuracy of a lower precision out of fold: every trial is scored by a model that never saw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.errors import DataError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint
from mimamba_edge.export.onnx.export import to_onnx
from mimamba_edge.export.quantize.recipes import Recipe
from mimamba_edge.export.training.fit import Scaled
from mimamba_edge.export.training.protocol import Fold, fold_mark, split
from mimamba_edge.export.training.scores import independent_units, paired_difference
from mimamba_edge.export.training.selection import mean_of_trials
from mimamba_edge.export.training.train import fold_name
from mimamba_edge.runtime.ort import open_session
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = [
    "Answer",
    "FoldLogits",
    "calibration_windows",
    "check_labels",
    "find_folds",
    "fold_checkpoint",
    "held_out_logits",
    "loss_and_gain",
    "onnx_answer",
    "paired_accuracy",
    "seeds_in",
]

Answer = Callable[[Scaled], NDArray[np.floating[Any]]]
"""Scaled windows ``(n, c, l)`` to logits ``(n, k)``; it takes them in batches."""

_CALIBRATION = 256
_BATCH = 256
_SUFFIXES = (".pt", ".safetensors")


@dataclass(frozen=True)
class FoldLogits:
    """What fold models say of what they never saw, by the names of what ran them.

    Attributes:
        trials: Logits of each trial ``(n_trials, k)``: the mean over its windows.
        windows: Of each window ``(n, k)``, in the order of the data set's windows.
        temperature: Of the fold that scored the window ``(n,)``: fitted on what the other folds held out.
    """

    trials: dict[str, NDArray[np.float64]]
    windows: dict[str, NDArray[np.float32]]
    temperature: NDArray[np.float64]


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
    check_labels(contract, dataset)
    windows = trial_windows(dataset, contract)
    windows, folds = split(windows, str(contract.training["protocol"]))

    def answers(held: Checkpoint, train: Scaled) -> dict[str, Answer]:
        plain = to_onnx(held.build(), held.contract)
        made = recipe.make(plain, calibration_windows(train), method=method)
        return {"fp32": onnx_answer(plain), recipe.precision: onnx_answer(made)}

    logits = held_out_logits(folder, windows, folds, contract, answers, done=done).trials
    labels = np.array([windows.class_names.index(t.label) for t in windows.trials])
    right = {name: (one.argmax(axis=1) == labels).astype(np.float64) for name, one in logits.items()}
    before, after = right["fp32"], right[recipe.precision]
    units, unit = independent_units(
        [t.subject for t in windows.trials], [f"{t.file} {t.start_s}" for t in windows.trials]
    )
    return {
        "folds": str(folder),
        "protocol": contract.training["protocol"],
        "n_trials": len(labels),
        "right": {"fp32": int(before.sum()), recipe.precision: int(after.sum())},
        **loss_and_gain(before, after),
        **paired_difference(labels, after, before, units),
        "unit": unit,
    }


def loss_and_gain(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, Any]:
    """Count the trials on which one of two methods alone is right, with McNemar's exact test.

    Args:
        before: 1 where the first is right ``(n,)``.
        after: The second's.

    Returns:
        ``lost`` (the first alone right), ``gained``, ``net_loss``, ``mcnemar_p``.
    """
    lost, gained = int((before > after).sum()), int((after > before).sum())
    return {
        "lost": lost,
        "gained": gained,
        "net_loss": lost - gained,
        "mcnemar_p": float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0,
    }


def held_out_logits(
    folder: Path,
    windows: Windows,
    folds: Sequence[Fold],
    contract: Contract,
    answers: Callable[[Checkpoint, Scaled], Mapping[str, Answer]],
    *,
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> FoldLogits:
    """Return the logits of every trial and window by fold models that never saw them.

    All fold models are checked before the first is run.

    Args:
        folder: Fold checkpoints as ``train`` wrote them.
        windows: With the trials that the folds count in.
        folds: See :func:`mimamba_edge.export.training.protocol.split`.
        contract: Of the published model.
        answers: What runs a fold's checkpoint, one or several by name; given the checkpoint and the scaled
            windows of its training part, to calibrate on.
        seed: Whose fold models.
        done: Called after each fold.

    Raises:
        DataError: A fold's checkpoint is missing or is another model's.
    """
    paths = [fold_checkpoint(folder, fold, seed) for fold in folds]
    for fold, path in zip(folds, paths, strict=True):
        _check_fold(path, contract, fold_mark(windows.trials, fold))
    found = FoldLogits({}, {}, np.ones(len(windows.trial_of)))
    for fold, path in zip(folds, paths, strict=True):
        held = load_checkpoint(path)
        scaling = held.contract.scaling
        train, tested = (np.flatnonzero(np.isin(windows.trial_of, part)) for part in (fold.train, fold.test))
        known, asked = (ScaledWindows(windows.data, rows, scaling) for rows in (train, tested))
        owner = windows.trial_of[tested]
        found.temperature[tested] = held.contract.temperature
        for name, answer in answers(held, known).items():
            logits = np.asarray(answer(asked), np.float32)
            k = logits.shape[1]
            of_trial = found.trials.setdefault(name, np.full((len(windows.trials), k), np.nan))
            of_trial[fold.test] = mean_of_trials(logits, owner, fold.test)
            every = np.full((len(windows.trial_of), k), np.nan, np.float32)
            found.windows.setdefault(name, every)[tested] = logits
        done()
    return found


def seeds_in(folder: Path, fold: Fold) -> list[int]:
    """Return the seeds that a folder of fold checkpoints holds, of the first one without a gap."""
    seeds: list[int] = []
    while any((folder / (fold_name(len(seeds), fold) + suffix)).is_file() for suffix in _SUFFIXES):
        seeds.append(len(seeds))
    return seeds


def calibration_windows(train: Scaled) -> NDArray[np.float32]:
    """Return the windows of a training part that ranges are taken from, spread evenly over it."""
    few: NDArray[np.float32] = train[
        np.linspace(0, len(train) - 1, min(len(train), _CALIBRATION)).round().astype(int)
    ]
    return few


def check_labels(contract: Contract, dataset: Dataset) -> None:
    """Check that a data set is the one that a model was trained on.

    Raises:
        DataError: It is another one.
    """
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


def _check_fold(path: Path, contract: Contract, mark: str) -> None:
    """Check that a fold's model is the published one but for its weights and scaling.

    Raises:
        DataError: It takes other windows, names other classes, is another network or was fitted on other
            trials than the fold's.
    """
    keys = ("ch_names", "sfreq", "n_times", "class_names", "reference", "filters", "resampler", "model")
    fold = load_checkpoint(path).contract
    one, other = contract.to_dict(), fold.to_dict()
    if fold.training.get("fold_sha256", mark) != mark:
        raise DataError(
            f"{path} was fitted on other trials than its fold has here: it may have seen what it would be "
            "scored on",
            do="train again: the trials that are used, or how they are split, have changed since",
        )
    differing = [key for key in keys if one[key] != other[key]]
    if differing:
        raise DataError(
            f"{path} is not a fold model of this model: their contracts differ in {', '.join(differing)}",
            got={key: other[key] for key in differing},
            expected={key: one[key] for key in differing},
            do="name the folder that `train` wrote beside the model's checkpoint",
        )


def fold_checkpoint(folder: Path, fold: Fold, seed: int) -> Path:
    """Return the path of the checkpoint that held a fold out.

    Raises:
        DataError: It is missing.
    """
    for suffix in _SUFFIXES:
        path = folder / (fold_name(seed, fold) + suffix)
        if path.is_file():
            return path
    raise DataError(
        f"{folder} has no checkpoint of the fold {fold.name}",
        expected=fold_name(seed, fold) + ".pt",
        do="name the folder that `train` wrote beside its checkpoint",
    )


def onnx_answer(model: ModelProto) -> Answer:
    """Return what runs a portable file's model in ONNX Runtime, without writing it."""
    session = open_session(model.SerializeToString(), name="a fold's model", threads=1)

    def answer(windows: Scaled) -> NDArray[np.float32]:
        starts = range(0, len(windows), _BATCH)
        parts = [session.run([LOGITS], {WINDOWS: windows[start : start + _BATCH]})[0] for start in starts]
        return np.concatenate(parts)

    return answer

"""Fold checkpoints as ``train`` lays them out, with weights that nobody trained, and what they answer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from mimamba_edge.artifact import sha256_file
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint
from mimamba_edge.export.families.msimamba.network import MSiMamba
from mimamba_edge.export.quantize.recipes import Recipe
from mimamba_edge.export.runner import OracleRunner
from mimamba_edge.export.training.protocol import fold_mark, split
from mimamba_edge.export.training.train import fold_name
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling
from tests.onnx.conftest import make_checkpoint


@dataclass(frozen=True)
class Turned(Recipe):
    """Turns the classifier's weights round, not its bias: loses and gains trials."""

    def make(self, model, windows=None, *, method="mse", on_step=lambda _: None):
        out = ModelProto()
        out.CopyFrom(model)
        weight = next(t for t in out.graph.initializer if t.name == "final_layer.weight")
        weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        return out


@dataclass(frozen=True)
class Trained:
    checkpoint: Path
    folds: Path
    data: Path


def write_trained(root: Path, *, protocol: str = "leave-one-run-out", seeds: int = 1) -> Trained:
    data = root / "set"
    write_dataset(data, runs=3, trials=6)
    first = load_checkpoint(
        make_checkpoint(root / "first.pt", n_chans=4, n_times=64, n_outputs=2, sfreq=64.0, n_layers=1)
    )
    trials = read_labels(data)
    dataset = open_dataset(data)
    contract = dataclasses.replace(
        first.contract,
        ch_names=("TP9", "AF7", "AF8", "TP10"),
        class_names=tuple(sorted({t.label for t in trials})),
        training={
            "protocol": protocol,
            "data": {"labels_sha256": sha256_file(data / "labels.csv")},
            "recordings": [dataset.recording_sha256(file)[:32] for file in dataset.files],
        },
    )
    windows, folds = split(trial_windows(dataset, contract), protocol)
    for seed in range(seeds):
        for number, fold in enumerate(folds):
            torch.manual_seed(100 * seed + number)
            model = MSiMamba(**first.config.to_dict()).eval()
            part = windows.data[np.isin(windows.trial_of, fold.train)]
            told = {"protocol": protocol, "fold_sha256": fold_mark(windows.trials, fold)}
            own = dataclasses.replace(
                contract, scaling=fit_scaling(part), training=told, temperature=1.0 + 0.5 * number
            )
            save_checkpoint(root / "ckpt-folds" / f"{fold_name(seed, fold)}.pt", model, own)
    published = dataclasses.replace(contract, scaling=own.scaling, temperature=0.7)
    save_checkpoint(root / "ckpt.pt", model, published)
    return Trained(root / "ckpt.pt", root / "ckpt-folds", data)


def oracle_classes(
    trained: Trained, protocol: str = "leave-one-run-out", seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return labels, the float64 oracle's class of every trial by its fold, and that with logits turned."""
    contract = load_checkpoint(trained.checkpoint).contract
    windows, folds = split(trial_windows(open_dataset(trained.data), contract), protocol)
    labels = np.array([windows.class_names.index(t.label) for t in windows.trials])
    plain, turned = np.full(len(labels), -1), np.full(len(labels), -1)
    for fold in folds:
        path = trained.folds / f"{fold_name(seed, fold)}.pt"
        held = load_checkpoint(path)
        bias = held.state_dict["final_layer.bias"].numpy()
        with OracleRunner(path) as runner:
            for trial in fold.test:
                part = windows.data[windows.trial_of == trial]
                logits = runner.logits(apply_scaling(part, held.contract.scaling)).mean(axis=0)
                plain[trial], turned[trial] = logits.argmax(), (2 * bias - logits).argmax()
    return labels, plain, turned

"""Fold models as ``train`` lays them out, with weights that nobody trained: a step of ``seed-size``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch

from benchmarks.seed_size import PROTOCOL
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.export.checkpoint import write_checkpoint
from mimamba_edge.export.training.pipeline import prepare
from mimamba_edge.export.training.protocol import fold_mark, split
from mimamba_edge.export.training.train import fold_name
from mimamba_edge.signal.scaling import fit_scaling


def main(spec: str, out: Path, channels: str) -> None:
    """Cut the windows of a data set and write a checkpoint and a fold model for each subject.

    Args:
        spec: The data set.
        out: The checkpoint.
        channels: Names, separated by commas; empty: the data set's own.
    """
    dataset = open_dataset(spec)
    named = tuple(channels.split(",")) if channels else None
    plan = prepare(dataset, PROTOCOL, window_s=1.0, sfreq=128.0, channels=named)
    torch.manual_seed(0)
    weights, config = plan.blueprint.network().state_dict(), plan.blueprint.config
    told = {"protocol": PROTOCOL, "data": {"labels_sha256": dataset.labels_sha256()}}
    scaling = fit_scaling(plan.windows.data)
    contract = dataclasses.replace(plan.contract, scaling=scaling, training=told)
    folder = out.with_name(f"{out.stem}-folds")
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(out, weights, config, contract)
    windows, folds = split(plan.windows, PROTOCOL)
    for fold in folds:
        own = {**told, "fold_sha256": fold_mark(windows.trials, fold)}
        path = folder / f"{fold_name(0, fold)}.pt"
        write_checkpoint(path, weights, config, dataclasses.replace(contract, training=own))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

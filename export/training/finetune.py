"""Training that goes on from a checkpoint, on labelled minutes of somebody or of another day."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from mimamba_edge.artifact import sha256_file
from mimamba_edge.console import show_note, show_warning
from mimamba_edge.contract import Contract
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import LABELS
from mimamba_edge.data.mains import clear_mains
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.errors import ConfigError, DataError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint
from mimamba_edge.export.foreign.blueprint import checked_blueprint
from mimamba_edge.export.foreign.checkpoint import load_into, need_foreign
from mimamba_edge.export.network import Blueprint, FamilyBlueprint
from mimamba_edge.export.training.fit import TRAINED_LAYER, Hyperparameters, Start
from mimamba_edge.export.training.pipeline import TrainingSetup, recording_hashes
from mimamba_edge.export.training.protocol import make_folds
from mimamba_edge.family import family_of
from mimamba_edge.signal.filters import with_mains

__all__ = ["FROZEN", "UNFROZEN", "prepare_from"]

UNFROZEN = Hyperparameters(epochs=10, batch_size=8, learning_rate=2e-4)
"""All weights, carefully: a tenth of the learning rate of training, a quarter of its epochs (ours)."""
FROZEN = Hyperparameters(epochs=20, batch_size=8, learning_rate=1e-3)
"""The final layer alone: a linear model of fixed features, which takes larger steps without harm (ours)."""


def prepare_from(
    init: Path,
    dataset: Dataset,
    protocol: str,
    *,
    frozen: bool = False,
    own_scaling: bool = False,
    window_s: float | None = None,
    sfreq: float | None = None,
    channels: tuple[str, ...] | None = None,
    epochs: int | None = None,
    model: str | None = None,
) -> TrainingSetup:
    """Read a data set and fix what will be trained from a checkpoint.

    Channels, rate, window, hop, filters and classes are the checkpoint's. The notch moves where a mains line
    stands out clearly at another frequency.

    Args:
        init: The checkpoint.
        dataset: Labelled recordings, none of which the checkpoint was trained on.
        protocol: How trials are split.
        frozen: Fit :data:`mimamba_edge.export.training.fit.TRAINED_LAYER` only.
        own_scaling: Median and IQR of these trials' training part instead of the checkpoint's.
        window_s: What the user asked for; it must be what the checkpoint has.
        sfreq: The same.
        channels: The same.
        epochs: Length of the schedule, or ``None`` for that of :data:`FROZEN` or :data:`UNFROZEN`.
        model: Factory of the checkpoint's network, if it is one of others.

    Raises:
        ConfigError: The checkpoint has another window, rate or channels than asked for.
        CheckpointError: It cannot be used.
        DataError: The classes are not its own, a recording was in its training, or the data set cannot be
            used.
    """
    parent = load_checkpoint(init)
    contract = parent.contract
    blueprint = _blueprint(parent, init, model, frozen=frozen)
    _check_wishes(contract, window_s, sfreq, channels)
    _check_classes(contract, dataset)
    make_folds(dataset.trials, protocol)
    hashes = recording_hashes(dataset)
    _check_unseen(parent, init, dataset, hashes)
    contract = _with_mains_here(contract, dataset)
    windows = trial_windows(dataset, contract)
    recipe = FROZEN if frozen else UNFROZEN
    if epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=epochs)
    state = {name: value.numpy() for name, value in parent.state_dict.items()}
    lineage: dict[str, Any] = {
        "file": init.name,
        "sha256": sha256_file(init),
        "trained": [k for k in state if k.startswith(TRAINED_LAYER)] if frozen else "all parameters",
        "scaling": "fitted on these trials" if own_scaling else "the parent's",
        **{k: contract.training[k] for k in ("protocol", "warning") if k in contract.training},
    }
    before = contract.training.get("recordings", [])
    return TrainingSetup(
        dataset,
        protocol,
        windows,
        dataclasses.replace(contract, training={}),
        blueprint,
        recipe,
        start=Start(state, frozen, own_scaling),
        parent=lineage,
        recordings=(*before, *hashes.values()),
    )


def _blueprint(parent: Checkpoint, init: Path, model: str | None, *, frozen: bool) -> Blueprint[nn.Module]:
    if model is None:
        if not family_of(parent.contract).has_code:
            parent.build()  # its error says what to do
        return FamilyBlueprint(parent.config, parent.contract.family)
    need_foreign(parent, init, model)
    blueprint = checked_blueprint(model, parent.contract)
    network = load_into(blueprint, parent, init)
    if frozen and not any(name.startswith(f"{TRAINED_LAYER}.") for name, _ in network.named_parameters()):
        raise ConfigError(
            f"{model} has no layer named {TRAINED_LAYER}, which --freeze backbone trains",
            got=", ".join(name for name, _ in network.named_children()),
            do="leave --freeze out, or name its last layer so",
        )
    return blueprint


def _check_wishes(
    contract: Contract, window_s: float | None, sfreq: float | None, channels: tuple[str, ...] | None
) -> None:
    wishes = (
        ("--window", window_s, contract.window_s),
        ("--sfreq", sfreq, contract.sfreq),
        ("--channels", channels, contract.ch_names),
    )
    for option, wished, held in wishes:
        if wished is not None and wished != held:
            shown = [",".join(v) if isinstance(v, tuple) else f"{v:g}" for v in (wished, held)]
            raise ConfigError(
                f"{option} does not match the checkpoint of --init, whose weights need the same value",
                got=shown[0],
                expected=shown[1],
                do=f"leave {option} out, or train from scratch without --init",
            )


def _check_classes(contract: Contract, dataset: Dataset) -> None:
    found = {trial.label for trial in dataset.trials}
    if found != set(contract.class_names):
        raise DataError(
            f"the classes of {dataset.spec} are not those of the checkpoint: they must match by name",
            got=", ".join(sorted(found)),
            expected=", ".join(contract.class_names),
            do=f"name the labels in {LABELS} as the checkpoint does and give each class some trials, "
            "or train from scratch without --init",
        )


def _check_unseen(parent: Checkpoint, init: Path, dataset: Dataset, hashes: dict[str, str]) -> None:
    """Refuse recordings that the weights have seen: every score on them would be memory."""
    training = parent.contract.training
    seen = set(training.get("recordings", []))
    again = [name for name, digest in hashes.items() if digest in seen]
    if training.get("data", {}).get("labels_sha256") == dataset.labels_sha256():
        again = sorted(hashes)
    if again:
        raise DataError(
            f"{init} was trained on recordings of {dataset.spec}: a score on them would be meaningless",
            got=", ".join(again),
            expected="recordings that were made since",
            do="give a folder with the new recordings and their labels only",
        )
    if not seen:
        show_warning(
            f"{init} does not list the recordings it was trained on: make sure that none is in {dataset.spec}"
        )


def _with_mains_here(contract: Contract, dataset: Dataset) -> Contract:
    known = dataset.processing
    found = known.mains_hz if known.known else clear_mains(dataset.recordings())
    if found is None or found == contract.mains_hz:
        return contract
    before = "no notch" if contract.mains_hz is None else f"a notch at {contract.mains_hz:g} Hz"
    show_note(
        f"mains {found:g} Hz in these recordings; the checkpoint has {before}, the new one is at {found:g}"
    )
    filters = with_mains(contract.filters, contract.mains_hz, found)
    return dataclasses.replace(contract, filters=filters, mains_hz=found)

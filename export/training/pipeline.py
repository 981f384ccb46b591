"""What ``train`` does from folder to checkpoint: windows, folds, scores, refit, files."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mimamba_edge import __version__
from mimamba_edge.artifact import source_state
from mimamba_edge.console import printable, show_note, show_table, show_warning
from mimamba_edge.contract import DEFAULT_FAMILY, FOREIGN_FAMILY, Contract, Scaling, default_hop
from mimamba_edge.data.channels import eeg_channels, select
from mimamba_edge.data.dataset import Dataset, Processing
from mimamba_edge.data.labels import class_names
from mimamba_edge.data.mains import detect_mains
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.errors import ConfigError, DataError, listed
from mimamba_edge.export.foreign.blueprint import checked_blueprint
from mimamba_edge.export.jobs.run import Engine
from mimamba_edge.export.network import Blueprint, FamilyBlueprint
from mimamba_edge.export.training.fit import Hyperparameters, Start
from mimamba_edge.export.training.progress import shown
from mimamba_edge.export.training.protocol import LEAKY, LEAKY_WARNING, make_folds
from mimamba_edge.export.training.scores import format_score
from mimamba_edge.export.training.train import TrainingRun, cross_validate, publish, refit, work
from mimamba_edge.family import Family, family_named, family_of
from mimamba_edge.naming import close_names
from mimamba_edge.signal.filters import default_filters

__all__ = ["TrainingSetup", "prepare", "recording_hashes", "run_training"]


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that is fixed before the first fit.

    Attributes:
        dataset: What it is trained on.
        protocol: See :func:`mimamba_edge.export.training.protocol.make_folds`.
        windows: Its trials' windows in microvolts, unscaled.
        contract: The contract, its scaling still without numbers.
        blueprint: Makes the networks.
        recipe: Training recipe.
        start: Weights to start from, or ``None`` for random ones.
        parent: The checkpoint they come from, as the contract tells it.
        recordings: Hashes of all recordings that the published weights will have been fitted on.
    """

    dataset: Dataset
    protocol: str
    windows: Windows
    contract: Contract
    blueprint: Blueprint[nn.Module]
    recipe: Hyperparameters
    start: Start | None = None
    parent: dict[str, Any] | None = None
    recordings: tuple[str, ...] = ()

    def computed(self, device: str, precision: str) -> TrainingSetup:
        """Return it with another device and precision of the fits."""
        recipe = dataclasses.replace(self.recipe, device=device, precision=precision)
        return dataclasses.replace(self, recipe=recipe)


def prepare(
    dataset: Dataset,
    protocol: str,
    *,
    window_s: float,
    sfreq: float,
    channels: tuple[str, ...] | None,
    epochs: int | None = None,
    model: str | None = None,
) -> TrainingSetup:
    """Read a data set and fix what will be trained.

    Args:
        dataset: Labelled recordings.
        protocol: How trials are split.
        window_s: Length of a window in seconds.
        sfreq: Rate of the windows in Hz.
        channels: Channel names in the order of the input, or ``None`` for the data set's own choice, or
            where it makes none those of the first recording that may be EEG.
        epochs: Length of the schedule, or ``None`` for the recipe's.
        model: ``package.module:factory`` of a network of others, which is run; by default ours is trained,
            with its default configuration.

    Raises:
        DataError: See :mod:`mimamba_edge.data.labels` and :mod:`mimamba_edge.data.windows`.
        ConfigError: A window that no model can take, an unknown protocol, or a factory that cannot be used.
        ExportError: A network of others that does not give one number a class.
    """
    # Also before the recordings are read: a table that cannot be split needs no filtering.
    make_folds(dataset.trials, protocol)
    family = DEFAULT_FAMILY if model is None else FOREIGN_FAMILY
    n_times = _n_times(family_named(family), window_s, sfreq)
    contract = _contract(dataset, n_times=n_times, sfreq=sfreq, channels=channels)
    contract = dataclasses.replace(contract, family=family)
    blueprint = _blueprint(contract) if model is None else checked_blueprint(model, contract)
    windows = trial_windows(dataset, contract)
    recipe = Hyperparameters() if epochs is None else dataclasses.replace(Hyperparameters(), epochs=epochs)
    recordings = tuple(recording_hashes(dataset).values())
    return TrainingSetup(dataset, protocol, windows, contract, blueprint, recipe, recordings=recordings)


def _blueprint(contract: Contract) -> FamilyBlueprint:
    sizes = {name: getattr(contract, name) for name in ("n_chans", "n_times", "n_outputs", "sfreq")}
    return FamilyBlueprint(family_of(contract).config(sizes), contract.family)


def recording_hashes(dataset: Dataset) -> dict[str, str]:
    """Return the first half of each recording's SHA-256 by its name in the data set."""
    return {file: dataset.recording_sha256(file)[:32] for file in dataset.files}


def _n_times(family: Family, window_s: float, sfreq: float) -> int:
    samples = window_s * sfreq
    least, most = family.n_times
    if not (math.isfinite(samples) and least <= round(samples) <= most):
        raise ConfigError(
            "no model can use a window of this length at this rate",
            got=f"--window {window_s:g} s at --sfreq {sfreq:g} Hz: n_times {samples:g}",
            expected=f"n_times from {least} to {most}",
            do="choose another --window or --sfreq",
        )
    return round(samples)


def _contract(dataset: Dataset, *, n_times: int, sfreq: float, channels: tuple[str, ...] | None) -> Contract:
    """Derive the contract from the recordings; only the scaling's numbers are left to the fits."""
    classes = class_names(dataset.trials)
    first = dataset.read(dataset.files[0])
    found, others = (dataset.channels, {}) if dataset.channels else eeg_channels(first)
    names = channels or found
    if not names:
        raise DataError(
            f"{first.path}: no channel looks like EEG, by name or by signal",
            got=_listed(others),
            do="name those that are EEG: --channels A,B",
        )
    further = (dataset.read_channels(file, names) for file in dataset.files[1:])
    chosen = (
        _select(recording, names, dataset, wished=bool(channels))
        for recording in itertools.chain([first], further)
    )
    processing = dataset.processing
    if processing.known:
        next(chosen)
        mains_hz = processing.mains_hz
    else:
        mains_hz = detect_mains(chosen)
    if others and not channels:
        show_note(
            f"channels that are not EEG are left out: {_listed(others)}; to choose channels: --channels"
        )
    if sfreq > first.sfreq:
        show_note(
            f"{first.path} has {first.sfreq:g} Hz: windows at {sfreq:g} Hz hold nothing more; lower: --sfreq"
        )
    return Contract(
        ch_names=names,
        sfreq=sfreq,
        n_times=n_times,
        hop=default_hop(sfreq),
        class_names=classes,
        reference=processing.reference,
        filters=default_filters(sfreq, mains_hz),
        mains_hz=mains_hz,
        scaling=Scaling("none"),
    )


def _select(recording: Recording, names: tuple[str, ...], dataset: Dataset, *, wished: bool) -> Recording:
    """Return the channels to train on of a recording.

    Raises:
        DataError: It lacks one.
    """
    missing = [name for name in names if name not in recording.ch_names]
    if missing and wished:
        near = [close_names(name, recording.ch_names) for name in missing]
        raise DataError(
            f"{recording.path} has no channel {', '.join(map(printable, missing))}, named by --channels",
            got=", ".join(map(printable, recording.ch_names)),
            do="; ".join(dict.fromkeys(filter(None, near))) or "name channels that all recordings have",
        )
    if missing:
        common = [name for name in names if all(name in other.ch_names for other in dataset.recordings())]
        raise DataError(
            f"the recordings have different channels: {recording.path} lacks {', '.join(missing)}",
            got=", ".join(map(printable, recording.ch_names)),
            expected=f"{', '.join(map(printable, names))}, as in {dataset.read(dataset.files[0]).path}",
            do=f"name those that all have: --channels {','.join(common)}" if common else None,
        )
    return select(recording, names)


def _listed(others: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, why in others.items():
        by_reason.setdefault(why, []).append(printable(name))
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())


def run_training(
    plan: TrainingSetup, *, seeds: int, out: Path, engine: Engine | None = None
) -> dict[str, Any]:
    """Cross-validate, refit on everything, write the checkpoints; show the table and return the report.

    No checkpoint is written before all fits are done, so an interrupted run leaves the last good one; the
    fits that it finished are kept, and the same run takes them up. What was left out is told before the first
    fit, when it can still be mended.

    Args:
        plan: What to train.
        seeds: Number of seeds.
        out: Checkpoint to write.
        engine: Where the fits run; by default on all cores of this machine.
    """
    if plan.protocol == LEAKY:
        show_warning(LEAKY_WARNING)
    for note in (*_notes_on(plan.dataset), *plan.windows.notes()):
        show_note(note)
    arguments = (plan.windows, plan.contract, plan.blueprint, plan.recipe)
    counted = work(plan.windows, plan.protocol, plan.recipe, seeds=seeds, engine=engine)
    with shown(counted):
        run = cross_validate(
            *arguments,
            plan.protocol,
            seeds=seeds,
            start=plan.start,
            engine=engine,
            begun=counted.begin,
            done=counted.finished,
        )
        counted.fit_all(run.epochs)
        state = run.kept.state(len(run.results))
        contract, fitted = refit(*arguments, run.epochs, start=plan.start, state=state)
    report = _report(plan, run, seeds)
    figures = {k: v for k, v in report["balanced_accuracy"].items() if k != "folds"}
    training = {
        **{k: report[k] for k in ("data", "protocol", "n_trials", "epochs", "recipe", "left_out")},
        **({"warning": report["warning"]} if "warning" in report else {}),
        "balanced_accuracy": figures,
        "picked_on_test": report["picked_on_test"],
        "temperature": {k: v for k, v in report["temperature"].items() if k != "folds"},
        "role": "trained again on all trials; the scores are those of the folds",
        "recordings": sorted(set(plan.recordings)),
        **({} if plan.parent is None else {"parent": plan.parent}),
    }
    contract = dataclasses.replace(
        contract, model=plan.blueprint.config.to_dict(), training=training, temperature=run.temperature
    )
    report["contract"] = contract.to_dict()
    paths = publish(out, run, contract, fitted, plan.blueprint.config)
    run.kept.clear()
    _show(report, paths)
    return report


def _report(plan: TrainingSetup, run: TrainingRun, seeds: int) -> dict[str, Any]:
    return {
        "schema": 1,
        **run.report,
        "n_seeds": seeds,
        "epochs": run.epochs,
        "recipe": dataclasses.asdict(plan.recipe),
        "left_out": plan.windows.left_out,
        "trials_left_out": [dataclasses.asdict(one) for one in plan.windows.dropped],
        "windows_left_out": plan.windows.without,
        "parent": plan.parent,
        "data": _of_data(plan.dataset),
        "version": __version__,
        "source": source_state(),
    }


def _notes_on(dataset: Dataset) -> list[str]:
    notes = [f"{dataset.name}: {dataset.labelling}"] if dataset.labelling else []
    if dataset.faults:
        told = listed([str(fault) for fault in dataset.faults], "; ", most=5)
        notes.append(f"{dataset.name} is not as it was published: {told}")
    return notes


def _of_data(dataset: Dataset) -> dict[str, Any]:
    """Return what a data set is, as the checkpoint and the report tell it."""
    told: dict[str, Any] = {"folder": dataset.name, "labels_sha256": dataset.labels_sha256()}
    if dataset.labelling:
        told["labelling"] = dataset.labelling
    if dataset.processing != Processing():
        told["processing"] = dataclasses.asdict(dataset.processing)
    if dataset.faults:
        told["faults"] = listed([str(fault) for fault in dataset.faults], "; ")
    return told


def _show(report: dict[str, Any], paths: list[Path]) -> None:
    folds = report["balanced_accuracy"]["folds"]
    by_fold: dict[str, list[dict[str, Any]]] = {}
    for row in folds:
        by_fold.setdefault(row["fold"], []).append(row)
    show_table(
        f"Balanced accuracy on held-out trials ({report['protocol']})",
        ["tested", "epoch chosen on", "trials", *(f"seed {s}" for s in range(report["n_seeds"])), "epochs"],
        [
            [
                name,
                rows[0]["validation"],
                str(rows[0]["n_test"]),
                *(f"{r['balanced_accuracy']:.3f}" for r in rows),
                ", ".join(str(r["epochs"]) for r in rows),
            ]
            for name, rows in by_fold.items()
        ],
        left=(0, 1),
    )
    score = report["balanced_accuracy"]
    if "warning" in report:
        show_warning(report["warning"])
    two = len(report["class_names"]) == 2
    trivial = f"; always guessing the larger class gives 0.500 balanced, {score['majority_share']:.3f} plain"
    show_note(f"mean {score['mean']:.3f}: {format_score(score)}{trivial if two else ''}")
    picked = report["picked_on_test"]
    show_note(
        f"choosing the epoch on the tested trials, which is not done here, would have shown "
        f"{picked['mean']:.3f} ({picked['difference']:+.3f}: {format_score(picked, '+')})"
    )
    calibrated = report["temperature"]
    before, after, change = calibrated["before"], calibrated["after"], calibrated["nll_change"]
    note = f" ({calibrated['note']})" if calibrated["note"] else ""
    show_note(
        f"temperature {calibrated['value']:.2f}{note}; "
        f"tested with the temperature of the other folds, {calibrated['n_windows']} windows: "
        f"negative log-likelihood {before['nll']:.3f} to {after['nll']:.3f} "
        f"({change['difference']:+.3f}: {format_score({**change, 'unit': score['unit']}, '+')}), "
        f"expected calibration error {before['ece']:.3f} to {after['ece']:.3f}; of both, less is better"
    )
    epochs = f"{report['epochs']} epoch{'s' * (report['epochs'] != 1)}"
    show_note(f"refitted on all {report['n_trials']} trials for {epochs}: {paths[-1]}")
    show_note(f"{len(paths) - 1} models of the folds, for `evaluate` and `quantize`: {paths[0].parent}")
    contract = report["contract"]
    if contract.get("family") == FOREIGN_FAMILY:
        show_note(f"to export it: mimamba-edge export {paths[-1]} --model {contract['model']['name']}")

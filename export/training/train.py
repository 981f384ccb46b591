"""Cross-validated training: fold models are scored, the published model is refitted on everything."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mimamba_edge.bench.environment import available_cores
from mimamba_edge.contract import Contract
from mimamba_edge.data.windows import Windows
from mimamba_edge.errors import DataError
from mimamba_edge.export.checkpoint import write_checkpoint
from mimamba_edge.export.jobs.arrays import as_file
from mimamba_edge.export.jobs.results import Results
from mimamba_edge.export.jobs.run import Engine, run_jobs
from mimamba_edge.export.network import Blueprint
from mimamba_edge.export.training.fit import FitResult, Hyperparameters, Start, fit
from mimamba_edge.export.training.folds import FoldFit, FoldJob, Shared, fit_fold, kept_fits, own_scaling
from mimamba_edge.export.training.progress import Progress
from mimamba_edge.export.training.protocol import LEAKY, LEAKY_WARNING, Fold, fold_mark, split
from mimamba_edge.export.training.scores import balanced_accuracy, independent_units, summarise
from mimamba_edge.export.training.selection import added_by_picking
from mimamba_edge.export.training.temperature import HeldOut, evaluate_nested
from mimamba_edge.family import Config
from mimamba_edge.files import staging
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = ["TrainingRun", "cross_validate", "fold_name", "publish", "refit", "work"]


@dataclass(frozen=True)
class FoldResult:
    """One fit of the cross-validation.

    Attributes:
        fold: The split.
        seed: Seed of the fit.
        contract: The contract with the scaling of this fold's training part.
        fit: What it gave.
    """

    fold: Fold
    seed: int
    contract: Contract
    fit: FoldFit


@dataclass(frozen=True)
class TrainingRun:
    """Result of :func:`cross_validate`.

    Attributes:
        results: One a fold and seed, seeds outermost.
        report: JSON-ready scores: ``balanced_accuracy`` with ``mean``, ``interval``, ``folds``.
        epochs: Median of the best epochs of all fits.
        temperature: Of the model that is published.
        kept: The fits on the disk, until the run is published.
    """

    results: list[FoldResult]
    report: dict[str, Any]
    epochs: int
    temperature: float
    kept: Results[FoldFit]


def _of_trials(trial_of: NDArray[np.int64], trials: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = np.isin(trial_of, trials)
    return mask


def work(
    windows: Windows, protocol: str, recipe: Hyperparameters, *, seeds: int, engine: Engine | None = None
) -> Progress:
    """Return what counts the epochs of a run; arguments as of :func:`cross_validate`."""
    windows, folds = split(windows, protocol)
    of_trial = np.bincount(windows.trial_of, minlength=len(windows.trials))
    trained = float(np.mean([of_trial[fold.train].sum() for fold in folds]))
    scored = float(np.mean([of_trial[fold.validation].sum() + of_trial[fold.test].sum() for fold in folds]))
    at_a_time = (engine and engine.jobs) or available_cores()
    return Progress(len(folds) * seeds, recipe.epochs, at_a_time, (trained, scored, len(windows.trial_of)))


def cross_validate(
    windows: Windows,
    contract: Contract,
    blueprint: Blueprint[torch.nn.Module],
    recipe: Hyperparameters,
    protocol: str,
    *,
    seeds: int,
    start: Start | None = None,
    engine: Engine | None = None,
    begun: Callable[[Results[FoldFit]], None] = lambda _: None,
    done: Callable[[FoldFit], None] = lambda _: None,
) -> TrainingRun:
    """Fit every fold with every seed and score the held-out trials.

    Args:
        windows: Unscaled windows in microvolts with their trials.
        contract: Contract without scaling; each fold fits its own. With weights to start from: theirs.
        blueprint: Makes the models.
        recipe: Training recipe.
        protocol: See :func:`mimamba_edge.export.training.protocol.make_folds`.
        seeds: Number of seeds, 0 to ``seeds - 1``.
        start: Weights that every fit starts from.
        engine: Where the fits run; by default on all cores of this machine.
        begun: Called before the first fit with where fits are kept: what they have done can be seen there.
        done: Called with each fit as it ends.

    Raises:
        DataError: The data cannot be split this way.
        WorkerError: A worker was killed, or does not see the windows; the fits that were done are kept.
    """
    windows, folds = split(windows, protocol)
    jobs = [FoldJob(fold, seed) for seed in range(seeds) for fold in folds]
    with as_file(windows.data) as data:
        shared = Shared(data, windows.labels, windows.trial_of, contract, blueprint, recipe, start)
        kept = kept_fits(windows, [(shared, job) for job in jobs])
        jobs = [dataclasses.replace(job, state=kept.state(i)) for i, job in enumerate(jobs)]
        begun(kept)
        fits = run_jobs(fit_fold, shared, jobs, done=done, engine=engine, results=kept)
    results = [
        FoldResult(job.fold, job.seed, dataclasses.replace(contract, scaling=one.scaling), one)
        for job, one in zip(jobs, fits, strict=True)
    ]
    held = _held_out(windows, folds, results)
    published, of_fold, judged = evaluate_nested(held, _units(windows), contract.temperature)
    for i, r in enumerate(results):
        calibrated = of_fold[[fold.name for fold in folds].index(r.fold.name)].value
        own = dataclasses.replace(r.contract, temperature=calibrated, training=_told(windows, r, protocol))
        results[i] = dataclasses.replace(r, contract=own)
    report = {**_report(windows, results, protocol, seeds), "temperature": judged}
    return TrainingRun(results, report, _median_epochs(results), published.value, kept)


def _told(windows: Windows, result: FoldResult, protocol: str) -> dict[str, Any]:
    """Return what a fold's checkpoint says of itself: who scores it can tell that it is the right one."""
    return {
        "role": "one fold of a cross-validation: to be scored on its own held-out trials only",
        "protocol": protocol,
        "fold": result.fold.name,
        "seed": result.seed,
        "fold_sha256": fold_mark(windows.trials, result.fold),
        **({"warning": LEAKY_WARNING} if protocol == LEAKY else {}),
    }


def _held_out(windows: Windows, folds: Sequence[Fold], results: Sequence[FoldResult]) -> HeldOut:
    """Put the logits of all tested windows, of every seed, one after another."""
    names = [fold.name for fold in folds]
    tested = [np.flatnonzero(_of_trials(windows.trial_of, r.fold.test)) for r in results]
    index = np.concatenate(tested)
    return HeldOut(
        logits=np.concatenate([r.fit.window_logits for r in results]).astype(np.float64),
        labels=windows.labels[index],
        trial=windows.trial_of[index],
        fold=np.repeat([names.index(r.fold.name) for r in results], [len(part) for part in tested]),
    )


def _units(windows: Windows) -> list[str]:
    """Return the independent unit of each trial: its subject, or itself where there is one subject."""
    return independent_units([t.subject for t in windows.trials], _identities(windows))[0]


def _identities(windows: Windows) -> list[str]:
    """Return what tells each trial from others; where windows count as trials, those of one are one."""
    return [f"{t.file} {t.start_s}" for t in windows.trials]


def _median_epochs(results: Sequence[FoldResult]) -> int:
    return max(1, round(float(np.median([r.fit.fitted.best_epoch for r in results]))))


def _report(windows: Windows, results: list[FoldResult], protocol: str, seeds: int) -> dict[str, Any]:
    trials = windows.trials
    names = list(windows.class_names)
    labels = np.array([names.index(t.label) for t in trials])
    predicted = np.full((seeds, len(trials)), -1, dtype=np.int64)
    picked = predicted.copy()
    folds = []
    for r in results:
        fitted = r.fit.fitted
        predicted[r.seed, r.fold.test] = r.fit.test_logits.argmax(axis=1)
        picked[r.seed, r.fold.test] = r.fit.picked
        right = (predicted[r.seed, r.fold.test] == labels[r.fold.test]).astype(np.float64)
        folds.append(
            {
                "fold": r.fold.name,
                "checkpoint": fold_name(r.seed, r.fold),
                "validation": r.fold.validation_name,
                "seed": r.seed,
                "n_train": len(r.fold.train),
                "n_test": len(r.fold.test),
                "epochs": fitted.best_epoch,
                "validation_balanced_accuracy": fitted.validation_score,
                "balanced_accuracy": balanced_accuracy(labels[r.fold.test], right),
            }
        )
    if (predicted < 0).any():
        raise DataError("some trials were never tested", got=int((predicted < 0).sum()))
    score = summarise(labels, predicted, [t.subject for t in trials], _identities(windows))
    return {
        "protocol": protocol,
        **({"warning": LEAKY_WARNING} if protocol == LEAKY else {}),
        "balanced_accuracy": {**score, "folds": folds},
        "picked_on_test": {
            **added_by_picking(labels, predicted, picked, _units(windows)),
            "unit": score["unit"],
        },
        "class_names": names,
        "n_trials": len(trials),
        "trials": [
            {
                "file": t.file,
                "start_s": t.start_s,
                "label": t.label,
                "predicted": [names[int(k)] for k in predicted[:, i]],
            }
            for i, t in enumerate(trials)
        ],
    }


def refit(
    windows: Windows,
    contract: Contract,
    blueprint: Blueprint[torch.nn.Module],
    recipe: Hyperparameters,
    epochs: int,
    *,
    seed: int = 0,
    start: Start | None = None,
    state: Path | None = None,
) -> tuple[Contract, FitResult]:
    """Fit all trials for a fixed number of epochs: the model that is published."""
    rows = np.flatnonzero(_of_trials(windows.trial_of, np.arange(len(windows.trials))))
    contract = dataclasses.replace(contract, scaling=own_scaling(windows.data, rows, contract, start))
    threads = torch.get_num_threads()
    # One thread, as in the workers: the sums then do not depend on the machine's cores.
    torch.set_num_threads(1)
    try:
        training = ScaledWindows(windows.data, rows, contract.scaling), windows.labels[rows]
        _, fitted = fit(blueprint, recipe, training, epochs=epochs, seed=seed, start=start, state=state)
    finally:
        torch.set_num_threads(threads)
    return contract, fitted


def publish(out: Path, run: TrainingRun, contract: Contract, fitted: FitResult, config: Config) -> list[Path]:
    """Write the fold checkpoints to ``NAME-folds/`` and the refitted one to ``out``; return the paths.

    All appear together or none does. Fold checkpoints of an earlier run are removed: mixed with these they
    would be scored on trials that they were trained on.

    Raises:
        OutputError: They cannot be written, or the disk is full; what was there before stays.
    """
    folder = out.with_name(f"{out.stem}-folds")
    paths = [folder / f"{fold_name(r.seed, r.fold)}{out.suffix}" for r in run.results]
    outdated = set(folder.glob(f"seed*-*{out.suffix}")) - set(paths)
    with staging([out, *paths], manifests=False, outdated=outdated) as hidden:
        for path, r in zip(paths, run.results, strict=True):
            write_checkpoint(
                hidden / path.relative_to(out.parent), _tensors(r.fit.fitted), config, r.contract
            )
        write_checkpoint(hidden / out.name, _tensors(fitted), config, contract)
    return [*paths, out]


def fold_name(seed: int, fold: Fold) -> str:
    """Return the name of a fold's checkpoint, without its suffix."""
    return f"seed{seed}-{re.sub('[^0-9A-Za-z.-]+', '_', fold.name)}"


def _tensors(fitted: FitResult) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in fitted.state_dict.items()}

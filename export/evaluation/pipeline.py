"""What ``evaluate`` does: a model, its artefacts and the baselines on trials that none of them saw."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.bench.environment import describe
from mimamba_edge.console import Progress, show_warning
from mimamba_edge.contract import FOREIGN_FAMILY
from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.errors import ConfigError, DataError
from mimamba_edge.export.evaluation.baselines import BASELINES, Baseline, out_of_fold
from mimamba_edge.export.evaluation.model import Model, fold_answers, logits, open_model
from mimamba_edge.export.evaluation.neural import check_networks, named, train_networks
from mimamba_edge.export.evaluation.overlap import overlap
from mimamba_edge.export.evaluation.personal import personal_curve, plan_personal
from mimamba_edge.export.evaluation.report import EvaluationReport, Method
from mimamba_edge.export.evaluation.statement import describe_data, scored_trials
from mimamba_edge.export.evaluation.table import Scorer
from mimamba_edge.export.jobs.run import Engine
from mimamba_edge.export.quantize.folds import fold_checkpoint, held_out_logits, seeds_in
from mimamba_edge.export.training.pipeline import recording_hashes
from mimamba_edge.export.training.protocol import LEAKY, LEAKY_WARNING, Fold, check_protocol, split
from mimamba_edge.export.training.selection import mean_of_trials

__all__ = ["evaluate"]


def evaluate(
    path: Path,
    dataset: Dataset,
    protocol: str | None,
    bar: Progress,
    *,
    baselines: Mapping[str, Baseline] = BASELINES,
    against: Sequence[str] = (),
    factory: str | None = None,
    calibration_minutes: Sequence[float] = (),
    engine: Engine | None = None,
) -> EvaluationReport:
    """Score a model and the baselines on trials that they never saw.

    On the data set of its training each trial is scored by the fold model that held it out, made into the
    same kind of file. Other recordings are scored by the model itself.

    Args:
        path: A checkpoint, a portable file of any precision or a plan.
        dataset: Labelled recordings.
        protocol: How trials are held out; by default as in the training.
        bar: Told what is being done.
        baselines: By name.
        against: Networks to train beside it: keys of :data:`mimamba_edge.export.evaluation.neural.NETWORKS`
            or ``package.module:factory``.
        factory: ``package.module:factory`` of the network, for a checkpoint of a network of others.
        calibration_minutes: Of personal calibration, for which a curve is made.
        engine: Where models are fitted; by default on all cores of this machine.

    Raises:
        MimambaError: The model or the data cannot be used, or the model has seen some of these recordings.
    """
    model = open_model(path, factory)
    blueprints = check_networks([named(word) for word in against], model.contract)
    training = model.contract.training
    chosen = protocol or str(training.get("protocol", "leave-one-run-out"))
    check_protocol(chosen)
    seen = _seen(model, dataset)
    if seen and chosen != training.get("protocol"):
        raise ConfigError(
            f"the fold models of {path} were not trained under this protocol",
            got=chosen,
            expected=str(training.get("protocol")),
            do=f"leave --protocol out, or train with --protocol {chosen}",
        )
    if calibration_minutes and not seen and model.runs_in != "torch":
        raise ConfigError(
            "personal calibration goes on training, which needs weights",
            got=model.path,
            do="name the checkpoint that this file was made from",
        )
    if chosen == LEAKY:
        show_warning(LEAKY_WARNING)
    bar.describe("reading recordings")
    windows, folds, notes = _prepared(trial_windows(dataset, model.contract), chosen, seen, protocol)
    plan = plan_personal(windows, folds, chosen, calibration_minutes) if calibration_minutes else None
    scorer = Scorer(windows, folds)
    methods = _held_out(model, scorer, bar) if seen else _unseen(model, scorer)
    first = np.array(methods[0].predicted)
    for name, baseline in baselines.items() if folds else ():
        bar.describe(name)
        try:
            scores = out_of_fold(windows, folds, baseline, model.contract.sfreq)
        except DataError as error:
            notes.append(f"without {name}: {error.what}")
            continue
        methods.append(scorer.method(name, "baseline", scores.argmax(axis=1)[None], first))
    if blueprints and folds:
        bar.describe("training networks of others")
        rows = train_networks(
            blueprints,
            windows,
            folds,
            model.contract,
            seeds=len(first),
            engine=engine,
            done=bar.advance,
        )
        for row in rows:
            methods.append(scorer.method(row.network.name, "network", row.predicted, first))
        notes = [*notes, *(row.note() for row in rows)]
    personal = None
    if plan is not None:
        bar.describe("personal calibrations")
        checkpoints = _checkpoints(model, folds if seen else ())
        personal = personal_curve(
            plan, first, checkpoints, blueprint=model.blueprint, engine=engine, done=bar.advance
        )
    return EvaluationReport(
        model=str(path),
        contract=model.contract.to_dict(),
        data=describe_data(dataset),
        protocol=chosen,
        trained_on="out-of-fold" if seen else "unseen",
        class_names=list(windows.class_names),
        n_trials=len(windows.trials),
        chance=1 / len(windows.class_names),
        methods=methods,
        overlap=overlap(windows.trials, folds) if seen else [],
        trials=scored_trials(windows.trials, folds),
        left_out=windows.left_out,
        picked_on_test=training.get("picked_on_test") if seen else None,
        personal=personal,
        notes=[*windows.notes(), *notes],
        warning=LEAKY_WARNING if chosen == LEAKY or "warning" in training else "",
        environment=describe(),
    )


def _seen(model: Model, dataset: Dataset) -> bool:
    """Return whether this is the data set of the training.

    Raises:
        DataError: It is another one that holds recordings of the training.
    """
    training = model.contract.training
    if training.get("data", {}).get("labels_sha256") == dataset.labels_sha256():
        return True
    known = set(training.get("recordings", ()))
    again = [file for file, mark in recording_hashes(dataset).items() if mark in known]
    if again:
        raise DataError(
            f"{model.path} was trained on some of these recordings: a score on them would be memory",
            got=", ".join(again),
            expected="the data set of the training, whole, or recordings that were not in it",
        )
    if not known:
        show_warning(
            f"{model.path} does not list the recordings it was trained on: make sure that none is in "
            f"{dataset.spec}"
        )
    return False


def _prepared(
    windows: Windows, protocol: str, seen: bool, wished: str | None
) -> tuple[Windows, list[Fold], list[str]]:
    """Return windows and folds; without folds where new recordings cannot be split and nobody asked to."""
    try:
        return *split(windows, protocol), []
    except DataError as error:
        if seen or wished is not None:
            raise
        return windows, [], [f"no baselines, which must be fitted on some of these trials: {error.what}"]


def _held_out(model: Model, scorer: Scorer, bar: Progress) -> list[Method]:
    """Score the fold models and what is made of them."""
    if model.contract.family == FOREIGN_FAMILY and model.blueprint is None:
        raise DataError(
            f"{model.path} was trained on this data set, and such files of its fold models are not made here",
            do="name its checkpoint, CKPT.pt, and --model package.module:factory; or new recordings",
        )
    if model.folds is None:
        raise DataError(
            f"{model.path} was trained on this data set, and its fold models are not there",
            expected="the folder CKPT-folds beside the checkpoint that it was made from",
            do="copy the folder along with the checkpoint, or name a data set of new recordings",
        )
    seeds = seeds_in(model.folds, scorer.folds[0]) or [0]
    bar.describe("scoring fold models")
    with tempfile.TemporaryDirectory() as folder:
        answers = fold_answers(model, Path(folder))
        answered = [
            held_out_logits(
                model.folds, scorer.windows, scorer.folds, model.contract, answers, seed=s, done=bar.advance
            )
            for s in seeds
        ]
    temperatures = np.stack([one.temperature for one in answered])
    names = {"model": model.name, "artefact": model.artefact}
    methods: list[Method] = []
    plain: NDArray[np.int64] | None = None
    for kind in answered[0].trials:
        predicted = np.stack([one.trials[kind].argmax(axis=1) for one in answered])
        calibrated = scorer.calibration(np.stack([one.windows[kind] for one in answered]), temperatures)
        methods.append(scorer.method(names[kind], kind, predicted, plain, calibrated))
        plain = predicted if plain is None else plain
    return methods


def _unseen(model: Model, scorer: Scorer) -> list[Method]:
    """Score the model itself on recordings that it was not trained on."""
    windows, answers = scorer.windows, logits(model, scorer.windows.data)
    of_trial = mean_of_trials(answers, windows.trial_of, np.arange(len(windows.trials)))
    predicted = of_trial.argmax(axis=1)[None]
    kind = "model" if model.runs_in == "torch" else "artefact"
    calibrated = scorer.calibration(answers[None], np.full((1, len(answers)), model.contract.temperature))
    return [scorer.method(model.artefact, kind, predicted, None, calibrated)]


def _checkpoints(model: Model, folds: Sequence[Fold]) -> Callable[[str, int], Path]:
    """Return what gives the checkpoint that never saw a group: a fold's, or the model itself."""
    held_out, folder = {fold.name: fold for fold in folds}, model.folds
    if folder is None or not held_out:
        return lambda name, seed: model.path
    return lambda name, seed: fold_checkpoint(folder, held_out[name], seed)

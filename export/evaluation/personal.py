"""Accuracy against minutes of personal calibration, on trials that no calibration ever sees.

Every held-out group (a subject under ``cross-subject``) is cut in time: its first minutes calibrate the model
that held it out, its later trials are scored. These are the same at every number of minutes, the ones after
the most, so that a curve compares like with like. Fine-tuning is that of ``train --init``, for all of its
recipe's epochs: so few trials leave none to choose one by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import Scaling
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.windows import Windows
from mimamba_edge.errors import ConfigError, DataError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint
from mimamba_edge.export.evaluation.overlap import beside_in_time, overlap
from mimamba_edge.export.evaluation.report import PersonalCurve, PersonalGroup, PersonalPoint
from mimamba_edge.export.evaluation.table import Scorer
from mimamba_edge.export.jobs.arrays import ArrayFile, as_file
from mimamba_edge.export.jobs.results import Results, content_key
from mimamba_edge.export.jobs.run import Engine, run_jobs
from mimamba_edge.export.network import Blueprint, FamilyBlueprint
from mimamba_edge.export.training.finetune import FROZEN, UNFROZEN
from mimamba_edge.export.training.fit import TRAINED_LAYER, Hyperparameters, Start, fit, predict
from mimamba_edge.export.training.folds import data_mark, digest
from mimamba_edge.export.training.protocol import LEAKY, Fold, group_names
from mimamba_edge.export.training.selection import mean_of_trials
from mimamba_edge.signal.scaling import ScaledWindows, fit_scaling

__all__ = [
    "ADAPTATIONS",
    "AS_DELIVERED",
    "Adaptation",
    "Part",
    "PersonalPlan",
    "adapt",
    "adaptations_of",
    "personal_curve",
    "plan_personal",
]

AS_DELIVERED = "nothing (as delivered)"
_REACHED = 0.99
"""A trial is a few samples short now and then: a minute of 15 trials of 4 s is a minute."""


@dataclass(frozen=True)
class Adaptation:
    """One kind of personal calibration.

    Attributes:
        name: What is fitted on the person's trials.
        own_scaling: Median and interquartile range are the person's; this needs no labels.
        recipe: Of the fine-tuning; ``None`` where no weight is fitted.
        frozen: Only the final layer is.
    """

    name: str
    own_scaling: bool
    recipe: Hyperparameters | None = None
    frozen: bool = False


ADAPTATIONS = (
    Adaptation("scaling", own_scaling=True),
    Adaptation("final layer", own_scaling=False, recipe=FROZEN, frozen=True),
    Adaptation("final layer and scaling", own_scaling=True, recipe=FROZEN, frozen=True),
    Adaptation("all weights and scaling", own_scaling=True, recipe=UNFROZEN),
)
"""From cheap to dear. The first is what ``calibrate`` does with a person at rest."""


def adaptations_of(blueprint: Blueprint[torch.nn.Module] | None) -> tuple[Adaptation, ...]:
    """Return what can be fitted of a network: of one of others the final layer only where it is named so.

    Args:
        blueprint: Makes it; ``None`` for a network of a family.
    """
    if blueprint is None:
        return ADAPTATIONS
    layers = {name.partition(".")[0] for name, _ in blueprint.network().named_parameters()}
    return tuple(one for one in ADAPTATIONS if TRAINED_LAYER in layers or not one.frozen)


@dataclass(frozen=True)
class Part:
    """A held-out group, cut in time.

    Attributes:
        name: Of the group.
        calibration: Trials of the calibration at each number of minutes, in time order.
        scored: Trials that are scored at all of them, in time order.
    """

    name: str
    calibration: tuple[NDArray[np.int64], ...]
    scored: NDArray[np.int64]


@dataclass(frozen=True)
class PersonalPlan:
    """What calibrates and what is scored.

    Attributes:
        windows: Unscaled windows in microvolts with their trials.
        minutes: In rising order, without 0.
        parts: Groups that are long enough.
        left_out: What the others lack, by name.
    """

    windows: Windows
    minutes: tuple[float, ...]
    parts: tuple[Part, ...]
    left_out: dict[str, str]


def plan_personal(
    windows: Windows, folds: Sequence[Fold], protocol: str, minutes: Sequence[float]
) -> PersonalPlan:
    """Cut held-out groups into what calibrates and what is scored.

    Calibration takes the first whole trials that make up so many minutes, breaks not counted, and more until
    every class is there. Recordings follow each other as in the table.

    Args:
        windows: Unscaled windows in microvolts with their trials.
        folds: How trials were held out; where there are none, the groups of the protocol are cut.
        protocol: See :mod:`mimamba_edge.export.training.protocol`.
        minutes: Of calibration.

    Raises:
        ConfigError: The protocol holds no group out.
        DataError: No group is long enough.
    """
    if protocol == LEAKY:
        raise ConfigError(
            f"personal calibration is of groups that were held out, and {LEAKY} holds none out",
            do="train under another --protocol",
        )
    minutes = tuple(sorted(set(minutes)))
    trials, n_classes = windows.trials, len(windows.class_names)
    groups = {fold.name: fold.test for fold in folds}
    if not folds:
        names = np.array(group_names(trials, protocol.partition("+")[0]))
        groups = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}
    files = {file: i for i, file in enumerate(dict.fromkeys(t.file for t in trials))}
    parts: list[Part] = []
    left_out: dict[str, str] = {}
    lengths: list[float] = []
    for name, members in groups.items():
        ordered = sorted(members.tolist(), key=lambda i: (files[trials[i].file], trials[i].start_s))
        total = np.cumsum([trials[i].stop_s - trials[i].start_s for i in ordered]) / 60
        lengths.append(float(total[-1]))
        counts = [_first(ordered, trials, total, n_classes, asked) for asked in minutes]
        last = counts[-1]
        after = ordered[len(ordered) if last is None else last :]
        if last is None or len({trials[i].label for i in after}) < n_classes:
            left_out[name] = (
                f"{total[-1]:.1f} minutes of trials: not {minutes[-1]:g} minutes with every class, and after "
                "them a trial of each"
            )
            continue
        calibration = tuple(np.array(ordered[:n]) for n in counts)
        parts.append(Part(name, calibration, np.array(after)))
    if not parts:
        fewer = ",".join(f"{max(lengths) / part:.2g}" for part in (4, 2))
        raise DataError(
            f"no held-out group is long enough for {minutes[-1]:g} minutes of calibration and, after them, a "
            "trial of each class to score",
            got=f"{len(groups)} groups with {min(lengths):.1f} to {max(lengths):.1f} minutes of trials each",
            do=f"ask for fewer minutes, as --calibration-minutes {fewer}, or train under a protocol with "
            "longer groups",
        )
    return PersonalPlan(windows, minutes, tuple(parts), left_out)


def _first(
    ordered: Sequence[int], trials: Sequence[Trial], total: NDArray[Any], n_classes: int, minutes: float
) -> int | None:
    """Return how many of the first trials make up so many minutes and hold every class."""
    seen: set[str] = set()
    for number, i in enumerate(ordered):
        seen.add(trials[i].label)
        if total[number] >= _REACHED * minutes and len(seen) == n_classes:
            return number + 1
    return None


@dataclass(frozen=True)
class _Shared:
    windows: ArrayFile
    labels: NDArray[np.int64]
    trial_of: NDArray[np.int64]
    blueprint: Blueprint[torch.nn.Module] | None


@dataclass(frozen=True)
class _Job:
    checkpoint: Path
    adaptation: Adaptation
    calibration: NDArray[np.int64]
    scored: NDArray[np.int64]
    seed: int


def adapt(
    held: Checkpoint,
    blueprint: Blueprint[torch.nn.Module],
    adaptation: Adaptation,
    windows: NDArray[np.float64],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    seed: int,
) -> tuple[torch.nn.Module, Scaling]:
    """Fit a model to a person.

    Args:
        held: The model.
        blueprint: Makes its network.
        adaptation: What is fitted.
        windows: In microvolts ``(n, c, l)``.
        labels: Classes ``(n,)``.
        rows: Windows of the calibration; nothing else is read.
        seed: Of the order and the surrogates.

    Returns:
        The network and the scaling that it takes windows with.
    """
    scaling = held.contract.scaling
    if adaptation.own_scaling:
        scaling = fit_scaling(windows, scaling.kind, rows)
    state = {name: value.numpy() for name, value in held.state_dict.items()}
    if adaptation.recipe is None:
        network = blueprint.network()
        network.load_state_dict(held.state_dict)
        return network.eval(), scaling
    network, _ = fit(
        blueprint,
        adaptation.recipe,
        (ScaledWindows(windows, rows, scaling), labels[rows]),
        seed=seed,
        start=Start(state, adaptation.frozen),
    )
    return network, scaling


@dataclass(frozen=True)
class _Answer:
    """Logits of the scored trials ``(n, k)``, the mean over their windows."""

    logits: NDArray[np.float32]


def _run(shared: _Shared, job: _Job) -> _Answer:
    held = load_checkpoint(job.checkpoint)
    blueprint = shared.blueprint or FamilyBlueprint(held.config, held.contract.family)
    windows = shared.windows.open()
    rows = np.flatnonzero(np.isin(shared.trial_of, job.calibration))
    network, scaling = adapt(held, blueprint, job.adaptation, windows, shared.labels, rows, job.seed)
    tested = np.flatnonzero(np.isin(shared.trial_of, job.scored))
    logits = predict(network, ScaledWindows(windows, tested, scaling))
    return _Answer(mean_of_trials(logits, shared.trial_of[tested], job.scored))


def _kept(windows: Windows, jobs: Sequence[_Job]) -> Results[_Answer]:
    """Return where the answers of these jobs are kept: by all that their bits depend on."""
    data = data_mark(windows)
    checkpoints = {path: sha256_file(path) for path in dict.fromkeys(job.checkpoint for job in jobs)}
    keys = [
        content_key(
            data,
            checkpoints[job.checkpoint],
            dataclasses.asdict(job.adaptation),
            digest(job.calibration),
            digest(job.scored),
            job.seed,
        )
        for job in jobs
    ]
    return Results(_Answer, keys)


def personal_curve(
    plan: PersonalPlan,
    delivered: NDArray[np.int64],
    checkpoint: Callable[[str, int], Path],
    *,
    blueprint: Blueprint[torch.nn.Module] | None = None,
    engine: Engine | None = None,
    done: Callable[[], None] = lambda: None,
) -> PersonalCurve:
    """Calibrate every group in every way for every number of minutes, and score its later trials.

    Args:
        plan: What calibrates and what is scored.
        delivered: Class of every trial by the models as they are, of each seed ``(seeds, n_trials)``.
        checkpoint: Path of the model that held a group out, by the group's name and the seed.
        blueprint: Makes the networks of others; by default the checkpoint's family does.
        engine: Where the fits run; by default on all cores of this machine.
        done: Called after each fit.
    """
    windows, parts, minutes = plan.windows, plan.parts, plan.minutes
    seeds, adaptations = range(len(delivered)), adaptations_of(blueprint)
    jobs = [
        _Job(checkpoint(part.name, seed), adaptation, part.calibration[k], part.scored, seed)
        for adaptation in adaptations
        for k in range(len(minutes))
        for seed in seeds
        for part in parts
    ]
    # The code of others may have changed where nothing here has.
    kept = _kept(windows, jobs) if blueprint is None else None
    with as_file(windows.data) as data:
        shared = _Shared(data, windows.labels, windows.trial_of, blueprint)
        found = run_jobs(_run, shared, jobs, done=lambda _: done(), engine=engine, results=kept)
    if kept is not None:
        kept.clear()
    answers = iter(found)
    scored = np.concatenate([part.scored for part in parts])
    scorer = _scorer(windows, parts)
    before = delivered[:, scored]
    points = [PersonalPoint(AS_DELIVERED, 0.0, 0.0, scorer.method(AS_DELIVERED, "model", before, None))]
    groups = [_group(part, windows.trials) for part in parts]
    for adaptation in adaptations:
        for k, asked in enumerate(minutes):
            predicted = np.stack(
                [np.concatenate([next(answers).logits.argmax(1) for _ in parts]) for _ in seeds]
            )
            name = f"{adaptation.name}, {asked:g} min"
            used = float(np.mean([group.used_minutes[k] for group in groups]))
            method = scorer.method(name, "model", predicted, before)
            points.append(PersonalPoint(adaptation.name, asked, used, method))
    beside = beside_in_time(windows.trials)
    near = [i for part in parts for i in part.scored if set(beside[i]) & set(part.calibration[-1].tolist())]
    nothing = np.zeros(0, dtype=np.int64)
    most = [Fold(part.name, "", part.calibration[-1], nothing, part.scored) for part in parts]
    return PersonalCurve(
        minutes=[0.0, *minutes],
        points=points,
        groups=groups,
        left_out=plan.left_out,
        scored=scored.tolist(),
        neighbours=[int(i) for i in near],
        overlap=overlap(windows.trials, most),
    )


def _scorer(windows: Windows, parts: Sequence[Part]) -> Scorer:
    """Return what scores the scored trials alone, one part after the other."""
    nothing = np.zeros(0, dtype=np.int64)
    sizes = [len(part.scored) for part in parts]
    places = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    folds = [Fold(p.name, "", nothing, nothing, at) for p, at in zip(parts, places, strict=True)]
    trials = tuple(windows.trials[i] for part in parts for i in part.scored)
    none = {name: getattr(windows, name)[:0] for name in ("data", "labels", "trial_of")}
    return Scorer(dataclasses.replace(windows, trials=trials, **none), folds)


def _group(part: Part, trials: Sequence[Trial]) -> PersonalGroup:
    used = [float(sum(trials[i].stop_s - trials[i].start_s for i in some)) / 60 for some in part.calibration]
    return PersonalGroup(part.name, len(part.scored), [len(some) for some in part.calibration], used)

"""Whether a model is as sure as it is right: by subject, before and after its temperature.

Windows are scored one by one, as a stream shows them, with the temperature of the fold model that held them
out: it was fitted on what the other folds held out, never on these windows.

Every figure is a mean over windows, so that one rule gives all intervals: by the spread between whole units
(:mod:`mimamba_edge.export.training.scores`). The expected calibration error is one too, once its bins and the
sign of the gap in each are taken as fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mimamba_edge.data.labels import Trial
from mimamba_edge.export.training.scores import independent_units, paired_mean
from mimamba_edge.export.training.temperature import confidence_bins, nll

__all__ = ["Calibration", "Estimate", "GroupCalibration", "Reliability", "ReliabilityBin", "calibration"]

_DRAWS = 200


@dataclass(frozen=True)
class Estimate:
    """A mean over windows with its 95 % interval.

    Attributes:
        mean: Over all windows and seeds.
        interval: 95 % interval over independent units; null from one unit.
        method: How it was computed.
        groups: Number of independent units.
        unit: What these are: subject, or of one subject trial.
    """

    mean: float
    interval: list[float] | None
    method: str
    groups: int
    unit: str


@dataclass(frozen=True)
class ReliabilityBin:
    """Windows about which a model is about equally sure.

    Attributes:
        n_windows: How many, all seeds together.
        confidence: Mean probability of the chosen class.
        right: Share of them that are right.
    """

    n_windows: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Reliability:
    """How sure a model is, and how right.

    Attributes:
        ece: Expected calibration error: mean gap between confidence and share right in the bins.
        ece_by_chance: What a perfectly calibrated model as sure as this one would show on as many windows.
        nll: Negative log-likelihood in nats.
        brier: Brier score: squared distance of the probabilities to the truth, summed over classes, 0 to 2.
        bins: Of equally many windows, from the least sure to the surest.
    """

    ece: Estimate
    ece_by_chance: float
    nll: Estimate
    brier: Estimate
    bins: list[ReliabilityBin]


@dataclass(frozen=True)
class GroupCalibration:
    """The calibration of one subject, or of all.

    Attributes:
        name: Subject; empty for all.
        n_trials: Scored trials.
        n_windows: Their windows.
        before: Probabilities as the network gives them, at a temperature of 1.
        after: At the temperature of the model.
        ece_change: After less before.
        nll_change: After less before.
        brier_change: After less before.
    """

    name: str
    n_trials: int
    n_windows: int
    before: Reliability
    after: Reliability
    ece_change: Estimate
    nll_change: Estimate
    brier_change: Estimate


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model's window probabilities.

    Attributes:
        temperatures: Those that were applied, each once, in rising order: of fold models, or of the model.
        overall: Of all windows.
        subjects: Of each subject.
    """

    temperatures: list[float]
    overall: GroupCalibration
    subjects: list[GroupCalibration]


def calibration(
    logits: NDArray[Any],
    temperatures: NDArray[np.float64],
    labels: NDArray[np.int64],
    trial_of: NDArray[np.int64],
    trials: Sequence[Trial],
) -> Calibration:
    """Judge the window probabilities of a model, or of a file made of it.

    Args:
        logits: Of windows that the weights never saw, by each seed ``(seeds, n, k)``.
        temperatures: Of what scored each window, never fitted on it ``(seeds, n)``.
        labels: Class of each window ``(n,)``.
        trial_of: Index into ``trials`` of each window ``(n,)``.
        trials: The trials.
    """
    logits = np.asarray(logits, dtype=np.float64)
    subjects = np.array([t.subject for t in trials])

    def of(name: str, rows: NDArray[np.int64]) -> GroupCalibration:
        owner = trial_of[rows]
        # Where windows count as trials, those of one are one.
        identities = [f"{trials[i].file} {trials[i].start_s}" for i in owner]
        units, unit = independent_units(subjects[owner].tolist(), identities)
        counted = (units * len(logits), unit)
        flat = logits[:, rows].reshape(-1, logits.shape[-1])
        truth = np.tile(labels[rows], len(logits))
        before, one = _reliability(flat, truth, *counted)
        after, two = _reliability(flat / temperatures[:, rows].reshape(-1, 1), truth, *counted)
        change = {key: _estimate(two[key] - one[key], *counted) for key in one}
        return GroupCalibration(
            name,
            len(set(identities)),
            len(rows),
            before,
            after,
            ece_change=change["ece"],
            nll_change=change["nll"],
            brier_change=change["brier"],
        )

    return Calibration(
        temperatures=sorted(set(temperatures.ravel().tolist())),
        overall=of("", np.arange(len(labels))),
        subjects=[of(s, np.flatnonzero(subjects[trial_of] == s)) for s in dict.fromkeys(subjects.tolist())],
    )


def _reliability(
    logits: NDArray[np.float64], labels: NDArray[np.int64], units: Sequence[str], unit: str
) -> tuple[Reliability, dict[str, NDArray[np.float64]]]:
    """Return the figures, and what each window adds to them ``(n,)``."""
    probs = softmax(logits, axis=1)
    confidence, right = probs.max(axis=1), (probs.argmax(axis=1) == labels).astype(np.float64)
    bins = confidence_bins(confidence)
    gap = np.empty(len(labels))
    for part in bins:
        too_sure = confidence[part] - right[part]
        gap[part] = too_sure * np.sign(too_sure.sum())
    truth = np.eye(probs.shape[1])[labels]
    each = {"ece": gap, "nll": nll(logits, labels), "brier": np.sum((probs - truth) ** 2, axis=1)}
    found = {key: _estimate(values, units, unit, 0.0) for key, values in each.items()}
    made = Reliability(
        **found,
        ece_by_chance=_by_chance(confidence, bins),
        bins=[ReliabilityBin(len(p), float(confidence[p].mean()), float(right[p].mean())) for p in bins],
    )
    return made, each


def _estimate(
    values: NDArray[np.float64], units: Sequence[str], unit: str, least: float = -np.inf
) -> Estimate:
    found = paired_mean(values, units)
    interval = found["interval"] and [max(least, bound) for bound in found["interval"]]
    return Estimate(found["difference"], interval, found["method"], found["groups"], unit)


def _by_chance(confidence: NDArray[np.float64], bins: Sequence[NDArray[np.int64]]) -> float:
    """Return the mean calibration error of answers that are right as often as they are sure.

    After Broecker and Smith, "Increasing the Reliability of Reliability Diagrams", Weather and Forecasting
    22, 2007. Windows are taken as independent, so that it is rather too small.
    """
    rng = np.random.default_rng(0)
    total = 0.0
    for part in bins:
        right = rng.random((_DRAWS, len(part))) < confidence[part]
        total += float(np.abs((confidence[part] - right).sum(axis=1)).mean())
    return total / len(confidence)

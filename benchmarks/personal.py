"""Whether a personal profile or fine-tuning improves later runs: neither, each and both, paired.

    python -m benchmarks personal FOLDER_OF_RECORDINGS [--seeds 3]

The recordings must be six runs. A model is trained on three of them for a fixed number of epochs (nothing
is chosen on any group), a profile is made from the signal of the fourth without its labels, as `calibrate`
does, the model is fine-tuned on the trials of the fourth with the recipes of `train --init`, and all are
tested on the last two. The roles rotate over the six runs, so in some rotations the tested runs came before
the others in time.

One person wore one headset for one session: there is little for a profile to make good. So everything is
done a second time with the gain of each channel changed at random by up to a factor of two in the fourth run
and in the tested ones, as another headset, another day or another fit might: that part is simulated.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from benchmarks.record import write_record
from mimamba_edge.artifact import sha256_file
from mimamba_edge.calibration.make_profile import make_profile
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import LABELS, class_names
from mimamba_edge.data.mains import detect_mains
from mimamba_edge.data.windows import Windows, trial_windows
from mimamba_edge.export.network import FamilyBlueprint
from mimamba_edge.export.runner import TorchRunner
from mimamba_edge.export.training.finetune import FROZEN, UNFROZEN
from mimamba_edge.export.training.fit import Hyperparameters, Start, fit, predict
from mimamba_edge.export.training.scores import (
    accuracy_with_interval,
    paired_difference,
    paired_mean,
    summarise,
)
from mimamba_edge.family import family_of
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.recording import FileSource

CHANNELS = ("TP9", "AF7", "AF8", "TP10")
METHODS = {
    "none": "the model as it was trained",
    "profile": "calibrate on the fourth run, 60 s without labels",
    "fine-tuned": "train --init --freeze backbone on the trials of the fourth run",
    "both": "the same under the profile's scaling",
    "fine-tuned, all weights": "train --init on the trials of the fourth run",
}
CONDITIONS = {"as recorded": 1.0, "gains changed (simulated)": 2.0}
"""Largest factor by which the gain of a channel is changed after training."""
RUNS, TRAINED = 6, 3
WINDOW_S, SFREQ, REST_S = 2.0, 128.0, 60.0


class Amplified(FileSource):
    """A recording with other gains."""

    def __init__(self, path: Path, names: tuple[str, ...], gains: NDArray[np.float64]) -> None:
        super().__init__(path, speed="max")
        self._gains = np.ones(len(self.ch_names))
        self._gains[[self.ch_names.index(name) for name in names]] = gains
        self.rails_uv = None

    def chunks(self) -> Iterator[Chunk]:
        """Yield the recording."""
        for chunk in super().chunks():
            yield dataclasses.replace(chunk, samples=chunk.samples * self._gains)


@dataclasses.dataclass
class Score:
    """What one method said, by trial: how often it was asked, was right, and its mean loss in nats."""

    asked: NDArray[np.float64]
    right: NDArray[np.float64]
    loss: NDArray[np.float64]

    @classmethod
    def of(cls, n_trials: int) -> Score:
        """Return a score of nothing yet."""
        return cls(np.zeros(n_trials), np.zeros(n_trials), np.zeros(n_trials))

    def add(self, trials: NDArray[np.int64], logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Count the answers on some trials of one window each."""
        logs = log_softmax(logits.astype(np.float64), axis=1)
        self.asked[trials] += 1
        self.right[trials] += logits.argmax(axis=1) == labels
        self.loss[trials] -= logs[np.arange(len(labels)), labels]


def prepare(data: Path) -> tuple[Windows, Contract, list[Path]]:
    """Return the windows of all trials, one each, the contract and the six recordings.

    Raises:
        SystemExit: The data set is not made of six recordings with trials of one window.
    """
    dataset = open_dataset(data)
    paths = [data / file for file in dataset.files]
    mains_hz = detect_mains(dataset.recordings())
    contract = Contract(
        CHANNELS,
        SFREQ,
        round(WINDOW_S * SFREQ),
        16,
        class_names(dataset.trials),
        filters=default_filters(SFREQ, mains_hz),
        mains_hz=mains_hz,
        scaling=Scaling("none"),
    )
    windows = trial_windows(dataset, contract)
    if len(paths) != RUNS or len(windows.labels) != len(windows.trials):
        raise SystemExit(f"{data}: six recordings and one window a trial are needed")
    return windows, contract, paths


def rotation(
    windows: Windows,
    contract: Contract,
    paths: list[Path],
    shift: int,
    seed: int,
    recipe: Hyperparameters,
    scores: dict[str, dict[str, Score]],
) -> None:
    """Train once, adapt in every way under every condition, and count the answers on the tested runs."""
    names = [path.name for path in np.roll(np.array(paths, dtype=object), -shift)]
    of_run = np.array([names.index(trial.file) for trial in windows.trials])
    train, fourth, test = (
        np.flatnonzero(part) for part in (of_run < TRAINED, of_run == TRAINED, of_run > TRAINED)
    )
    sizes = {name: getattr(contract, name) for name in ("n_chans", "n_times", "n_outputs", "sfreq")}
    blueprint = FamilyBlueprint(family_of(contract).config(sizes))
    scaling = fit_scaling(windows.data[train])
    contract = dataclasses.replace(contract, scaling=scaling)
    labels = windows.labels
    base, fitted = fit(
        blueprint,
        recipe,
        (apply_scaling(windows.data[train], scaling), labels[train]),
        seed=seed,
        epochs=recipe.epochs,
    )
    path = next(path for path in paths if path.name == names[TRAINED])
    rng = np.random.default_rng([shift, seed])
    for condition, factor in CONDITIONS.items():
        gains = np.exp(rng.uniform(-1, 1, contract.n_chans) * np.log(factor))
        uv = windows.data * gains[:, None]
        with TorchRunner((base, contract), threads=1) as runner:
            source = Amplified(path, contract.ch_names, gains)
            profile = make_profile(
                source, runner, name="p", model=Path("base.pt"), model_sha256="", seconds=REST_S
            )
        for method in METHODS:
            own = profile.scaling if method in ("profile", "both") else scaling
            model = base
            if method not in ("none", "profile"):
                frozen = "all" not in method
                model, _ = fit(
                    blueprint,
                    FROZEN if frozen else UNFROZEN,
                    (apply_scaling(uv[fourth], own), labels[fourth]),
                    seed=seed,
                    start=Start(fitted.state_dict, frozen),
                )
            logits = predict(model, apply_scaling(uv[test], own))
            scores[condition][method].add(test, logits, labels[test])


def summary(windows: Windows, scores: dict[str, Score]) -> dict[str, Any]:
    """Return the figures of each method, paired with none over trials."""
    labels, units = windows.labels, [str(i) for i in range(len(windows.labels))]
    share = {name: score.right / score.asked for name, score in scores.items()}
    loss = {name: score.loss / score.asked for name, score in scores.items()}
    figures = {}
    for name in scores:
        # How often each trial was right stands for the seeds and rotations; trials are what is drawn again.
        figures[name] = {
            "balanced_accuracy": accuracy_with_interval(labels, share[name], units),
            "minus_none": paired_difference(labels, share[name], share["none"], units),
            "nll": float(loss[name].mean()),
            "nll_minus_none": paired_mean(loss[name] - loss["none"], units),
            "right_of_asked": [
                [int(r), int(a)] for r, a in zip(scores[name].right, scores[name].asked, strict=True)
            ],
        }
    return figures


def measure(data: Path, seeds: int, epochs: int) -> dict[str, Any]:
    """Return the record."""
    windows, contract, paths = prepare(data)
    recipe = dataclasses.replace(Hyperparameters(), epochs=epochs)
    n_trials = len(windows.trials)
    scores = {c: {m: Score.of(n_trials) for m in METHODS} for c in CONDITIONS}
    torch.set_num_threads(1)
    with progress("fitting", RUNS * seeds) as bar:
        for seed in range(seeds):
            for shift in range(RUNS):
                rotation(windows, contract, paths, shift, seed, recipe, scores)
                bar.advance()
    return {
        "data": {"folder": data.resolve().name, "labels_sha256": sha256_file(data / LABELS)},
        "design": {
            "ch_names": list(CHANNELS),
            "n_times": contract.n_times,
            "sfreq": contract.sfreq,
            "n_trials": n_trials,
            "rotations": RUNS,
            "seeds": seeds,
            "trained_on": TRAINED,
            "calibrated_on": 1,
            "tested_on": RUNS - TRAINED - 1,
            "calibration_s": REST_S,
            "gain_factor": CONDITIONS,
            "unit_of_intervals": "trial",
        },
        "recipes": {
            name: dataclasses.asdict(held)
            for name, held in (("training", recipe), ("frozen", FROZEN), ("unfrozen", UNFROZEN))
        },
        "methods": METHODS,
        "majority_share": summarise(
            windows.labels, windows.labels[None], [t.subject for t in windows.trials]
        )["majority_share"],
        "conditions": {name: summary(windows, held) for name, held in scores.items()},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of six recordings with labels.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--epochs", type=int, default=Hyperparameters().epochs, help="of the training of each base model"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, show, record."""
    record = measure(arguments.data, arguments.seeds, arguments.epochs)
    path = write_record(arguments, record, verified=True)
    rows = []
    for condition, methods in record["conditions"].items():
        for name, held in methods.items():
            low, high = held["minus_none"]["interval"]
            rows.append(
                (
                    condition,
                    name,
                    f"{held['balanced_accuracy']['mean']:.3f}",
                    f"{held['minus_none']['difference']:+.3f} ({low:+.3f} to {high:+.3f})",
                    f"{held['nll']:.3f}",
                )
            )
    show_table("", ("signal", "method", "balanced accuracy", "against none", "NLL"), rows, left=(0, 1))
    show_note(f"record: {path}")
    return 0

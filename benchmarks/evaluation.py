"""Our network beside all baselines of ``mimamba-edge evaluate``, on the same held-out trials.

    python -m benchmarks evaluation FOLDER_OF_RECORDINGS [--work build/evaluation] [--jobs 2]

Trains on the SSVEP recordings with five and with four channels, held out by run, and on simulated people,
held out by person: three seeds of ours and of every network of others. On the recordings stands also a
linear baseline that knows the frequencies of the flicker. Checkpoints stay in the work folder, by commit:
the same command goes on where it was ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import BUILD, write_record
from benchmarks.ssvep_baseline import features
from mimamba_edge.artifact import sha256_file
from mimamba_edge.console import progress, show_note
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.simulate import CH_NAMES, SPREAD, write_dataset
from mimamba_edge.export.evaluation import table
from mimamba_edge.export.evaluation.baselines import BASELINES, Baseline, logistic_regression
from mimamba_edge.export.evaluation.neural import NETWORKS, named
from mimamba_edge.export.evaluation.pipeline import evaluate
from mimamba_edge.export.jobs.run import Engine
from mimamba_edge.export.training.pipeline import prepare, run_training

SEEDS, PEOPLE = 3, 6
WINDOW_S, SFREQ = 2.0, 128.0
FLICKER = Baseline(features, logistic_regression)
HEADER = ("data", "method", "balanced accuracy", "less the network", "p")


@dataclass(frozen=True)
class Setting:
    """What is trained and evaluated.

    Attributes:
        name: For the table.
        data: Data set.
        protocol: How trials are held out.
        channels: In the order of the input; by default all.
        baselines: Beside those of every evaluation.
    """

    name: str
    data: str
    protocol: str
    channels: tuple[str, ...] | None
    baselines: dict[str, Baseline]


def settings(recordings: str, simulated: str) -> list[Setting]:
    """Return the settings in the order of the table."""
    linear = {"log power at the flicker's frequencies, logistic regression": FLICKER}
    by_run = "leave-one-run-out"
    return [
        Setting("flicker, 5 channels", recordings, by_run, None, linear),
        Setting("flicker, 4 channels", recordings, by_run, CH_NAMES, linear),
        Setting(f"{PEOPLE} simulated people", simulated, "cross-subject", None, {}),
    ]


def train(one: Setting, checkpoint: Path, engine: Engine) -> None:
    """Train our network, unless the checkpoint is there already."""
    if checkpoint.is_file():
        return
    plan = prepare(
        open_dataset(one.data), one.protocol, window_s=WINDOW_S, sfreq=SFREQ, channels=one.channels
    )
    run_training(plan, seeds=SEEDS, out=checkpoint, engine=engine)


def measure(one: Setting, checkpoint: Path, engine: Engine) -> dict[str, Any]:
    """Return the table of one setting."""
    with progress("evaluating", total=None) as bar:
        report = evaluate(
            checkpoint,
            open_dataset(one.data),
            None,
            bar,
            baselines={**BASELINES, **one.baselines},
            against=tuple(NETWORKS),
            engine=engine,
        )
    table.show(report)
    return {
        "setting": one.name,
        "checkpoint_sha256": sha256_file(checkpoint),
        "labels_sha256": report.data.labels_sha256,
        "protocol": report.protocol,
        "n_trials": report.n_trials,
        "methods": [_rounded(_row(asdict(method))) for method in report.methods],
        "picked_on_test": report.picked_on_test and {"difference": report.picked_on_test["difference"]},
        "notes": [note for note in table.notes(report) if note.startswith(table.BEST_NETWORK)],
        "recipes": [note for note in report.notes if "validation groups chose" in note],
    }


def _rounded(value: Any) -> Any:
    """Return figures with as many digits as a record of all methods has room for."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 5) if isinstance(value, float) else value


def _row(method: dict[str, Any]) -> dict[str, Any]:
    score, against = method["balanced_accuracy"], method["against"]
    return {
        **{k: method[k] for k in ("name", "kind", "permutation_p")},
        "balanced_accuracy": {k: score[k] for k in ("mean", "interval", "groups", "unit", "seeds")},
        "against": None if against is None else {k: against[k] for k in ("difference", "interval")},
    }


def to_rows(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return the rows of the table: every method of every checkpoint."""
    rows = []
    for one_model in record["tables"]:
        for one in one_model["methods"]:
            score, less = one["balanced_accuracy"], one["against"]
            low, high = score["interval"]
            against = ""
            if less is not None:
                a, b = less["interval"]
                against = f"{less['difference']:+.3f} ({a:+.3f} to {b:+.3f})"
            rows.append(
                (
                    _setting(one_model),
                    one["name"],
                    f"{score['mean']:.3f} ({low:.3f} to {high:.3f})",
                    against,
                    f"{one['permutation_p']:.4f}",
                )
            )
    return rows


def _setting(one: dict[str, Any]) -> str:
    """Return what was evaluated; records of one kind of data name the channels alone."""
    channels = one.get("ch_names", ())
    return str(one.get("setting") or f"{len(channels)}: {', '.join(channels)}")


def notes(record: dict[str, Any]) -> list[str]:
    """Return what stands below the table."""
    windows = record.get("trained_on")
    shown = "length and rate of the windows not in the record"
    if windows:
        shown = f"windows of {windows['window_s']:g} s at {windows['sfreq']:g} Hz"
    found = [f"95 % intervals, differences paired; {SEEDS} seeds of every network", shown]
    for one in record["tables"]:
        score = one["methods"][0]["balanced_accuracy"]
        said = [
            f"{one['n_trials']} trials, {one['protocol']}",
            f"intervals over {score['groups']} {score['unit']}s",
            *one.get("notes", ()),
        ]
        if (picked := one["picked_on_test"]) is not None:
            said.append(f"epochs picked on the tested trials would have added {picked['difference']:+.3f}")
        found.append(f"{_setting(one)}: {', '.join(said)}")
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of the SSVEP recordings with labels.csv")
    parser.add_argument("--work", type=Path, default=BUILD / "evaluation", help="where checkpoints stay")
    parser.add_argument("--jobs", type=int, help="trainings at a time; default: one on each core")


def run(arguments: argparse.Namespace) -> int:
    """Train and evaluate every setting; write the record."""
    networks = [named(word) for word in NETWORKS]
    show_note(f"networks of others: {', '.join(network.name for network in networks)}")
    folder, engine = arguments.work / str(arguments.environment["commit"]), Engine(jobs=arguments.jobs)
    if not (folder / "simulated").is_dir():
        write_dataset(folder / "simulated", subjects=PEOPLE, runs=1, spread=SPREAD)
    tables = []
    for number, one in enumerate(settings(str(arguments.data), str(folder / "simulated"))):
        checkpoint = folder / f"{number}.pt"
        train(one, checkpoint, engine)
        tables.append(measure(one, checkpoint, engine))
    windows = {"window_s": WINDOW_S, "sfreq": SFREQ, "seeds": SEEDS}
    path = write_record(arguments, {"trained_on": windows, "tables": tables}, verified=True)
    show_note(f"record: {path}")
    return 0

"""Accuracy against minutes of personal calibration, on real recordings and on simulated people who differ.

    python -m benchmarks personal-minutes FOLDER_OF_RECORDINGS CHECKPOINT

What ``mimamba-edge evaluate --calibration-minutes`` shows: once for a checkpoint on the recordings of its
training (its fold checkpoints stand beside it), once for a model that is trained here on simulated people,
each held out in turn. These differ in the strength and frequency of their rhythms and in the gain of each
channel: how much is our choice, so that the second table shows that the tool finds a gain, not how large one
is in life.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from mimamba_edge.artifact import sha256_file
from mimamba_edge.console import progress, show_note
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.export.evaluation import table
from mimamba_edge.export.evaluation.pipeline import evaluate
from mimamba_edge.export.training.pipeline import prepare, run_training

HEADER = ("data", "fitted on the first minutes", "minutes", "balanced accuracy", "less as delivered")
SUBJECTS, TRIALS, SPREAD, EPOCHS = 8, 60, 0.4, 20
"""Of the simulation: people, trials of 4 s of each, how much people differ, epochs of the training."""
RECORDED_MINUTES, SIMULATED_MINUTES = (0.25, 0.5), (0.5, 1.0, 2.0)
"""A recorded run holds one minute of trials, a simulated person four."""


def curve(checkpoint: Path, data: Path, minutes: Sequence[float]) -> dict[str, Any]:
    """Return the figures of one checkpoint."""
    with progress("evaluating", total=None) as bar:
        report = evaluate(
            checkpoint, open_dataset(data), None, bar, baselines={}, calibration_minutes=minutes
        )
    table.show(report)
    assert report.personal is not None
    points = []
    for one in report.personal.points:
        score, against = one.scored.balanced_accuracy, one.scored.against
        points.append(
            {
                "adapted": one.adapted,
                "minutes": one.minutes,
                "used_minutes": round(one.used_minutes, 3),
                "mean": score.mean,
                "interval": score.interval,
                "difference": None if against is None else against.difference,
                "difference_interval": None if against is None else against.interval,
            }
        )
    first = report.personal.points[0].scored.balanced_accuracy
    return {
        "data": {"name": report.data.name, "labels_sha256": report.data.labels_sha256},
        "checkpoint_sha256": sha256_file(checkpoint),
        "protocol": report.protocol,
        "seeds": len(first.seeds),
        "groups": len(report.personal.groups),
        "n_scored": len(report.personal.scored),
        "n_neighbours": len(report.personal.neighbours),
        "interval": {"method": first.method, "groups": first.groups, "unit": first.unit},
        "points": points,
    }


def simulated(folder: Path) -> dict[str, Any]:
    """Simulate people, train with each held out, and return the figures."""
    data, checkpoint = folder / "simulated", folder / "ckpt.pt"
    write_dataset(data, subjects=SUBJECTS, runs=1, trials=TRIALS, spread=SPREAD)
    plan = prepare(
        open_dataset(str(data)), "cross-subject", window_s=1.0, sfreq=64.0, channels=None, epochs=EPOCHS
    )
    run_training(plan, seeds=1, out=checkpoint)
    return {**curve(checkpoint, data, SIMULATED_MINUTES), "spread": SPREAD, "epochs": EPOCHS}


def to_rows(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return the rows of the table: every point of both curves."""
    rows = []
    for one in record["curves"]:
        for point in one["points"]:
            low, high = point["interval"]
            less = ""
            if point["difference"] is not None:
                a, b = point["difference_interval"]
                less = f"{point['difference']:+.3f} ({a:+.3f} to {b:+.3f})"
            rows.append(
                (
                    f"{one['data']['name']}, {one['protocol']}",
                    point["adapted"],
                    f"{point['minutes']:g}",
                    f"{point['mean']:.3f} ({low:.3f} to {high:.3f})",
                    less,
                )
            )
    return rows


def notes(record: dict[str, Any]) -> list[str]:
    """Return what stands below the table."""
    found = []
    for one in record["curves"]:
        spread = f", people differ by a spread of {one['spread']:g}" if "spread" in one else ""
        found.append(
            f"{one['data']['name']}: {one['n_scored']} later trials of {one['groups']} groups, "
            f"{one['n_neighbours']} of them beside a calibration trial, {one['seeds']} seeds{spread}, "
            f"95 % intervals over {one['interval']['groups']} {one['interval']['unit']}s"
        )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of recordings with labels.csv")
    parser.add_argument("checkpoint", type=Path, help="trained on them, with its folds beside")


def run(arguments: argparse.Namespace) -> int:
    """Make both curves; write the record."""
    curves = [curve(arguments.checkpoint, arguments.data, RECORDED_MINUTES)]
    with tempfile.TemporaryDirectory() as folder:
        curves.append(simulated(Path(folder)))
    path = write_record(arguments, {"curves": curves}, verified=True)
    show_note(f"record: {path}")
    return 0

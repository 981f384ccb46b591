"""A trained network beside all baselines, on the same held-out trials of its own recordings.

The baselines are those of ``mimamba-edge evaluate``, and the linear one of the SSVEP recordings, which knows
the frequencies of the flicker.

    python -m benchmarks evaluation FOLDER_OF_RECORDINGS CHECKPOINT...

Each checkpoint needs its fold checkpoints beside it (``CKPT-folds``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from benchmarks.ssvep_baseline import features
from mimamba_edge.artifact import sha256_file
from mimamba_edge.console import progress, show_note
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.export.checkpoint import load_checkpoint
from mimamba_edge.export.evaluation import table
from mimamba_edge.export.evaluation.baselines import BASELINES, Baseline, logistic_regression
from mimamba_edge.export.evaluation.pipeline import evaluate

HEADER = ("channels", "method", "balanced accuracy", "less the network", "p")


def measure(data: Path, checkpoint: Path) -> dict[str, Any]:
    """Return the table of one checkpoint."""
    flicker = Baseline(features, logistic_regression)
    baselines = {**BASELINES, "log power at the flicker's frequencies, logistic regression": flicker}
    with progress("evaluating", total=None) as bar:
        report = evaluate(checkpoint, open_dataset(data), None, bar, baselines=baselines)
    table.show(report)
    methods = [
        {k: v for k, v in asdict(one).items() if k not in ("predicted", "subjects", "folds", "calibration")}
        for one in report.methods
    ]
    return {
        "checkpoint_sha256": sha256_file(checkpoint),
        "ch_names": list(load_checkpoint(checkpoint).contract.ch_names),
        "data": {"name": report.data.name, "labels_sha256": report.data.labels_sha256},
        "protocol": report.protocol,
        "n_trials": report.n_trials,
        "methods": methods,
        "overlap": [{k: v for k, v in asdict(o).items() if k != "both"} for o in report.overlap],
        "picked_on_test": report.picked_on_test,
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
                    f"{len(one_model['ch_names'])}: {', '.join(one_model['ch_names'])}",
                    one["name"],
                    f"{score['mean']:.3f} ({low:.3f} to {high:.3f})",
                    against,
                    f"{one['permutation_p']:.4f}",
                )
            )
    return rows


def notes(record: dict[str, Any]) -> list[str]:
    """Return what stands below the table."""
    first = record["tables"][0]
    score = first["methods"][0]["balanced_accuracy"]
    found = [
        f"{first['n_trials']} trials of {first['data']['name']}, {first['protocol']}",
        f"95 % intervals over {score['groups']} {score['unit']}s, differences paired",
    ]
    for one_model in record["tables"]:
        if (picked := one_model["picked_on_test"]) is not None:
            found.append(
                f"{len(one_model['ch_names'])} channels: epochs picked on the tested trials would have added "
                f"{picked['difference']:+.3f}"
            )
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of recordings with labels.csv")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="trained on them, with their folds beside")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate all checkpoints; write the record."""
    tables = [measure(arguments.data, path) for path in arguments.checkpoints]
    path = write_record(arguments, {"tables": tables}, verified=True)
    show_note(f"record: {path}")
    return 0

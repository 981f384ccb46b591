"""Accuracy on the SSVEP recordings: our network beside a linear baseline, on the same held-out trials.

Logistic regression on the log ratio of power at 15, 20, 30 and 40 Hz to its neighbours: knows the
flicker frequencies, learns a handful of weights. A network that knows neither must be measured beside it.

    python -m benchmarks ssvep-baseline DATA                # trains with 5 channels and with 4, then compares
    python -m benchmarks ssvep-baseline DATA --work FOLDER  # keeps checkpoints, reports; an ended run goes on

A record holds the command of each training.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.latency import mimamba
from benchmarks.record import write_record
from mimamba_edge.artifact import sha256_file
from mimamba_edge.console import show_note
from mimamba_edge.contract import Contract
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.windows import trial_windows
from mimamba_edge.export.training.protocol import split
from mimamba_edge.export.training.scores import format_score, paired_difference, summarise

TARGETS_HZ = (15.0, 20.0, 30.0, 40.0)
TRAIN = ("--window", "2", "--sfreq", "128", "--protocol", "leave-one-run-out")
"""A trial is 2 s: one window each."""
CHANNELS = {"ckpt": (), "ckpt4": ("--channels", "TP9,AF7,AF8,TP10")}
"""All five, and the four of the headband; by the checkpoint's name."""


def features(windows: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Log ratio of power at each target to its neighbours within 3 Hz: ``(n, c, l)`` to ``(n, c * 4)``."""
    n_times = windows.shape[-1]
    power = np.abs(np.fft.rfft(windows * np.hanning(n_times), axis=-1)) ** 2
    freq = np.fft.rfftfreq(n_times, 1 / sfreq)
    columns = []
    for target in TARGETS_HZ:
        away = np.abs(freq - target)
        columns.append(
            np.log(power[..., away <= 0.5].mean(-1) / power[..., (away > 0.75) & (away <= 3)].mean(-1))
        )
    return np.concatenate(columns, axis=-1)


def logistic(x: NDArray[np.float64], y: NDArray[np.int64], penalty: float = 1.0) -> NDArray[np.float64]:
    """Fit a two-class logistic regression with an L2 penalty on all but the intercept; return its weights."""
    design = np.column_stack([x, np.ones(len(x))])
    sign = 2.0 * y - 1

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (design @ w)
        slope = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
        ridge = penalty * w
        ridge[-1] = 0
        return float(np.logaddexp(0, -margin).sum() + 0.5 * ridge @ w), design.T @ slope + ridge

    return np.asarray(minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x)


def baseline(windows: Any, protocol: str, sfreq: float) -> NDArray[np.int64]:
    """Return the out-of-fold prediction of every trial; train and validation parts both fit the weights."""
    x = features(windows.data, sfreq)
    y = windows.labels
    predicted = np.full(len(y), -1, dtype=np.int64)
    for fold in split(windows, protocol)[1]:
        fitted = np.concatenate([fold.train, fold.validation])
        mean, deviation = x[fitted].mean(0), x[fitted].std(0)
        weights = logistic((x[fitted] - mean) / deviation, y[fitted])
        test = (x[fold.test] - mean) / deviation
        predicted[fold.test] = (np.column_stack([test, np.ones(len(test))]) @ weights > 0).astype(np.int64)
    return predicted


def train(data: Path, name: str, seeds: int, folder: Path) -> tuple[str, Path]:
    """Train one network; return the command without folders, and its report.

    Args:
        data: Folder of the recordings.
        name: One of :data:`CHANNELS`.
        seeds: Number of random seeds.
        folder: For checkpoint and report. One that is there is taken as it is.
    """
    checkpoint, report = folder / f"{name}.pt", folder / f"{name}.json"
    options = (*TRAIN, *CHANNELS[name], "--seeds", str(seeds))
    if not report.is_file():
        mimamba("train", str(data), *options, "-o", str(checkpoint), "--report", str(report))
    return shlex.join(("mimamba-edge", "train", data.resolve().name, *options)), report


def compare(data: Path, report_path: Path, command: str) -> dict[str, Any]:
    """Score the baseline on the trials, channels and folds of one report of ``train --report``."""
    report = json.loads(report_path.read_text())
    raw = report["contract"]
    contract = Contract.from_dict({**raw, "scaling": {"kind": "none"}})
    windows = trial_windows(open_dataset(data), contract)
    names = list(windows.class_names)
    key = [(t.file, t.start_s) for t in windows.trials]
    if key != [(t["file"], t["start_s"]) for t in report["trials"]]:
        raise SystemExit(f"{report_path} was made from other trials than {data} holds")
    if len(windows.labels) != len(windows.trials):
        raise SystemExit(f"{report_path} has several windows a trial; the baseline knows one a trial")
    predicted = baseline(windows, report["protocol"], contract.sfreq)
    network = np.array([[names.index(p) for p in t["predicted"]] for t in report["trials"]]).T
    right = (predicted == windows.labels).astype(np.float64)
    return {
        "report": report_path.name,
        "report_sha256": sha256_file(report_path),
        "train": command,
        "ch_names": list(contract.ch_names),
        "n_times": contract.n_times,
        "sfreq": contract.sfreq,
        "protocol": report["protocol"],
        "n_trials": len(windows.labels),
        "network": {k: v for k, v in report["balanced_accuracy"].items() if k != "folds"},
        "baseline": {
            **summarise(windows.labels, predicted[None], [t.subject for t in windows.trials]),
            "accuracy": float(right.mean()),
        },
        "network_accuracy": float((network == windows.labels).mean()),
        "network_minus_baseline": paired_difference(
            windows.labels,
            (network == windows.labels).mean(axis=0),
            right,
            [str(i) for i in range(len(right))],
        ),
        "trained_by": report["source"],
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of the SSVEP recordings with labels.csv")
    parser.add_argument("--seeds", type=int, default=3, help="of each network")
    parser.add_argument("--work", type=Path, help="where checkpoints and reports stay; default: nowhere")


def run(arguments: argparse.Namespace) -> int:
    """Train, compare, print, write."""
    with tempfile.TemporaryDirectory() as passing:
        folder = arguments.work or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for name in CHANNELS:
            command, report = train(arguments.data, name, arguments.seeds, folder)
            rows.append(compare(arguments.data, report, command))
    for row in rows:
        print(
            f"{len(row['ch_names'])} channels: network {row['network']['mean']:.3f}, "
            f"baseline {row['baseline']['mean']:.3f}, difference "
            f"{row['network_minus_baseline']['difference']:+.3f} "
            f"({format_score(row['network_minus_baseline'], '+')})"
        )
    if any(row["trained_by"]["dirty"] for row in rows):
        arguments.environment["dirty"] = True
    path = write_record(arguments, {"rows": rows}, verified=True)
    show_note(f"record: {path}")
    return 0

"""Latency of the default model, trained on real recordings: every runner side by side on one core.

    python -m benchmarks latency FOLDER_OF_RECORDINGS

Trains (unless --checkpoint names one), exports, and measures on the recordings' own windows.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import renamed, write_record
from mimamba_edge.artifact import sha256_file
from mimamba_edge.bench.entries import Variant, entries_of
from mimamba_edge.bench.run import run_bench, unverified
from mimamba_edge.bench.table import HEADER, notes, to_rows
from mimamba_edge.console import show_note, show_table
from mimamba_edge.errors import MimambaError
from mimamba_edge.load import load_model
from mimamba_edge.parity import find_windows

TRAIN = ("--window", "1", "--sfreq", "128", "--channels", "TP9,AF7,AF8,TP10")
BATCHES, THREADS = (1, 64), 1
TARGETS = (
    ("eager / ours, batch 1", "at least", 8.0),
    ("torch.compile / ours, batch 1", "at least", 5.0),
    ("ours / dense sgemm floor, batch 1", "at most", 2.5),
    ("ours per window, batch 64 / batch 1", "at most", 0.9),
    ("eager / ours, batch 64", "at least", 3.0),
)
"""What the project holds itself to on one core of a workstation."""


def mimamba(*arguments: str, ends: tuple[int, ...] = (0,)) -> None:
    """Run the command line in a process of its own.

    Raises:
        MimambaError: It ended otherwise than expected; why, it has told itself.
    """
    code = subprocess.run([sys.executable, "-m", "mimamba_edge", *arguments]).returncode
    if code not in ends:
        raise MimambaError(f"mimamba-edge {' '.join(arguments)} ended with {code}")


def ratios(record: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of :data:`TARGETS` from a record's medians; ``None`` where a row was not timed."""
    p50 = {
        (row["runner"], row["batch"]): row["p50_ms"] for row in record["rows"] if row["p50_ms"] is not None
    }
    eager, compiled, ours = "torch-eager-parallel", "torch-compile", "onnxruntime-cpu"
    floor = record["floor"]["floor_ms"] if record["floor"] else None

    def ratio(over: float | None, under: float | None) -> float | None:
        return None if over is None or under is None else over / under

    one, many = p50.get((ours, 1)), p50.get((ours, 64))
    values = (
        ratio(p50.get((eager, 1)), one),
        ratio(p50.get((compiled, 1)), one),
        ratio(one, floor),
        ratio(None if many is None else many / 64, one),
        ratio(p50.get((eager, 64)), many),
    )
    return dict(zip((name for name, _, _ in TARGETS), values, strict=True))


def measure(data: Path, checkpoint: Path, model: Path) -> dict[str, Any]:
    """Return the record of the suite for a checkpoint and its exported model."""
    windows = find_windows(load_model(str(model)).contract, data=data)
    entries = entries_of(
        [Variant(str(checkpoint), "cpu"), Variant(str(model), "cpu")], windows, threads=THREADS
    )
    record = run_bench(entries, windows, batches=BATCHES, threads=THREADS)
    record["suite"] = {
        "train": list(TRAIN),
        "sha256": {"checkpoint": sha256_file(checkpoint), "onnx": sha256_file(model)},
        "ratios": ratios(record),
    }
    # Where the files lay on this machine is nobody's business, and no part of the figures.
    names = {str(checkpoint): "default.pt", str(model): "default.onnx", str(data): data.name}
    return renamed(record, names)  # type: ignore[no-any-return]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of recordings with labels.csv")
    parser.add_argument("--checkpoint", type=Path, help="a default model trained on them before")


def run(arguments: argparse.Namespace) -> int:
    """Measure; return 1 if a runner's output was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, model = Path(folder) / "default.pt", Path(folder) / "default.onnx"
        if arguments.checkpoint is None:
            mimamba("train", str(arguments.data), *TRAIN, "-o", str(checkpoint))
        else:
            shutil.copyfile(arguments.checkpoint, checkpoint)
        mimamba("export", str(checkpoint), "-o", str(model))
        record = measure(arguments.data, checkpoint, model)
    verified = not unverified(record)
    path = write_record(arguments, record, verified=verified)
    show_table("", HEADER, to_rows(record), left=(0, 1))
    for line in notes(record):
        show_note(line)
    rows = []
    for name, word, bound in TARGETS:
        value = record["suite"]["ratios"][name]
        met = value is not None and (value >= bound if word == "at least" else value <= bound)
        shown = "not measured" if value is None else f"{value:.2f}"
        rows.append((name, shown, f"{word} {bound:g}", "passed" if met else "missed"))
    show_table("ratios of medians", ("", "here", "target", "verdict"), rows, left=(0, 3))
    show_note(f"record: {path}")
    return 0 if verified else 1

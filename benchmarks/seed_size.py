"""What a set of SEED's size costs in memory: made up, checked, trained on and evaluated.

    python -m benchmarks seed-size FOLDER [--minutes 15]

Writes 45 files of SEED's layout and length into FOLDER (7.6 GB; they stay, and are found again), then runs
`data check`, cuts the windows of all 62 channels (a cache of 9.6 GB in FOLDER), and runs `evaluate` and
`train` under `cross-subject`. Memory is that of all processes together. A step that takes longer is
interrupted and says so; a training is after two minutes, since what it holds it holds from its first fit on.
Evaluated are fold models of the default size that nobody trained, so that no training need be waited for.
FOLDER also keeps what was measured: a run that was ended goes on after its last whole step, while the commit
is the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io

from benchmarks.process_tree import watch
from benchmarks.record import write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.data.datasets.seed import CHANNELS
from mimamba_edge.files import source_state, write_json

LIMIT_BYTES = 2e9
"""Of the memory of all processes together."""
PROTOCOL = "cross-subject"
_TRAINING_S = 120.0
_LABELS = (1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1)
_SECONDS = (235, 233, 206, 238, 185, 195, 237, 216, 265, 237, 235, 233, 235, 238, 206)
"""Of the clips: 185 to 265 s, as in SEED."""
_RHYTHM_HZ = {-1: 6.0, 0: 10.0, 1: 20.0}
_DAYS = ("20140404", "20140411", "20140418")
_SFREQ = 200


def write_set(folder: Path, subjects: int = 15, seconds: tuple[int, ...] = _SECONDS) -> Path:
    """Write files of SEED's layout, in single precision; those that are there stay.

    Noise, to which each class adds a rhythm that is as strong as a tenth of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    io.savemat(folder / "label.mat", {"label": np.array([_LABELS], dtype=np.int16)})
    names = [folder / f"{s}_{day}.mat" for s in range(1, subjects + 1) for day in _DAYS]
    with progress("writing SEED's files", len(names)) as bar:
        for number, path in enumerate(names):
            if not path.is_file():
                hidden = path.with_suffix(".part")
                clips = {f"abc_eeg{k}": _clip(number, k, seconds[k - 1]) for k in range(1, len(seconds) + 1)}
                with hidden.open("wb") as file:
                    io.savemat(file, clips)
                hidden.rename(path)
            bar.advance()
    return folder


def _clip(number: int, clip: int, seconds: int) -> Any:
    rng = np.random.default_rng([number, clip])
    n = _SFREQ * seconds + 37 * clip
    wave = np.sin(2 * np.pi * _RHYTHM_HZ[_LABELS[clip - 1]] * np.arange(n) / _SFREQ + rng.uniform(0, 6))
    return (10 * rng.standard_normal((len(CHANNELS), n), dtype=np.float32) + wave).astype(np.float32)


def commands(folder: Path, spec: str) -> dict[str, list[str]]:
    """Return the arguments of Python for each step, by its name."""
    model, out, channels = str(folder / "untrained.pt"), str(folder / "trained.pt"), ",".join(CHANNELS)
    train = ["train", spec, "--protocol", PROTOCOL, "--epochs", "1", "-o", out, "--channels", channels]
    return {
        "data check": ["mimamba_edge", "data", "check", spec],
        "windows": ["benchmarks.seed_folds", spec, model, channels],
        "evaluate": ["mimamba_edge", "evaluate", model, spec],
        "train": ["mimamba_edge", *train],
    }


def measure(
    folder: Path, limit_s: float, *, subjects: int = 15, seconds: tuple[int, ...] = _SECONDS
) -> dict[str, dict[str, Any]]:
    """Return memory and time of each step, and keep them in the folder.

    Args:
        folder: Where everything is.
        limit_s: After which a step is interrupted.
        subjects: People.
        seconds: Lengths of the clips.
    """
    data = write_set(folder / "Preprocessed_EEG", subjects, seconds)
    spec = f"seed:{data}?cache={folder / 'cache'}"
    kept, code = folder / "measured.json", source_state()
    held = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    steps: dict[str, dict[str, Any]] = held["steps"] if held.get("code") == code else {}
    for name, arguments in commands(folder, spec).items():
        if name in steps:
            continue
        show_note(name)
        before = _cpu_s()
        least = min(limit_s, _TRAINING_S) if name == "train" else limit_s
        peak = watch([sys.executable, "-m", *arguments], limit_s=least)
        steps[name] = {**asdict(peak), "cpu_s": _cpu_s() - before}
        write_json(kept, {"code": code, "steps": steps})
    return steps


def _cpu_s() -> float:
    """Return the processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def to_rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return what a record says, for people."""
    rows = []
    for name, peak in record["steps"].items():
        memory = (f"{peak[key] / 1e6:.0f}" for key in ("pss_bytes", "anonymous_bytes", "one_process_bytes"))
        times = (f"{peak[key]:.0f}" for key in ("wall_s", "cpu_s"))
        ended = {0: "done", None: "interrupted"}.get(peak["status"], f"failed: {peak['status']}")
        rows.append((name, *memory, str(peak["processes"]), *times, ended))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, help="where the made-up set and the caches go: 20 GB")
    parser.add_argument("--minutes", type=float, default=15.0, help="after which a step is interrupted")


def run(arguments: argparse.Namespace) -> int:
    """Measure and keep the record."""
    steps = measure(arguments.folder, 60 * arguments.minutes)
    record = {"limit_bytes": LIMIT_BYTES, "minutes": arguments.minutes, "steps": steps}
    path = write_record(arguments, record, verified=True)
    columns = ("", "MB", "anonymous", "largest process", "processes", "seconds", "CPU seconds", "")
    show_table("Memory of all processes together", columns, to_rows(record), left=(0, 7))
    show_note(f"record: {path}")
    failed = any(
        peak["status"] not in (0, None) or peak["pss_bytes"] > LIMIT_BYTES for peak in steps.values()
    )
    return int(failed)

"""What a set of SEED's size costs in memory: made up, checked, trained on and evaluated.

    python -m benchmarks seed-size FOLDER [--minutes 10]

Writes 45 files of SEED's layout and length into FOLDER (7.6 GB; they stay, and are found again), then runs
`data check`, and with the four default channels and with all 62 `train` and `evaluate` under `cross-subject`.
Memory is that of all processes together. A step that takes longer is interrupted and says so: what a training
holds it holds from its first fit on. Evaluated are fold models that nobody trained, so that no training need
be waited for. FOLDER also gets the caches of windows (0.6 and 9.6 GB).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io

from benchmarks.process_tree import Peak, watch
from benchmarks.record import write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.data.datasets.seed import CHANNELS

LIMIT_BYTES = 2e9
"""Of the memory of all processes together."""
PROTOCOL = "cross-subject"
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


def measure(folder: Path, limit_s: float) -> dict[str, Peak]:
    """Return the memory of each step."""
    spec = f"seed:{write_set(folder / 'Preprocessed_EEG')}?cache={folder / 'cache'}"
    found: dict[str, Peak] = {}

    def step(name: str, *arguments: str) -> None:
        show_note(name)
        found[name] = watch([sys.executable, "-m", *arguments], limit_s=limit_s)

    step("data check", "mimamba_edge", "data", "check", spec)
    for count, channels in ((4, ""), (62, ",".join(CHANNELS))):
        model = folder / f"untrained-{count}.pt"
        step(f"windows, {count} channels", "benchmarks.seed_folds", spec, str(model), channels)
        chosen = ("--channels", channels) if channels else ()
        trained = ("--epochs", "1", "-o", str(folder / f"train-{count}.pt"))
        step(
            f"train, {count} channels",
            "mimamba_edge",
            "train",
            spec,
            "--protocol",
            PROTOCOL,
            *chosen,
            *trained,
        )
        step(f"evaluate, {count} channels", "mimamba_edge", "evaluate", str(model), spec)
    return found


def to_rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return what a record says, for people."""
    rows = []
    for name, peak in record["steps"].items():
        memory = (f"{peak[key] / 1e6:.0f}" for key in ("pss_bytes", "anonymous_bytes", "one_process_bytes"))
        ended = {0: "done", None: "interrupted"}.get(peak["status"], f"failed: {peak['status']}")
        rows.append((name, *memory, str(peak["processes"]), f"{peak['wall_s']:.0f}", ended))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, help="where the made-up set and the caches go: 20 GB")
    parser.add_argument("--minutes", type=float, default=10.0, help="after which a step is interrupted")


def run(arguments: argparse.Namespace) -> int:
    """Measure and keep the record."""
    steps = {name: asdict(peak) for name, peak in measure(arguments.folder, 60 * arguments.minutes).items()}
    record = {"limit_bytes": LIMIT_BYTES, "minutes": arguments.minutes, "steps": steps}
    path = write_record(arguments, record, verified=True)
    columns = ("", "MB", "anonymous", "largest process", "processes", "seconds", "")
    show_table("Memory of all processes together", columns, to_rows(record), left=(0, 6))
    show_note(f"record: {path}")
    failed = any(
        peak["status"] not in (0, None) or peak["pss_bytes"] > LIMIT_BYTES for peak in steps.values()
    )
    return int(failed)

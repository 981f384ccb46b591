"""Live streams: latency of one, how many one process holds, how soon a decision follows a label.

    python -m benchmarks live-latency FOLDER_OF_RECORDINGS CHECKPOINT [--quick]

The checkpoint is a default model of 128 samples at 128 Hz, its folds beside it (``CKPT-folds``). Measured:

- one stream in real time on one core: latency from the newest sample to the decision, and the algorithmic
  delay;
- 64 streams at 256 Hz and 8 decisions a second on two cores, for ten minutes;
- the largest number of streams held: twice as many until it fails, then halving between; fp32 and INT8, 128
  and 512 samples (a network of untrained weights: time does not depend on them);
- from a label's change to the decision's, for good: each run through the model that never saw it, with and
  without smoothing.

Held means: no window dropped, no sample lost, and 99 % of the decisions within a hop.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import mimamba
from benchmarks.record import write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.data.labels import Trial, read_labels
from mimamba_edge.load import load_model
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sources.recording import FileSource

__all__ = ["HEADER", "changes", "delays", "largest", "notes", "to_rows"]

TARGET = 64
LONG = 512
SMOOTHING = ((0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 0.2))
"""Time constant in seconds, margin."""
_NEAR = 1.05
"""The search ends when what fails is no more than this times what holds."""


def run_load(model: Path, recording: Path, streams: int, seconds: float, cores: int) -> dict[str, Any]:
    """Return the figures of one process of its own."""
    options = ("--streams", str(streams), "--seconds", str(seconds), "--cores", str(cores))
    command = [sys.executable, "-m", "benchmarks", "live-load", str(model), str(recording), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def largest(tried: Callable[[int], bool], start: int, most: int = 4096) -> int:
    """Return the largest number that is held: doubling, then halving; 0 if not even one is.

    Args:
        tried: Says whether a number is held.
        start: First number.
        most: Not more than this.
    """
    low, high = 0, start
    while high <= most and tried(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1 and high > _NEAR * low:
        middle = (low + high) // 2
        if tried(middle):
            low = middle
        else:
            high = middle
    return low


class _Kept(Sink):
    name, lossless = "kept", True

    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def decision(self, decision: Decision) -> None:
        self.decisions.append(decision)


def delays(trials: list[Trial], decisions: list[Decision]) -> tuple[list[float | None], int]:
    """Return seconds from each label's change to the decision's, and how many trials changed nothing.

    A trial counts where the newest decision before its start has another label. Its delay is that of the
    first decision with its label that all later ones of the trial agree with: between trials decisions
    flicker, and the first one alone would often be right by chance. ``None``: the last one is wrong.
    """
    made = [d for d in decisions if d.label is not None]
    found: list[float | None] = []
    same = 0
    for trial in trials:
        before = [d for d in made if d.t_s <= trial.start_s]
        if before and before[-1].label == trial.label:
            same += 1
            continue
        stayed = None
        for d in reversed([d for d in made if trial.start_s < d.t_s <= trial.stop_s]):
            if d.label != trial.label:
                break
            stayed = d.t_s - trial.start_s
        found.append(stayed)
    return found, same


def changes(data: Path, folds: Path, smoothing: tuple[float, float]) -> dict[str, Any]:
    """Stream each run through the model that never saw it; return how soon decisions follow labels."""
    trials = read_labels(data)
    found: list[float | None] = []
    same, right, counted, delay_ms = 0, 0, 0, 0.0
    for file in dict.fromkeys(trial.file for trial in trials):
        (checkpoint,) = folds.glob(f"seed0-*_{Path(file).stem}.pt")
        mine = [trial for trial in trials if trial.file == file]
        with load_model(str(checkpoint), threads=1) as runner:
            source, kept = FileSource(data / file, speed="max"), _Kept()
            seconds, margin = smoothing
            engine = StreamEngine(
                runner, [source], sinks=[kept], options=StreamOptions(smooth_s=seconds, hysteresis=margin)
            )
            engine.run()
        delay_ms = engine.infos[0].algorithmic_delay_ms
        new, unchanged = delays(mine, kept.decisions)
        found, same = found + new, same + unchanged
        for trial in mine:
            # The last decision that the trial alone made.
            last = [d for d in kept.decisions if d.label is not None and d.t_s <= trial.stop_s]
            right, counted = right + (last[-1].label == trial.label if last else 0), counted + 1
    reached = np.array([value for value in found if value is not None])
    return {
        "smooth_s": smoothing[0],
        "hysteresis": smoothing[1],
        "algorithmic_delay_ms": delay_ms,
        "changes": len(found),
        "unchanged": same,
        "followed": len(reached),
        "median_s": round(float(np.median(reached)), 3) if len(reached) else None,
        "p90_s": round(float(np.percentile(reached, 90)), 3) if len(reached) else None,
        "right_at_the_end": round(right / counted, 4),
    }


def _models(data: Path, checkpoint: Path, folder: Path) -> dict[str, Path]:
    """Return what is measured: the checkpoint exported, a longer one of untrained weights, both in INT8."""
    short, long = folder / "128.onnx", folder / "512.onnx"
    mimamba("export", str(checkpoint), "-o", str(short))
    _write_long(checkpoint, folder / "512.pt")
    mimamba("export", str(folder / "512.pt"), "-o", str(long))
    out = {}
    for samples, path in (("128", short), ("512", long)):
        out[f"fp32, {samples} samples"] = path
        out[f"INT8, {samples} samples"] = _to_int8(path, data)
    return out


def _write_long(checkpoint: Path, out: Path) -> None:
    """Write an untrained checkpoint that differs in the length of its windows only."""
    import torch

    from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint
    from mimamba_edge.family import family_of

    contract = load_checkpoint(checkpoint).contract
    config = {**contract.model, "n_times": LONG}
    torch.manual_seed(0)
    contract = dataclasses.replace(contract, n_times=LONG, model=config, training={})
    save_checkpoint(out, family_of(contract).network(config), contract)


def _to_int8(path: Path, data: Path) -> Path:
    """Return the INT8 form for the CPU, whether or not `quantize` would have published it."""
    import onnx

    from mimamba_edge.artifact import Manifest, sha256_file, write_manifest
    from mimamba_edge.data.windows import sliding_windows
    from mimamba_edge.export.quantize.recipes import recipe_for

    out, recipe = path.with_name(path.stem + ".int8-cpu.onnx"), recipe_for("int8", "cpu")
    manifest = Manifest.load(path)
    assert manifest.contract is not None
    onnx.save(recipe.make(onnx.load(path), sliding_windows(data, manifest.contract, limit=256)), out)
    manifest = dataclasses.replace(
        manifest, file=out.name, precision=recipe.precision, sha256=sha256_file(out), verification={}
    )
    write_manifest(out, manifest)
    return out


def measure(data: Path, checkpoint: Path, seconds: float, *, quick: bool) -> dict[str, Any]:
    """Return all figures."""
    recording = next(iter(sorted(data.glob("*.csv"))), data)
    recording = data / read_labels(data)[0].file if recording.name == "labels.csv" else recording
    folds = checkpoint.with_name(f"{checkpoint.stem}-folds")
    runs: dict[str, list[dict[str, Any]]] = {}
    held: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, progress("streams") as bar:
        bar.describe("models")
        models = _models(data, checkpoint, Path(name))
        default = next(iter(models.values()))
        bar.describe("one stream in real time")
        one = run_load(default, recording, 1, 10 if quick else 120, cores=1)
        bar.describe(f"{TARGET} streams")
        target = run_load(default, recording, TARGET, 10 if quick else 600, cores=2)
        for title, model in models.items():
            runs[title] = []

            def tried(streams: int, title: str = title, model: Path = model) -> bool:
                bar.describe(f"{title}: {streams} streams")
                runs[title].append(run_load(model, recording, streams, seconds, cores=2))
                return bool(runs[title][-1]["held"])

            held[title] = largest(tried, 16 if quick else TARGET, most=32 if quick else 4096)
        bar.describe("from label to decision")
        follow = [changes(data, folds, one) for one in (SMOOTHING[:2] if quick else SMOOTHING)]
    return {"one": one, "target": target, "held": held, "runs": runs, "changes": follow}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", type=Path, help="folder of recordings with labels.csv")
    parser.add_argument("checkpoint", type=Path, help="trained on them: 128 samples at 128 Hz, folds beside")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each try of the search")
    parser.add_argument("--quick", action="store_true", help="little of everything; no record is written")


def run(given: argparse.Namespace) -> int:
    """Measure, write the record; return 1 if the target was missed."""
    seconds = min(given.seconds, 6.0) if given.quick else given.seconds
    figures = measure(given.data, given.checkpoint, seconds, quick=given.quick)
    held = bool(figures["target"]["held"])
    _show(figures)
    if not given.quick:
        summary = {key: value for key, value in figures.items() if key != "runs"}
        path = write_record(given, summary, verified=held, raw=figures)
        show_note(f"record: {path}")
    return 0 if held else 1


HEADER = ("live", "found", "target")
LATENCY_MS = {"p50": 1.2, "p99": 3.0}
"""What the project holds one stream on one core to."""


def to_rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the table of a record."""
    alone, many = record["one"], record["target"]
    p50, p99 = (f"{alone['latency_ms'][key]:.2f} ms" for key in ("p50", "p99"))
    wanted = ", ".join(
        f"{most:g} ms{'' if alone['latency_ms'][key] <= most else ' (missed)'}"
        for key, most in LATENCY_MS.items()
    )
    delay = f"{alone['algorithmic_delay_ms']:.0f} ms"
    what = f"{many['streams']} streams, {many['cores']} cores, {many['seconds'] / 60:g} minutes: "
    held = f"{many['dropped']}; {many['latency_ms']['p99']:.1f} ms; {many['cpu_share']:.2f}; "
    rows: list[tuple[str, ...]] = [
        ("one stream, one core: newest sample to decision, p50, p99", f"{p50}, {p99}", wanted),
        ("its algorithmic delay (half a window and the filters)", delay, ""),
        (f"{what}windows dropped; p99; cores used; MiB", f"{held}{many['rss_mib']:.0f}", "0"),
    ]
    rows += [(f"streams held, {title}", str(number), "") for title, number in record["held"].items()]
    for one in record["changes"]:
        smooth = f"smoothed over {one['smooth_s']:g} s" if one["smooth_s"] else "not smoothed"
        smooth += f", margin {one['hysteresis']:g}" if one["hysteresis"] else ""
        took = f"{one['median_s']:.2f} s, {one['p90_s']:.2f} s; {one['followed']} of {one['changes']}"
        rows.append((f"label to decision, {smooth}: median, 90 %; followed", took, ""))
    return rows


def notes(record: dict[str, Any]) -> list[str]:
    """Return what the page says beside the table."""
    runner = record["one"].get("runner", "onnxruntime-cpu")  # what older records do not name
    return [
        f"{runner}; 256 Hz, 8 decisions a second, 4 channels, 128 samples at 128 Hz unless said otherwise",
        "held: no window dropped, no sample lost, 99 % of decisions within a hop",
        "labels: runs of muse-ssvep, each through the model that never saw it",
    ]


def _show(figures: dict[str, Any]) -> None:
    rows = []
    for title, name in (("one stream, one core", "one"), (f"{TARGET} streams, two cores", "target")):
        run = figures[name]
        ms = [f"{run['latency_ms']['p50']:.2f}", f"{run['latency_ms']['p99']:.2f}"]
        ms.append(f"{run['algorithmic_delay_ms']:.0f}")
        rows.append([title, *ms, str(run["dropped"]), f"{run['cpu_share']:.2f}", f"{run['rss_mib']:.0f}"])
    header = ("", "p50 ms", "p99 ms", "algorithmic ms", "dropped", "cores used", "MiB")
    show_table("latency", header, rows)
    held = [(title, str(number)) for title, number in figures["held"].items()]
    show_table("largest number held", ("model", "streams"), held)
    rows = []
    for one in figures["changes"]:
        followed = f"{one['followed']} of {one['changes']}"
        took = [f"{one['median_s']} s", f"{one['p90_s']} s", f"{100 * one['right_at_the_end']:.1f} %"]
        rows.append([f"{one['smooth_s']:g} s", f"{one['hysteresis']:g}", followed, *took])
    header_of = ("smoothing", "margin", "followed in the trial", "median", "p90", "right at its end")
    show_table("from a label's change to the decision's", header_of, rows)

"""One live stream: where the time from the newest sample to the decision goes, and what a pause costs.

    python -m benchmarks stream-stages MODEL RECORDING [--seconds 240] [--pauses 300] [--quick]

On one core, by function bodies and, where the library is built, by native ops, both in turn:

- a stream in real time, with stamps between its stages;
- single windows after pauses of several kinds, in random order: what makes the first run after one slow;
- how near to a fixed clock the packets of the recording came: what a run ahead of time would have to guess.

Of what others load this machine with, everything but the ratios within a table suffers.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.live_load import PACKET, SETTLE_S, Latencies, Looped
from benchmarks.record import write_record
from mimamba_edge.artifact import sha256_file
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.load import load_model
from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.sources.base import Chunk

__all__ = ["HEADER", "PAUSES", "STAGES", "notes", "off_the_clock_ms", "pauses", "stages", "to_rows"]

STAGES = (
    "reader: cleaning, sinks, queue, hand-over to the loop",
    "signal path: filters, resampling, window, quality",
    "batching",
    "model",
    "check of its answer",
)
"""In the order of the data; all together are the latency."""
_HOP_S, _ROUND_S = 0.125, 30.0
_EVICT_MIB = 48


class _Stamped(Looped):
    """Tells when its newest packet arrived."""

    arrived = 0.0

    def chunks(self) -> Iterator[Chunk]:
        for chunk in super().chunks():
            self.arrived = chunk.arrived
            yield chunk


def stages(
    runner: Runner, recording: Recording, seconds: float, *, settle_s: float = SETTLE_S
) -> dict[str, Any]:
    """Return microseconds of each stage, a row a decision, and the share of a core that the stream took."""
    source, sink = _Stamped(recording, 0, alone=True), Latencies()
    engine = StreamEngine(runner, [source], sinks=[sink])
    engine.begin()
    gc.collect()
    gc.freeze()  # as `stream` does
    (stream,) = engine.streams
    at: dict[str, float] = {}
    rows: list[list[float]] = []

    def stamped(owner: object, name: str) -> None:
        call: Callable[..., Any] = getattr(owner, name)

        def timed(*given: Any) -> Any:
            at[name] = time.perf_counter()
            found = call(*given)
            at[f"{name} done"] = time.perf_counter()
            return found

        setattr(owner, name, timed)

    stamped(stream, "push")
    stamped(runner, "infer")
    decide = stream.decide

    def decided(held: Any, logits: Any, now: float) -> None:
        if logits is not None and held.window.t_s > settle_s and held.arrived == source.arrived:
            marks = [held.arrived, at["push"], at["push done"], at["infer"], at["infer done"], now]
            rows.append((1e6 * np.diff(marks)).tolist())
        decide(held, logits, now)

    stream.decide = decided  # type: ignore[method-assign]
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        engine.run(seconds)
    finally:
        vars(runner).pop("infer")
        gc.unfreeze()
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return {"us": rows, "cpu_share": share}


def _windows(runner: Runner, recording: Recording) -> NDArray[np.float32]:
    with Decoder(runner, recording.ch_names, recording.sfreq) as decoder:
        found = decoder.prepare(recording.samples[: int(60 * recording.sfreq)])
    return np.stack([window.data for window in found if window.valid])


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


_BIG = np.ones((_EVICT_MIB << 20) // 8)


@dataclass(frozen=True)
class Pause:
    """What comes before the run that is timed, in this order; seconds."""

    asleep: float = 0.0
    spinning: float = 0.0
    run: bool = False
    asleep_again: float = 0.0
    read: bool = False

    def take(self, run: Callable[[], object]) -> None:
        """Take it; ``run`` runs a window for nothing."""
        if self.asleep:
            time.sleep(self.asleep)
        if self.spinning:
            _spin(self.spinning)
        if self.run:
            run()
        if self.asleep_again:
            time.sleep(self.asleep_again)
        if self.read:
            _BIG[::8].sum()


PAUSES = {
    "none: the run before has just ended": Pause(run=True),
    "a hop (125 ms) asleep": Pause(_HOP_S),
    "a hop, its last 20 ms spinning on the core": Pause(_HOP_S - 0.02, 0.02),
    "20 ms spinning, not asleep": Pause(spinning=0.02),
    "a hop, then a run for nothing": Pause(_HOP_S, run=True),
    "a hop, a run for nothing 1 ms before": Pause(_HOP_S, run=True, asleep_again=1e-3),
    "a hop, a run for nothing 5 ms before": Pause(_HOP_S, run=True, asleep_again=5e-3),
    f"none, but {_EVICT_MIB} MiB were read": Pause(run=True, read=True),
}


def pauses(runner: Runner, windows: NDArray[np.float32], times: int) -> dict[str, list[float]]:
    """Return microseconds of single windows after each kind of pause, the kinds in random order."""
    found: dict[str, list[float]] = {name: [] for name in PAUSES}
    order, shuffled = list(PAUSES), random.Random(0)
    for i in range(times):
        shuffled.shuffle(order)
        for k, name in enumerate(order):
            PAUSES[name].take(lambda: runner.logits(windows[:1]))
            window = windows[(i * len(order) + k) % len(windows), None]
            began = time.perf_counter()
            runner.logits(window)
            found[name].append(1e6 * (time.perf_counter() - began))
    return found


def off_the_clock_ms(recording: Recording) -> NDArray[np.float64]:
    """Return by how much each packet came off the line that fits all of them best, in milliseconds."""
    arrived = recording.timestamps[PACKET - 1 :: PACKET]
    k = np.arange(len(arrived))
    off = arrived - np.polyval(np.polyfit(k, arrived, 1), k)
    return np.asarray(1e3 * (off - np.median(off)))


def _quantiles(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    p50, p99 = np.percentile(np.asarray(values), (50, 99)).tolist()
    return {"p50": round(p50, 1), "p99": round(p99, 1)}


def measure(model: Path, recording: Recording, seconds: float, times: int) -> dict[str, Any]:
    """Return all figures."""
    runs: dict[str, list[dict[str, Any]]] = {}
    after: dict[str, dict[str, list[float]]] = {}
    with progress("stream") as bar:
        for _ in range(max(1, round(seconds / _ROUND_S))):
            for native in (False, True):
                with load_model(model, threads=1, native_ops=native) as runner:
                    bar.describe(f"{runner.kind}: one stream in real time")
                    runs.setdefault(runner.kind, []).append(
                        stages(runner, recording, min(seconds, _ROUND_S) + SETTLE_S)
                    )
        for native in (False, True):
            with load_model(model, threads=1, native_ops=native) as runner:
                bar.describe(f"{runner.kind}: pauses")
                windows = _windows(runner, recording)
                after[runner.kind] = pauses(runner, windows, times)
    off = np.abs(off_the_clock_ms(recording))
    figures: dict[str, Any] = {"model_sha256": sha256_file(model), "runners": {}}
    for kind, parts in runs.items():
        us = np.array([row for part in parts for row in part["us"]])
        figures["runners"][kind] = {
            "decisions": len(us),
            "latency_us": _quantiles(us.sum(axis=1)),
            "stages_us": dict(zip(STAGES, map(_quantiles, us.T), strict=True)),
            "cpu_share": round(float(np.mean([part["cpu_share"] for part in parts])), 4),
            "after_us": {name: _quantiles(values) for name, values in after[kind].items()},
        }
    figures["packets"] = {
        "within_1_ms": round(float(np.mean(off < 1)), 3),
        "p95_ms": round(float(np.percentile(off, 95)), 1),
    }
    return figures


HEADER = ("in a live stream, one core", "runner", "p50 ms", "p99 ms")


def to_rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the table of a record: what is timed, runner, p50 and p99 in milliseconds."""
    rows: list[tuple[str, ...]] = []
    for kind, found in record["runners"].items():
        timed = {
            "**newest sample to decision**": found["latency_us"],
            **found["stages_us"],
            **{f"one window after: {name}": us for name, us in found["after_us"].items()},
        }
        for name, us in timed.items():
            rows.append((name, kind, *(f"{us[key] / 1e3:.2f}" for key in ("p50", "p99"))))
    return rows


def notes(record: dict[str, Any]) -> list[str]:
    """Return what the page says beside the table."""
    runners, packets = record["runners"], record["packets"]
    near = f"{packets['within_1_ms']:.0%}, 95 % within {packets['p95_ms']:g} ms"
    return [
        *(
            f"{kind}: {r['decisions']} decisions, {r['cpu_share']:.1%} of a core"
            for kind, r in runners.items()
        ),
        f"packets within 1 ms of a fixed clock: {near}",
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, help="exported default model")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0, help="of the stream, for each runner")
    parser.add_argument("--pauses", type=int, default=300, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="little of everything; no record is written")


def run(given: argparse.Namespace) -> int:
    """Measure on the first core this process may use, write the record."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    seconds, times = (10.0, 10) if given.quick else (given.seconds, given.pauses)
    figures = measure(given.model, read_recording(given.recording), seconds, times)
    show_table("", HEADER, to_rows(figures), left=(0, 1))
    for line in notes(figures):
        show_note(line)
    if not given.quick:
        show_note(f"record: {write_record(given, figures, verified=True)}")
    return 0

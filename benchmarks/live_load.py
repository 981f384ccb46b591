"""Many live streams in one process: how many it holds and what they cost. Prints one JSON object.

    python -m benchmarks live-load MODEL RECORDING --streams 64 --seconds 20 --cores 2

Each stream is a thread that gives the packets of the recording, over and over, when they are due; the streams
are out of step. Of several streams a latency counts from when the packet was due, so that a thread which came
late counts as well; of one stream, as `stream` reports it, from when the packet was there.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.bench.environment import available_cores
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.load import load_model
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sources.base import Chunk

__all__ = ["PACKET", "SETTLE_S", "Latencies", "Looped", "load"]

PACKET = 12
"""Samples of a packet, as a Muse sends them."""
SETTLE_S = 5.0
"""Seconds at the start that no latency is taken of: filters settle, and nothing is decided."""


class Looped:
    """A recording that begins again when it ends, in real time."""

    live, unit = True, "uV"

    def __init__(self, recording: Recording, number: int, *, alone: bool) -> None:
        self.name, self.device = f"stream {number}", dict[str, Any]()
        self.ch_names, self.sfreq = recording.ch_names, recording.sfreq
        self.rails_uv = recording.rails_uv
        self._recording, self._number, self._alone = recording, number, alone
        self._closed = threading.Event()

    def chunks(self) -> Iterator[Chunk]:
        """Yield packets as they are due."""
        samples, times = self._recording.samples, self._recording.timestamps
        packets = len(samples) // PACKET
        period = times[packets * PACKET - 1] - times[0] + 1 / self.sfreq
        # The golden ratio spreads any number of streams evenly over a packet's time.
        start = time.perf_counter() + (self._number * 0.618034 % 1) * PACKET / self.sfreq
        count, at = 0, self._number * 97 % packets
        while not self._closed.is_set():
            # What is a driver's work is done before the packet is due.
            turn, place = divmod(at, packets)
            part = slice(place * PACKET, (place + 1) * PACKET)
            packet, stamps = samples[part], times[part] + turn * period
            due = start + (count + 1) * PACKET / self.sfreq
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            yield Chunk(packet, stamps, arrived=time.perf_counter() if self._alone else due)
            count, at = count + 1, at + 1

    def close(self) -> None:
        """End the stream."""
        self._closed.set()


class Latencies(Sink):
    """Makes each line, as a sink would, and keeps its latency."""

    name, lossless = "latencies", True

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.bytes = 0

    def decision(self, decision: Decision) -> None:
        """Take a decision."""
        self.bytes += len(decision.to_json())
        if decision.valid and decision.t_s > SETTLE_S:
            self.ms.append(decision.latency_ms)


def load(model: str, recording: Path, *, streams: int, seconds: float, threads: int) -> dict[str, Any]:
    """Serve the streams and return the figures."""
    held = read_recording(recording)
    sink = Latencies()
    with load_model(model, threads=threads) as runner:
        engine = StreamEngine(
            runner, [Looped(held, i, alone=streams == 1) for i in range(streams)], sinks=[sink]
        )
        engine.begin()
        gc.collect()
        gc.freeze()  # as `stream` does
        cpu, wall = time.process_time(), time.perf_counter()
        summary = engine.run(seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        hop_s = runner.contract.hop / runner.contract.sfreq
    counted = summary["streams"].values()
    total = {name: sum(one[name] for one in counted) for name in ("windows", "valid", "dropped", "overruns")}
    samples = sum(one["samples"] for one in counted) / (streams * seconds * held.sfreq)
    ms = np.array(sink.ms) if sink.ms else np.array([np.nan])
    p50, p99 = np.percentile(ms, (50, 99))
    return {
        "streams": streams,
        "seconds": seconds,
        "threads": threads,
        "runner": runner.kind,
        "cores": available_cores(),
        **total,
        "samples_share": round(samples, 4),
        "latency_ms": {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(ms.max(), 3)},
        "algorithmic_delay_ms": next(iter(counted))["algorithmic_delay_ms"],
        "cpu_share": round(cpu / wall, 3),
        "rss_mib": round(_peak_kib() / 1024, 1),
        "held": bool(not total["dropped"] and not total["overruns"] and samples > 0.97 and p99 < 1e3 * hop_s),
    }


def _peak_kib() -> int:
    """Return the largest resident memory of this program (``getrusage`` adds that of who started it)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--cores", type=int, default=2, help="of those this process may use, the first ones")
    parser.add_argument("--threads", type=int, default=1, help="of the model")


def run(given: argparse.Namespace) -> int:
    """Measure once."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
    figures = load(
        given.model, given.recording, streams=given.streams, seconds=given.seconds, threads=given.threads
    )
    print(json.dumps(figures))
    return 0

"""Endurance test: a stream with every kind of fault, recorded, then computed again from the recording.

    python -m benchmarks soak --hours 1 --speed max
    python -m benchmarks soak --minutes 10 --realtime

Checked: every window that was decided on is computed again from the recording, to the last bit, with time and
reason; every injected fault is found where it was, and nothing else; the counters agree with each other and
with the files; memory is flat. Exit 1 where one of these is not so.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults import PACKET, FaultySource, write_script
from benchmarks.record import write_record
from benchmarks.soak_checks import SoakCheck, check
from mimamba_edge.console import show_note, show_table
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sinks.record import Recorder
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.recording import SPEEDS

__all__ = ["CONTRACT", "Endless", "soak"]

CONTRACT = Contract(
    ch_names=("TP9", "AF7", "AF8", "TP10"),
    sfreq=128.0,
    n_times=128,
    hop=16,
    class_names=("calm", "excited"),
    filters=default_filters(128.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("robust", (0.0,) * 4, (10.0,) * 4),
)
_TRIALS = 24
"""Of the simulated recording that is repeated: two minutes."""
_MOST_ROWS = 80
_LOOK = 100
"""Decisions between two looks at the memory."""


class Endless:
    """A simulated headset that gives packets for as long as is asked; no two have the same times.

    Args:
        seconds: How long.
        live: At the pace of the samples, or as fast as they are taken.
        seed: Everything follows from it.
    """

    def __init__(self, seconds: float, *, live: bool, seed: int = 0, trials: int = _TRIALS) -> None:
        recording, _ = simulate_recording(["calm", "excited"] * (trials // 2), seed=seed)
        n = len(recording.samples) // PACKET * PACKET
        self._samples, self._times = recording.samples[:n], recording.timestamps[:n]
        self._n = int(seconds * recording.sfreq)
        self.name, self.live = "simulated", live
        self.ch_names, self.sfreq, self.unit = recording.ch_names, recording.sfreq, recording.unit
        self.rails_uv = recording.rails_uv
        self.device: dict[str, Any] = {"simulated": True}
        self._closed = False

    def chunks(self) -> Iterator[Chunk]:
        """Yield packets."""
        started, n = time.perf_counter(), len(self._samples)
        # By the fitted rate: the last packet may have come late, and the clock must not move for that.
        lap_s = n * float(np.polyfit(np.arange(n), self._times, 1)[0])
        for at in range(0, self._n, PACKET):
            if self._closed:
                return
            lap, first = divmod(at, n)
            if self.live:
                time.sleep(max(0.0, started + (at + PACKET) / self.sfreq - time.perf_counter()))
            yield Chunk(
                self._samples[first : first + PACKET], self._times[first : first + PACKET] + lap * lap_s
            )

    def close(self) -> None:
        """End soon."""
        self._closed = True


class Memory(Sink):
    """Looks at the resident memory of this process every 12.5 seconds of signal.

    Args:
        decisions: How many there will be at most: its table does not grow either.
    """

    name = "memory"

    def __init__(self, decisions: int) -> None:
        self._table = np.ones(decisions // _LOOK + 1)
        self._heard = self._n = 0

    def decision(self, decision: Decision) -> None:
        """Look at it from time to time."""
        self._heard += 1
        if self._heard % _LOOK == 0 and self._n < len(self._table):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self._table[self._n] = pages * os.sysconf("SC_PAGE_SIZE")
            self._n += 1

    @property
    def bytes(self) -> NDArray[np.float64]:
        """What was seen."""
        return self._table[: self._n]


def _model(hashes: BinaryIO) -> FunctionRunner:
    """A model that decides by formula and writes down a hash of every window it is given."""

    def decide(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        for window in windows:
            hashes.write(hash_of(window))
        power = windows.std(axis=2).mean(axis=1)
        return np.stack([power, 1 - power], axis=1).astype(np.float32)

    return FunctionRunner(decide, CONTRACT, artifact="formula")


def hash_of(window: NDArray[np.float32]) -> bytes:
    """Return eight bytes that stand for all bits of a window."""
    return hashlib.blake2b(np.ascontiguousarray(window).tobytes(), digest_size=8).digest()


def soak(
    folder: Path, seconds: float, *, live: bool = False, seed: int = 0, dies: bool = True
) -> dict[str, Any]:
    """Run a soak in a folder and check it; return the record.

    Args:
        folder: Where the recording goes.
        seconds: Length of the signal.
        live: In real time, or as fast as possible.
        seed: Of signal and faults.
        dies: Whether the source dies at the end.
    """
    signal = Endless(seconds, live=live, seed=seed)
    script = write_script(seed, seconds, sfreq=signal.sfreq, n_chans=len(signal.ch_names), dies=dies)
    source, recorder = FaultySource(signal, script), Recorder(folder)
    memory = Memory(int(seconds * CONTRACT.sfreq / CONTRACT.hop) + 1)
    notes: list[str] = []
    started, cpu = time.perf_counter(), time.process_time()
    with (folder / "windows.bin").open("w+b") as hashes:
        engine = StreamEngine(_model(hashes), [source], sinks=[recorder, memory], note=notes.append)
        engine.begin()
        hashes.seek(0)
        hashes.truncate()
        summary = engine.run()
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    findings = check(
        recorder.folders[0], (folder / "windows.bin").read_bytes(), summary, source.log, CONTRACT, hash_of
    )
    findings.append(flat(memory.bytes, seconds))
    return {
        "seconds": seconds,
        "live": live,
        "seed": seed,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "summary": summary,
        "log": source.log,
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "passed": all(finding.ok for finding in findings),
    }


def flat(seen: NDArray[np.float64], seconds: float) -> SoakCheck:
    """Compare the memory after warm-up, the first quarter, with the largest later on."""
    if len(seen) < 8:
        return SoakCheck("memory", f"{seconds:g} s of signal", "too short to measure", True)
    warm = seen[len(seen) // 4]
    growth = float(seen[len(seen) // 4 :].max() / warm - 1)
    text = f"{warm / 2**20:.1f} MiB after warm-up, at most {100 * growth:+.2f} %"
    return SoakCheck("memory", f"{len(seen)} readings", text, growth <= 0.02)


def _table(findings: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the rows to show: where they are many, one of each kind and all that were missed."""
    rows = []
    for what in dict.fromkeys(f["what"] for f in findings):
        of = [f for f in findings if f["what"] == what]
        n_ok = sum(f["ok"] for f in of)
        if len(findings) > _MOST_ROWS and len(of) > 1:
            rows.append([what, f"{len(of)} times", f"{n_ok} times", "ok" if n_ok == len(of) else "missed"])
            of = [f for f in of if not f["ok"]]
        rows += [[f["what"], f["injected"], f["found"], "ok" if f["ok"] else "missed"] for f in of]
    return rows


def summarised(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with a count of each kind of finding in place of all of them and the log."""
    findings, counts = record["findings"], []
    for what in dict.fromkeys(finding["what"] for finding in findings):
        of = [finding for finding in findings if finding["what"] == what]
        counts.append({"what": what, "n": len(of), "as_expected": sum(finding["ok"] for finding in of)})
    return {key: value for key, value in record.items() if key not in ("findings", "log")} | {
        "checks": counts
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, default=1.0, help="of signal")
    length.add_argument("--minutes", type=float, help="of signal")
    parser.add_argument("--speed", choices=SPEEDS, default="max", help="realtime: at the pace of the samples")
    parser.add_argument("--realtime", dest="speed", action="store_const", const="realtime")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="the record; by default in benchmarks/results")


def run(arguments: argparse.Namespace) -> int:
    """Run, print what was found, write the record."""
    seconds = 60 * arguments.minutes if arguments.minutes else 3600 * arguments.hours
    with tempfile.TemporaryDirectory() as folder:
        record = soak(Path(folder), seconds, live=arguments.speed == "realtime", seed=arguments.seed)
    path = write_record(arguments, summarised(record), verified=record["passed"], raw=record)
    header = ["what", "expected", "found", ""]
    show_table("Soak", header, _table(record["findings"]), left=(0, 1, 2, 3))
    show_note(f"{seconds:g} s of signal in {record['wall_s']:g} s, {record['cpu_s']:g} s of CPU time")
    show_note(f"record: {path}")
    return 0 if record["passed"] else 1

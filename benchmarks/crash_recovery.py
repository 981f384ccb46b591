"""Crash recovery: kills recordings at random moments and compares the files with what the source gave.

    python -m benchmarks crash-recovery [--kills 20]

The source runs inside the recording process and counts into a file of its own, which the system keeps when
the process is killed. Values are known from their index, so each row is compared bit by bit.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import write_record
from mimamba_edge.data.labels import LABELS, read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.stream.sources.base import Chunk

SFREQ = 250.0
CH_NAMES = ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
WAYS = (("record", 1.0), ("record", 40.0), ("record", 1e6), ("stream", 1.0), ("stream", 20.0))
"""What records, and how many times faster than in life the source gives (1e6: as it can); taken in turn."""
_KNOWN = 1 << 14


class GivenSource:
    """Gives samples that follow from their index, in chunks of random size, and counts them in a file.

    Args:
        counter: Made here: eight bytes, the number of samples given.
        pace: How many times faster than in life.
        seed: Values and sizes follow from it.
    """

    name, unit, live, sfreq = "given:", "uV", True, SFREQ
    ch_names: tuple[str, ...] = CH_NAMES
    rails_uv: tuple[float, float] | None = None

    def __init__(self, counter: Path, pace: float, seed: int) -> None:
        self.device: dict[str, Any] = {"board": "given"}
        self._counter, self._pace, self._seed, self._closed = counter, pace, seed, False

    def chunks(self) -> Iterator[Chunk]:
        """Yield until closed; what is counted was given, or is being given."""
        sizes = np.random.default_rng(self._seed + 1)
        table = known(self._seed)
        self._counter.write_bytes(bytes(8))
        with self._counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
            given, started = 0, time.monotonic()
            while not self._closed:
                stop = given + int(sizes.integers(1, 41))
                time.sleep(max(0.0, started + stop / SFREQ / self._pace - time.monotonic()))
                rows = rows_of(table, given, stop)
                given = stop
                shared[:] = given.to_bytes(8, "little")
                yield Chunk(rows[:, 1:], rows[:, 0])

    def close(self) -> None:
        """End it."""
        self._closed = True


def known(seed: int) -> NDArray[np.float64]:
    """Return values and jitter that repeat: all kinds of float64 that a reader takes for a signal."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 50, (_KNOWN, 1 + len(CH_NAMES)))
    table[:, 0] = rng.uniform(0, 1e-3, _KNOWN)
    special = np.array([np.nan, 0.0, -0.0, 5e-324, 1e12, -1e-17, 187500.0, 1 / 3])
    where = rng.integers(0, _KNOWN, 4000), rng.integers(1, 1 + len(CH_NAMES), 4000)
    table[where] = rng.choice(special, 4000)
    return table


def rows_of(table: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
    """Return rows ``(n, 1 + c)`` by their index: time, channels."""
    index = np.arange(start, stop)
    rows: NDArray[np.float64] = table[index % _KNOWN]
    rows[:, 0] += 1.7e9 + index / SFREQ
    return rows


def kill_once(folder: Path, *, way: str = "record", pace: float, seed: int) -> dict[str, Any]:
    """Record into ``folder / "sessions"``, kill after a random time, and say what is left.

    Returns:
        ``way``, ``pace``, ``after_s``, ``given`` and ``kept`` samples, ``missing_s``, ``bit_equal``,
        ``trials``.
    """
    counter, script = folder / "given", folder / "cues.csv"
    script.write_text("label,seconds\n" + "calm,2\nexcited,2\n" * 1000, encoding="utf-8")
    child = [sys.executable, "-m", "benchmarks", "crash-recovery", "--child", str(folder), "--way", way]
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    process = subprocess.Popen(
        [*child, "--pace", str(pace), "--seed", str(seed)],
        cwd=Path(__file__).resolve().parents[1],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        patience = time.monotonic() + 60
        # Fast ones have had a few cues before the random time begins.
        least = 1 if pace == 1.0 else 2000
        while not counter.is_file() or int.from_bytes(counter.read_bytes(), "little") < least:
            if process.poll() is not None or time.monotonic() > patience:
                raise RuntimeError(f"record did not start: {process.communicate()[1].decode()[-2000:]}")
            time.sleep(0.01)
        after_s = float(np.random.default_rng(seed + 2).uniform(0.05, 2.0))
        time.sleep(after_s)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    given = int.from_bytes(counter.read_bytes(), "little")
    return {
        "way": way,
        "pace": pace,
        "after_s": round(after_s, 3),
        "given": given,
        **left_in(folder, given, seed),
    }


def left_in(folder: Path, given: int, seed: int) -> dict[str, Any]:
    """Compare the one session in ``folder / "sessions"`` with what was given."""
    (info,) = (folder / "sessions").glob("*/session.json")
    recording = read_recording(info.parent / "signal.csv")
    kept = len(recording.samples)
    expected = rows_of(known(seed), 0, kept)
    same = (
        kept <= given
        and recording.samples.tobytes() == np.ascontiguousarray(expected[:, 1:]).tobytes()
        and recording.timestamps.tobytes() == np.ascontiguousarray(expected[:, 0]).tobytes()
    )
    for name in ("events.jsonl", "decisions.jsonl"):
        path = info.parent / name
        for line in path.read_text().splitlines() if path.is_file() else ():
            json.loads(line)
    return {
        "kept": kept,
        "missing_s": round((given - kept) / SFREQ, 4),
        "bit_equal": bool(same),
        "trials": len(read_labels(info.parent)) if (info.parent / LABELS).is_file() else 0,
    }


def _stream(folder: Path, pace: float, seed: int) -> None:
    """Decide on the counting source and record it, as `stream --record` does."""
    from mimamba_edge.contract import Contract, Scaling
    from mimamba_edge.runtime.function import FunctionRunner
    from mimamba_edge.signal.filters import default_filters
    from mimamba_edge.stream.engine import StreamEngine
    from mimamba_edge.stream.sinks.record import Recorder

    filters = default_filters(125.0, 50.0)
    contract = Contract(
        CH_NAMES, 125.0, 125, 16, ("calm", "excited"), filters=filters, mains_hz=50.0, scaling=Scaling("none")
    )

    def undecided(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(windows), 2), np.float32)

    source = GivenSource(folder / "given", pace, seed)
    StreamEngine(FunctionRunner(undecided, contract), [source], sinks=[Recorder(folder / "sessions")]).run()


def _record(folder: Path, pace: float, seed: int) -> None:
    """Run `record` as a user does, with the counting source in place of a board."""
    import runpy

    from mimamba_edge.stream.sources import spec

    def open_given(text: str, **_: Any) -> GivenSource:
        return GivenSource(folder / "given", pace, seed)

    spec.open_source = open_given  # type: ignore[assignment]
    options = ("--source", "given:", "-o", str(folder / "sessions"), "--cue", str(folder / "cues.csv"))
    sys.argv = ["mimamba-edge", "record", *options, "--yes"]
    runpy.run_module("mimamba_edge", run_name="__main__")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", default="record", help=argparse.SUPPRESS)
    parser.add_argument("--pace", type=float, default=1.0, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Kill, compare, keep a record; return 1 if a second or a bit is missing."""
    if arguments.child is not None:
        child = _stream if arguments.way == "stream" else _record
        child(arguments.child, arguments.pace, arguments.seed)
        return 0
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(2) as two:
        folders = [Path(root) / str(number) for number in range(arguments.kills)]
        for folder in folders:
            folder.mkdir()
        results = list(
            two.map(
                lambda number: kill_once(
                    folders[number],
                    way=WAYS[number % len(WAYS)][0],
                    pace=WAYS[number % len(WAYS)][1],
                    seed=1000 * arguments.seed + 10 * number,
                ),
                range(arguments.kills),
            )
        )
    worst = max(result["missing_s"] for result in results)
    good = all(result["bit_equal"] for result in results) and worst <= 1.0
    for result in results:
        print(json.dumps(result))
    print(
        f"{len(results)} kills, all files open: at most {worst:g} s missing, {'passed' if good else 'missed'}"
    )
    figures = {"worst_missing_s": worst, "kills": results}
    path = write_record(arguments, figures, verified=good)
    print(f"record: {path}")
    return 0 if good else 1

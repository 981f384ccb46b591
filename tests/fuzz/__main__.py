"""``make fuzz``: spoilt files for every reader, for as long as asked; ends with a table, exit 1 if one fails.

python -m tests.fuzz [--minutes 20] [--only NAME] [--seed N] [--keep FOLDER]
python -m tests.fuzz --only NAME --seed N --one      one input again, in this process
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# One thread each: forked children have none of those that their parent started.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from mimamba_edge.console import progress, show_table
from tests.attack.seeds import write_seeds
from tests.fuzz.readers import READERS, Reader, prepare
from tests.fuzz.worker import Worker, spoilt

_SLICE_S = 10.0
_KEPT = 5
"""Inputs that are kept of one kind of failure."""


class _Tally:
    """What came of one reader's inputs."""

    def __init__(self, reader: Reader, first: int) -> None:
        self.reader, self.next = reader, first
        self.counts, self.faults = Counter[str](), Counter[str]()

    def take(self, found: list[dict[str, object]], seeds: Path, keep: Path) -> None:
        """Count results; keep and print inputs that fail."""
        for one in found:
            seed, what = int(str(one["seed"])), str(one["what"])
            self.next = seed + 1
            self.counts[str(one["result"])] += 1
            if one["result"] != "failed":
                continue
            kind = what.split(": ")[0]
            self.faults[kind] += 1
            if self.faults[kind] > _KEPT:
                continue
            keep.mkdir(parents=True, exist_ok=True)
            path = keep / f"{self.reader.name.replace(' ', '-').replace('.', '')}-{seed}"
            path.write_bytes(spoilt(self.reader, seeds, seed))
            again = f"python -m tests.fuzz --only '{self.reader.name}' --seed {seed} --one"
            print(f"{self.reader.name}: {what}\n  {path}\n  {again}", flush=True)


def _run(tallies: list[_Tally], seeds: Path, keep: Path, seconds: float, jobs: int) -> None:
    """Give each reader a slice of time in turn, ``jobs`` at a time, until time is over."""
    until = time.monotonic() + seconds
    slice_s = min(_SLICE_S, max(0.5, seconds * jobs / len(tallies)))
    waiting, running = list(tallies), list[tuple[Worker, _Tally, float]]()
    with progress("fuzzing", seconds) as bar:
        last = time.monotonic()
        while time.monotonic() < until or running:
            while waiting and len(running) < jobs and time.monotonic() < until:
                tally = waiting.pop(0)
                worker = Worker(tally.reader, seeds, tally.next)
                running.append((worker, tally, time.monotonic() + slice_s))
                bar.describe(f"fuzzing: {tally.reader.name}")
            for held in list(running):
                worker, tally, end = held
                tally.take(worker.results(0.05), seeds, keep)
                # What is late is told apart by the deadline, not by the end of a slice.
                over = time.monotonic() > end and worker.fresh
                if worker.ended or over:
                    if not worker.ended:
                        worker.end()
                    running.remove(held)
                    waiting.append(tally)
            bar.advance(time.monotonic() - last)
            last = time.monotonic()


def main() -> int:
    """Fuzz; 1 if an input failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--only", help="one reader, by its name in the table")
    parser.add_argument("--seed", type=int, default=0, help="the first input's")
    parser.add_argument("--one", action="store_true", help="read this one input and show what happens")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that fail")
    parser.add_argument("--jobs", type=int, default=max(1, min(8, os.cpu_count() or 1)))
    asked = parser.parse_args()
    readers = [r for r in READERS if asked.only in (None, r.name)]
    if not readers:
        parser.error(f"readers are {', '.join(r.name for r in READERS)}")
    with tempfile.TemporaryDirectory(prefix="mimamba-fuzz-") as temporary:
        seeds = Path(temporary) / "seeds"
        write_seeds(seeds)
        prepare(seeds)
        if asked.one:
            work = Path(temporary) / "work"
            work.mkdir()
            for reader in readers:
                reader.read(reader.put(work, spoilt(reader, seeds, asked.seed)))
            return 0
        # Imported before the fork: a child answers its first input as fast as its last.
        for reader in readers:
            work = Path(temporary) / f"good-{READERS.index(reader)}"
            work.mkdir()
            reader.read(reader.put(work, (seeds / reader.seeds[0]).read_bytes()))
        tallies = [_Tally(reader, asked.seed) for reader in readers]
        with contextlib.suppress(KeyboardInterrupt):  # what was found until then is shown
            _run(tallies, seeds, asked.keep, asked.minutes * 60, asked.jobs)
    rows = [
        (
            t.reader.name,
            *(
                f"{n:,}"
                for n in (t.counts.total(), *(t.counts[k] for k in ("accepted", "refused", "failed")))
            ),
        )
        for t in tallies
    ]
    show_table("", ("reader", "inputs", "accepted", "refused", "failures"), rows)
    failed = sum(t.counts["failed"] for t in tallies)
    print(f"{sum(t.counts.total() for t in tallies):,} inputs, {failed:,} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

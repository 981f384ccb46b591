"""A forked child that reads spoilt files one after the other, and the parent's watch over it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from mimamba_edge.errors import MimambaError
from tests.fuzz.mutate import apply, draw_edits
from tests.fuzz.readers import Reader

__all__ = ["DEADLINE_S", "MOST_MIB", "MOST_TEXT", "Worker", "spoilt", "try_one"]

DEADLINE_S = 10.0
MOST_MIB = 1024
"""Of the whole process, of which the packages alone take about 400."""
MOST_TEXT = 4096


def spoilt(reader: Reader, seeds: Path, seed: int) -> bytes:
    """Return the bytes that a seed makes of a reader's good file."""
    rng = random.Random(f"{reader.name} {seed}")
    good = (seeds / rng.choice(reader.seeds)).read_bytes()
    return apply(good, draw_edits(rng), [good])


def try_one(reader: Reader, work: Path, data: bytes) -> tuple[str, str]:
    """Read some bytes.

    Returns:
        ``("accepted" | "refused" | "failed", what was wrong)``.
    """
    path = reader.put(work, data)
    try:
        reader.read(path)
    except MimambaError as error:
        if len(text := str(error)) > MOST_TEXT:
            return "failed", f"an error of {len(text):,} characters: {text[:100]!r}"
        return "refused", ""
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.name}"
        return "failed", f"{type(error).__name__} in {where}: {str(error)[:160]}"
    return "accepted", ""


def _status(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{field}:")[2].split(maxsplit=1)[0])


class Worker:
    """Reads the inputs of seeds from ``first`` on, in a process of its own, until it is told to end."""

    def __init__(self, reader: Reader, seeds: Path, first: int) -> None:
        self.reader, self.seeds, self.now = reader, seeds, first
        self._began, self._busy = time.monotonic(), 0.0
        self._rest = b""
        self._lines, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # Whatever happens here, the parent's clean-up is not this process's to do.
            try:
                os.close(self._lines)
                self._child(first, writing)
            finally:
                os._exit(1)
        os.close(writing)

    def _child(self, first: int, out: int) -> None:
        quiet = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        work = Path(tempfile.mkdtemp(prefix="w", dir=self.seeds.parent))
        for seed in itertools.count(first):
            data = spoilt(self.reader, self.seeds, seed)
            # The most memory is counted from here on.
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            result, what = try_one(self.reader, work, data)
            mib = _status(os.getpid(), "VmHWM") >> 10
            if mib > MOST_MIB:
                result, what = "failed", f"{mib:,} MiB of memory"
            os.write(out, (json.dumps({"seed": seed, "result": result, "what": what}) + "\n").encode())

    def results(self, wait_s: float) -> list[dict[str, Any]]:
        """Return what was read within this time; a child that hangs or grows is ended and told of."""
        found = []
        if select.select([self._lines], [], [], wait_s)[0]:
            new = os.read(self._lines, 1 << 16)
            *lines, self._rest = (self._rest + new).split(b"\n")
            found = [json.loads(line) for line in lines]
            if not new:
                return [self._died()]
        if found:
            self.now = found[-1]["seed"] + 1
            self._began, self._busy = time.monotonic(), self._cpu_s()
        late = self._cpu_s() - self._busy > DEADLINE_S or time.monotonic() - self._began > 4 * DEADLINE_S
        with contextlib.suppress(OSError, IndexError, ValueError):
            if _status(self.pid, "VmRSS") >> 10 > 2 * MOST_MIB:
                self.end()
                return [*found, {"seed": self.now, "result": "failed", "what": f"over {2 * MOST_MIB:,} MiB"}]
        if late:
            self.end()
            return [
                *found,
                {"seed": self.now, "result": "failed", "what": f"no answer within {DEADLINE_S:g} s"},
            ]
        return found

    @property
    def fresh(self) -> bool:
        """Whether its present input is younger than a second: none that is slow may be lost sight of."""
        return time.monotonic() - self._began < 1.0

    def _cpu_s(self) -> float:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return self._busy

    def _died(self) -> dict[str, Any]:
        status = self.end()
        return {"seed": self.now, "result": "failed", "what": f"the process died: {status}"}

    def end(self) -> int:
        """End the child; returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._lines)
        self.ended = True
        return os.waitstatus_to_exitcode(status)

    ended = False

"""Memory of a process and all that it started, while it runs."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "children", "watch"]

_EVERY_S = 0.25


@dataclass
class Peak:
    """The most that was seen of a tree of processes at one time.

    Attributes:
        pss_bytes: Proportional set size (man 5 proc): resident memory, shared pages counted once. With pages
            of mapped files, which the system can take back.
        anonymous_bytes: The part that no file stands behind: without it the work cannot go on.
        rss_bytes: Sum of resident set sizes: pages that several processes share are counted several times.
        one_process_bytes: Resident set size of the largest process.
        processes: Their number.
        wall_s: How long it ran.
        status: Exit status, or ``None`` where it was stopped.
    """

    pss_bytes: int = 0
    anonymous_bytes: int = 0
    rss_bytes: int = 0
    one_process_bytes: int = 0
    processes: int = 0
    wall_s: float = 0.0
    status: int | None = None


def children(pid: int) -> list[int]:
    """Return a process and all below it; those that end meanwhile are left out."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text(encoding="ascii").split())
    return found


def _rollup(pid: int) -> dict[str, int]:
    """Return the fields of ``/proc/PID/smaps_rollup`` in bytes; none where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): 1024 * int(value) for name, value, *_ in fields}


def _look(pid: int, peak: Peak) -> None:
    held = [found for one in children(pid) if (found := _rollup(one))]
    peak.pss_bytes = max(peak.pss_bytes, sum(one["Pss"] for one in held))
    peak.anonymous_bytes = max(peak.anonymous_bytes, sum(one["Pss_Anon"] for one in held))
    peak.rss_bytes = max(peak.rss_bytes, sum(one["Rss"] for one in held))
    peak.one_process_bytes = max([peak.one_process_bytes, *(one["Rss"] for one in held)])
    peak.processes = max(peak.processes, len(held))


def watch(command: Sequence[str], *, limit_s: float, environment: dict[str, str] | None = None) -> Peak:
    """Run a command, look at its memory four times a second, and interrupt it after a time.

    Args:
        command: What to run.
        limit_s: Seconds after which it gets what Ctrl-C sends.
        environment: Its variables; by default those of this process.
    """
    peak, started = Peak(), time.monotonic()
    # A shell lets what it starts in the background ignore Ctrl-C, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, env=environment, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            interrupted = False
            while process.poll() is None:
                _look(process.pid, peak)
                if not interrupted and time.monotonic() - started > limit_s:
                    process.send_signal(signal.SIGINT)
                    interrupted = True
                time.sleep(_EVERY_S)
            peak.status = None if interrupted else process.returncode
        finally:
            if process.poll() is None:
                process.terminate()
    peak.wall_s = time.monotonic() - started
    return peak

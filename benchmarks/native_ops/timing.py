"""Calls timed in turn, each right after calls of its own that do not count: its data is near."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Calls", "in_turn"]

Calls = Mapping[str, Callable[[], Any]]


def in_turn(calls: Calls, rounds: int, warm: int = 3, near_s: float = 0.005) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each call over interleaved rounds.

    ``cpu_ms`` is the median of this thread's CPU time: other programs on the machine take turns with it and
    do not stand in it, though they take its caches. ``clock_ms`` is that of the clock; ``low_ms`` and
    ``high_ms`` are the quartiles of the CPU time, ``least_clock_ms`` the shortest run.

    Args:
        calls: What is timed, by name.
        rounds: Rounds that count.
        warm: Rounds before them.
        near_s: Each is called for so long, at least once, before the call that counts: behind a scalar loop
            of 30 ms the second vector scan still takes longer than the tenth.
    """
    thread: dict[str, list[float]] = {name: [] for name in calls}
    clock: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    for turn in range(rounds + warm):
        for name, call in calls.items():
            until = time.perf_counter() + near_s
            call()
            while time.perf_counter() < until:
                call()
            start, begun = time.perf_counter(), time.thread_time()
            call()
            if turn >= warm:
                thread[name].append((time.thread_time() - begun) * 1e3)
                clock[name].append((time.perf_counter() - start) * 1e3)
    return {name: _figures(thread[name], clock[name]) for name in calls}


def _figures(thread: list[float], clock: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(thread, n=4) if len(thread) > 1 else thread * 3
    figures = {"cpu_ms": middle, "low_ms": low, "high_ms": high}
    figures |= {"clock_ms": statistics.median(clock), "least_clock_ms": min(clock)}
    return {name: round(value, 5) for name, value in figures.items()}

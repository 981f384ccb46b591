"""Time runners side by side: in turn, in short blocks, on the same changing inputs."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import WINDOWS
from mimamba_edge.errors import DataError
from mimamba_edge.runtime.base import Arrays, Runner

__all__ = [
    "Budget",
    "PeakMemory",
    "Series",
    "make_feeds",
    "paced",
    "summarise",
    "summarise_paced",
    "time_together",
    "warm_up",
]

_FEEDS_BYTES = 64 << 20
_STEADY = 0.1
"""Most that the means of a steady row's blocks vary."""
TOO_FEW = "too few blocks to tell whether it is stable"
DISTURBED = "disturbed: other programs took the cores (its CPU time a run is stable)"
UNSTABLE = "unstable: its own CPU time a run varies by more than 10 %, too"
_QUIET = 12
"""Runs without a jump that end the warm-up."""


@dataclass(frozen=True)
class Budget:
    """How long to measure one runner at one batch size.

    Attributes:
        runs: It ends after this many runs ...
        least_s: ... that took at least this long ...
        most_s: ... or when the runs have taken this long ...
        most_runs: ... or there are this many.
        block_s: Runners take turns after about this long.
        warm_s: Runs before the measurement, at least this long.
        paced_runs: Runs at the pace of a stream.
        energy_s: How long rails of power are read, idle and again while it runs.
    """

    runs: int = 1000
    least_s: float = 1.0
    most_s: float = 3.0
    most_runs: int = 20_000
    block_s: float = 0.1
    warm_s: float = 0.5
    paced_runs: int = 10
    energy_s: float = 2.0

    def spent(self, series: Series) -> bool:
        """Return whether a series is complete."""
        total_s = sum(series.ns) / 1e9
        runs = len(series.ns)
        enough = runs >= self.runs and total_s >= self.least_s
        return enough or total_s >= self.most_s or runs >= self.most_runs


@dataclass
class Series:
    """The latencies of one runner at one batch size.

    Attributes:
        runner: What is timed.
        ns: Nanoseconds of every run, in order. None is ever dropped.
        block_means: Mean of each block, in nanoseconds.
        block_cpu: The same of the process's CPU time.
    """

    runner: Runner
    ns: list[int] = field(default_factory=list)
    block_means: list[float] = field(default_factory=list)
    block_cpu: list[float] = field(default_factory=list)


def make_feeds(
    windows: NDArray[np.float32], batch: int, seed: int = 0, *, name: str = WINDOWS
) -> list[Arrays]:
    """Return batches drawn from the windows, so that no two runs in a row see the same input.

    Args:
        windows: ``(n, c, l)``.
        batch: Windows a run.
        seed: Of the draw; equal for all runners.
        name: Of the input.

    Raises:
        DataError: Fewer than two windows.
    """
    n = len(windows)
    if n < 2:
        raise DataError(
            "a benchmark needs at least two windows, because every run gets a different one", got=n
        )
    rng = np.random.default_rng(seed)
    if batch == 1:
        return [{name: windows[i : i + 1]} for i in rng.permutation(n)]
    # Even, so that two arrangements of two windows can alternate around the end of the list.
    count = int(np.clip(_FEEDS_BYTES // (batch * windows[0].nbytes), 2, 64)) // 2 * 2
    draws: list[NDArray[np.int64]] = []
    while len(draws) < count:
        draw = rng.choice(n, batch, replace=batch > n)
        neighbours = draws[-1:] + (draws[:1] if len(draws) == count - 1 else [])
        if not any(np.array_equal(draw, other) for other in neighbours):
            draws.append(draw)
    return [{name: np.ascontiguousarray(windows[draw])} for draw in draws]


def warm_up(runner: Runner, feeds: Sequence[Arrays], least_s: float) -> float:
    """Run until everything is loaded, compiled and hot; return the first run's milliseconds.

    A compiler may compile again for another shape, and shapes may follow the windows. So it goes
    on, for up to twenty times ``least_s``, until the last runs show no such jump.
    """
    taken: list[float] = []
    start = time.perf_counter()
    while True:
        begun = time.perf_counter()
        runner.infer(feeds[len(taken) % len(feeds)])
        taken.append(time.perf_counter() - begun)
        last, spent_s = taken[-_QUIET:], time.perf_counter() - start - taken[0]
        quiet = len(taken) > _QUIET and max(last) < 3 * statistics.median(last)
        if len(taken) > _QUIET and ((quiet and spent_s >= least_s) or spent_s >= 20 * least_s):
            return taken[0] * 1e3


def _block(series: Series, feeds: Sequence[Arrays], block_s: float) -> None:
    runner, done = series.runner, len(series.ns)
    # One run puts this runner's code and weights back into the caches that the others took; a run as long
    # as a block does not notice.
    if not done or series.ns[-1] < block_s * 1e9:
        runner.infer(feeds[(done - 1) % len(feeds)])
    taken: list[int] = []
    begun = time.process_time_ns()
    clock, stop = time.perf_counter_ns, time.perf_counter_ns() + int(block_s * 1e9)
    while not taken or clock() < stop:
        feed = feeds[(done + len(taken)) % len(feeds)]
        start = clock()
        runner.infer(feed)
        taken.append(clock() - start)
    series.block_cpu.append((time.process_time_ns() - begun) / len(taken))
    series.ns.extend(taken)
    series.block_means.append(sum(taken) / len(taken))


def time_together(
    runners: Sequence[Runner],
    feeds: Sequence[Arrays],
    budget: Budget,
    *,
    between: Callable[[], None] = lambda: None,
    on_step: Callable[[float], None] = lambda _: None,
) -> list[Series]:
    """Time warmed-up runners in turn until each has its share.

    Args:
        runners: Activated and warm.
        feeds: Every runner sees this sequence, from its start.
        budget: When to stop.
        between: Called once a round.
        on_step: Called with the share of the whole done since the last call.
    """
    every = [Series(runner) for runner in runners]
    turn, reported = 0, 0.0
    while open_series := [s for s in every if not budget.spent(s)]:
        between()
        # Another one goes first each round, so that no runner always follows the same neighbour.
        first = turn % len(open_series)
        for series in open_series[first:] + open_series[:first]:
            gc.collect()
            gc.disable()
            try:
                _block(series, feeds, budget.block_s)
            finally:
                gc.enable()
        turn += 1
        shares = (1.0 if budget.spent(s) else min(1.0, sum(s.ns) / 1e9 / budget.most_s) for s in every)
        share = sum(shares) / len(every)
        on_step(share - reported)
        reported = share
    return every


def paced(runner: Runner, feeds: Sequence[Arrays], period_s: float, runs: int) -> list[float]:
    """Run one window a period, as a stream does, and return the milliseconds of each run."""
    out: list[float] = []
    due = time.perf_counter()
    for index in range(runs):
        due += period_s
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter_ns()
        runner.infer(feeds[index % len(feeds)])
        out.append((time.perf_counter_ns() - start) / 1e6)
    return out


def summarise_paced(ms: Sequence[float], period_s: float) -> dict[str, Any]:
    """Return the figures of the runs of :func:`paced`, in milliseconds."""
    p50, p90, p99 = (float(value) for value in np.percentile(ms, [50, 90, 99]))
    figures = {"paced_p50_ms": p50, "paced_p90_ms": p90, "paced_p99_ms": p99, "paced_max_ms": max(ms)}
    return {**figures, "paced_period_ms": period_s * 1e3, "paced_runs": len(ms)}


def summarise(series: Series, batch: int) -> dict[str, Any]:
    """Return the figures of a row; times in milliseconds a run of ``batch`` windows."""
    ms = np.array(series.ns, dtype=np.float64) / 1e6
    p25, p50, p75, p90, p99 = np.percentile(ms, [25, 50, 75, 90, 99])
    drift, why = _variation(series.block_means), None
    if drift is None:
        why = TOO_FEW
    elif drift > _STEADY:
        cpu = _variation(series.block_cpu)
        why = DISTURBED if cpu is not None and cpu <= _STEADY else UNSTABLE
    return {
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "max_ms": float(ms.max()),
        "min_ms": float(ms.min()),
        "mean_ms": float(ms.mean()),
        "per_window_ms": float(p50) / batch,
        "throughput_hz": batch * len(ms) / (float(ms.sum()) / 1e3),
        "n_runs": len(ms),
        "outliers": int((ms > p75 + 3 * (p75 - p25)).sum()),
        "cv": float(ms.std() / ms.mean()),
        "cv_blocks": drift,
        "unstable": why is not None,
        "unstable_why": why,
        "latencies_ms": [round(float(v), 5) for v in ms],
    }


def _variation(values: Sequence[float]) -> float | None:
    """Return standard deviation over mean; ``None`` where one value tells nothing."""
    blocks = np.array(values)
    return float(blocks.std() / blocks.mean()) if len(blocks) > 1 and blocks.mean() else None


class PeakMemory:
    """Growth of this process's resident memory, where Linux lets its high-water mark be reset."""

    def __init__(self) -> None:
        self._base = _status("VmRSS")

    def reset(self) -> None:
        """Forget earlier peaks."""
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            self._base = None

    def growth_bytes(self) -> int | None:
        """Return the peak since :meth:`reset` less what was resident at the start; ``None``: not measured."""
        peak = _status("VmHWM")
        return None if self._base is None or peak is None else max(0, peak - self._base)


def _status(key: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith(key + ":")]
    return int(found[0].split()[1]) * 1024 if found else None

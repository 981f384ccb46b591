"""Time on a device: CUDA graphs replayed in turn, medians, and ratios of pairs from one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["CudaTimer", "Deadline", "Timer", "per_launch", "ratio", "summary"]

Call = Callable[[], object]
_SAMPLE_S = 1e-3
"""A sample lasts at least this long: far above the resolution of events, about half a microsecond."""


class Deadline:
    """What is left of the time that the whole run may take."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, clock() + seconds

    def left(self) -> float:
        """Return the seconds left, 0 at the least."""
        return max(0.0, self._end - self._clock())


class Timer(Protocol):
    """What measures. Tests put one in its place that needs no device."""

    def capture(self, calls: Sequence[Call]) -> Call:
        """Return what runs all calls, in order, without the host in between. Their results stay allocated."""

    def seconds(self, run: Call, times: int) -> float:
        """Return the device's time from the start of the first of ``times`` runs to the end of the last."""

    def wait(self) -> None:
        """Return when the device has done all it was given."""


class CudaTimer:
    """CUDA graphs and events.

    Args:
        torch: The module.
        nodes: Says how many nodes a ``cudaGraph_t`` has.
    """

    def __init__(self, torch: Any, nodes: Callable[[int], int]) -> None:
        self._torch, self._count = torch, nodes
        self.nodes = 0
        """Nodes of the graph captured last."""

    def capture(self, calls: Sequence[Call]) -> Call:
        """Capture all calls in one CUDA graph."""
        torch = self._torch
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for call in calls[:3]:  # modules are loaded and handles made outside the capture
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph(keep_graph=True)
        with torch.cuda.graph(graph):
            # What the calls return lives on: freed, its memory would serve the next call, out of the cache.
            held = [call() for call in calls]
        self.nodes = self._count(graph.raw_cuda_graph())
        graph.instantiate()

        def replay(_held: object = held) -> None:
            graph.replay()

        return replay

    def seconds(self, run: Call, times: int) -> float:
        """Measure with events, behind a run that is not timed: the device never waits for the host."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        run()
        start.record()
        for _ in range(times):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    def wait(self) -> None:
        """Synchronise."""
        self._torch.cuda.synchronize()


def per_launch(
    timer: Timer, runs: Mapping[str, Call], launches: Mapping[str, int], rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of one launch of each run in each round; the order turns round from one to the next.

    Args:
        timer: What measures.
        runs: What :meth:`Timer.capture` gave, by name.
        launches: How many launches a run holds.
        rounds: Samples of each.
    """
    times: dict[str, int] = {}
    for name, run in runs.items():
        once = timer.seconds(run, 1)  # also the warm-up
        times[name] = max(1, round(_SAMPLE_S / max(once, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for index in range(rounds):
        for name in names if index % 2 == 0 else reversed(names):
            taken = timer.seconds(runs[name], times[name])
            samples[name].append(taken / (times[name] * launches[name]))
    return samples


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios of samples taken in the same round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Return what a record keeps of samples, in microseconds: quantiles and spread."""
    us = np.asarray(seconds) * 1e6
    p50, p99 = np.percentile(us, [50, 99])
    return {
        "min_us": float(us.min()),
        "p50_us": float(p50),
        "p99_us": float(p99),
        "max_us": float(us.max()),
        "variation": float(us.std() / us.mean()),
        "samples": len(us),
    }

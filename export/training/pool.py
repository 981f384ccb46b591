"""Runs independent fits in worker processes, one core each, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

import torch

__all__ = ["run_jobs"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_shared: Any = None


def _start_worker(shared: Any) -> None:
    global _shared
    _shared = shared
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(function: Callable[[Any, Any], Any], job: Any) -> Any:
    return function(_shared, job)


def run_jobs(
    function: Callable[[Any, Job], Result],
    shared: Any,
    jobs: Sequence[Job],
    *,
    done: Callable[[Result], None],
    workers: int | None = None,
) -> list[Result]:
    """Return ``[function(shared, job) for job in jobs]``, computed in parallel.

    Each worker uses one thread, so a result does not depend on the number of workers.

    Args:
        function: A module-level function.
        shared: Sent once to each worker.
        jobs: One argument a call.
        done: Called in this process with each result as it arrives, in any order.
        workers: Number of processes; the cores of this process by default.

    Raises:
        BaseException: The first error of a job, or ``KeyboardInterrupt``; the workers are ended.
    """
    count = min(len(jobs), workers or len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_start_worker, initargs=(shared,))
    try:
        futures = {pool.submit(_work, function, job): i for i, job in enumerate(jobs)}
        results: dict[int, Result] = {}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            done(results[futures[future]])
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return [results[i] for i in range(len(jobs))]

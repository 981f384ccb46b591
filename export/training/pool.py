"""Runs independent fits in worker processes, one core each, with a progress bar."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from mimamba_edge.bench.environment import available_cores
from mimamba_edge.errors import TrainingError

__all__ = ["run_jobs"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_shared: Any = None


def _start_worker(shared: Any) -> None:
    global _shared
    _shared = shared
    torch.set_num_threads(1)


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Act on Ctrl-C only once all workers are started.

    They inherit the blocked signal: Ctrl-C reaches a whole process group, and the parent alone decides what
    it means. A parent that stopped half way through starting one would leave it with half its data.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if pressed:
        raise KeyboardInterrupt


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
        TrainingError: A worker was ended from outside.
        BaseException: The first error of a job, or ``KeyboardInterrupt``; the workers are ended.
    """
    count = min(len(jobs), workers or available_cores())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_start_worker, initargs=(shared,))
    try:
        with _ctrl_c_held_back():
            futures = {pool.submit(_work, function, job): i for i, job in enumerate(jobs)}
        results: dict[int, Result] = {}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            done(results[futures[future]])
    except BrokenProcessPool as error:
        raise TrainingError(
            "a training process was killed",
            got="usually the system does that when memory runs out",
            do="free memory, or train with shorter windows or fewer channels; nothing was written",
        ) from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()
    return [results[i] for i in range(len(jobs))]

"""Jobs in processes of this machine, by joblib's loky."""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import resource_tracker

from mimamba_edge.errors import WorkerError
from mimamba_edge.export.jobs.leftovers import removed_if_killed

__all__ = ["on_processes"]

_RESTARTED = "A worker stopped while some jobs were given to the executor"
_EARLY = ".* tasks which were still being processed by the workers have been cancelled"


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Act on Ctrl-C only once all workers are started.

    They inherit the blocked signal: Ctrl-C reaches a whole process group, and the parent alone decides what
    it means. A parent that stopped half way through starting one would leave it with half its data.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for tracker in (resource_tracker, multiprocessing.resource_tracker):
        tracker.ensure_running()  # its start, where it comes later, lets the signal through again
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


def on_processes(
    call: Callable[..., tuple[int, Any]],
    function: Callable[[Any, Any], Any],
    shared: Any,
    jobs: dict[int, Any],
    count: int,
) -> Generator[tuple[int, Any], None, None]:
    """Do jobs in ``count`` processes, which are gone at the end however it comes.

    Raises:
        WorkerError: A worker was ended from outside.
    """
    whole = False
    # Arrays that a job is sent are small: no copies of them, and no folder for such in shared memory.
    start: dict[str, Any] = {"initializer": _end_with, "initargs": (os.getpid(),)}
    settings = {"n_jobs": count, "inner_max_num_threads": 1, "max_nbytes": None, **start}
    settings["temp_folder"] = tempfile.gettempdir()
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        stack.enter_context(removed_if_killed(f"/dev/shm/sem.loky-{os.getpid()}-*"))
        # Of a worker that has grown and is replaced, and of jobs that are given up: both are meant.
        warnings.filterwarnings("ignore", message=f"{_RESTARTED}|{_EARLY}")
        stack.callback(lambda: _end(kill=not whole))
        try:
            with parallel_config("loky", **settings), _ctrl_c_held_back():
                parallel = Parallel(batch_size=1, return_as="generator_unordered")
                outcomes = parallel(delayed(call)(function, shared, i, job) for i, job in jobs.items())
                stack.callback(outcomes.close)
            yield from outcomes
            whole = True
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process was killed",
                got="usually the system does that when memory runs out",
                do="free memory, take fewer at a time (--jobs), or use shorter windows or fewer channels",
            ) from error


def _end_with(parent: int) -> None:
    """End this worker when the process that started it is gone: nobody would take its result."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end(*, kill: bool) -> None:
    get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=kill)

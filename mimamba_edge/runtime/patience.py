"""How long a model's first answer is waited for: a loop in it may have no end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["FIRST_RUN_S", "answer_within", "first_run_s"]

FIRST_RUN_S = {"cpu": 8.0, "cuda": 120.0}
"""By provider; CUDA loads its kernels and chooses among them then."""
_WINDOW_S, _WINDOW_NODES = 0.5, 400
"""More for each window, and so many times that as the model has nodes in such numbers."""
_WAITS = 8.0
"""So many times as long where other programs have the cores."""
_T = TypeVar("_T")


def first_run_s(provider: str, windows: int, nodes: int) -> float:
    """Return how long a model's first answer may take.

    Args:
        provider: Key of :data:`FIRST_RUN_S`.
        windows: How many it is for.
        nodes: Of the model, functions inlined.
    """
    return FIRST_RUN_S[provider] + _WINDOW_S * windows * max(1.0, nodes / _WINDOW_NODES)


def answer_within(run: Callable[[], _T], limit_s: float) -> _T:
    """Return what a function in a thread of its own returns within a time; raise what it raises.

    Args:
        run: Goes on, unheard, where it is too late.
        limit_s: The time, in which this process must have had a core as long.

    Raises:
        TimeoutError: It is too late.
    """
    found, failed, ended = list[_T](), list[BaseException](), threading.Event()

    def answer() -> None:
        try:
            found.append(run())
        except BaseException as error:  # raised in the thread that asked
            failed.append(error)
        ended.set()

    threading.Thread(target=answer, name="first inference", daemon=True).start()
    begun, most = time.process_time(), time.monotonic() + _WAITS * limit_s
    left = limit_s
    while not ended.wait(left):
        left = min(limit_s - (time.process_time() - begun), most - time.monotonic())
        if left <= 0:
            raise TimeoutError
    if failed:
        raise failed[0]
    return found[0]

"""The signals by which a user or a service manager ends a stream or a recording."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["taken_signals"]


@contextlib.contextmanager
def taken_signals(handle: Callable[[int, Callable[[], None]], None]) -> Iterator[None]:
    """Hand Ctrl-C, a hang-up and a termination to ``handle`` during the block.

    What whoever started this ignores stays ignored: under nohup a recording outlives its terminal.

    Args:
        handle: Given the signal's number, and what gives all signals back to whom they belonged.
    """
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    try:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(one) is not signal.SIG_IGN:
                before[one] = signal.signal(one, lambda number, _: handle(number, restore))
        yield
    finally:
        restore()

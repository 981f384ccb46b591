"""What is looked at now and then beside the streams, in its own thread: the model's file, the machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mimamba_edge.machine.discrete import gpus
from mimamba_edge.machine.thermal import alarms, temperatures, throttled

__all__ = ["Monitor", "machine_state"]

LOOK_S = 1.0
_MACHINE_EVERY = 5
"""Looks at the model's file for one at the machine."""
_LAST_S = 10.0


def machine_state() -> dict[str, Any] | None:
    """Return what holds the clocks down now; ``None`` where the machine tells nothing.

    Returns:
        ``throttled`` (units throttled by temperature, and causes a discrete GPU names), ``alarms`` (how
        often since boot the supply did, by cause, or ``None``) and ``hottest_c``.
    """
    temperature, supply = temperatures(), alarms()
    cards = gpus()
    if not temperature and supply is None and not cards:
        return None
    degrees = [
        *temperature.values(),
        *(card.temperature_c for card in cards if card.temperature_c is not None),
    ]
    return {
        "throttled": [*throttled(), *(f"gpu: {cause}" for card in cards for cause in card.throttled)],
        "alarms": supply,
        "hottest_c": max(degrees, default=None),
    }


class Monitor:
    """Looks, until it is closed.

    Args:
        look: Called about once a second.
        machine: As :func:`machine_state`.

    Attributes:
        machine: What the last look at the machine found.
        fault: An error of the program that ended it.
    """

    def __init__(
        self,
        look: Callable[[], None],
        machine: Callable[[], dict[str, Any] | None] = machine_state,
    ) -> None:
        self._look, self._state = look, machine
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.machine: dict[str, Any] | None = None
        self.fault: BaseException | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End; a look that is under way is waited for, but not for long."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST_S)

    def _run(self) -> None:
        turn = 0
        try:
            while True:
                if turn % _MACHINE_EVERY == 0:
                    self.machine = self._state()
                turn += 1
                if self._end.wait(LOOK_S):
                    return
                self._look()
        except BaseException as error:  # the loop raises it
            self.fault = error

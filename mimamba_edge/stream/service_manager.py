"""What a stream tells systemd: that it has started, that decisions are made, that it ends.

The protocol of sd_notify(3): one datagram of ``KEY=VALUE`` lines to the socket that ``NOTIFY_SOCKET`` names.
Without that variable nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable

__all__ = ["ServiceManager"]

_EVERY_S = 1.0
"""Seconds between two words on decisions: systemd counts in seconds."""


class ServiceManager:
    """Tells systemd of one process.

    Args:
        address: Path of the socket, or one in the abstract namespace, which begins with ``@``; ``None`` or
            empty: there is nobody to tell.
        clock: Monotonic seconds.
    """

    def __init__(self, address: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = address, clock
        self._told_at = -_EVERY_S
        self._decisions = 0

    @classmethod
    def of_environment(cls) -> ServiceManager:
        """Return the one that ``NOTIFY_SOCKET`` names."""
        return cls(os.environ.get("NOTIFY_SOCKET"))

    def ready(self) -> None:
        """Say that model, sources and sinks are open."""
        self._tell("READY=1\nSTATUS=waiting for the first decision")

    def decided(self) -> None:
        """Say that a decision was made: nothing else holds the watchdog off."""
        self._decisions += 1
        now = self._clock()
        if now - self._told_at >= _EVERY_S:
            self._told_at = now
            self._tell(f"WATCHDOG=1\nSTATUS={self._decisions} decisions")

    def stopping(self) -> None:
        """Say that the process ends in good order."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A manager that went away must not end a stream.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(text.encode(), address)

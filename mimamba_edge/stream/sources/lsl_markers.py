"""Markers from the lab streaming layer (LSL)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.data.spec_options import read_pairs
from mimamba_edge.errors import SourceError
from mimamba_edge.stream.sources.base import HEARTBEAT_S
from mimamba_edge.stream.sources.lsl_network import (
    BUFFER_S,
    OPEN_S,
    WAIT_S,
    check_named,
    choose,
    describe,
    load_pylsl,
)

__all__ = ["MarkerInlet", "marker_inlet"]


def marker_inlet(text: str = "type=Markers", *, wait_s: float = WAIT_S) -> MarkerInlet:
    """Open a stream of markers.

    Args:
        text: ``name=X``, ``type=Markers``, ``source_id=…`` or several of them joined by ``&``; ``lsl:`` may
            stand before it.
        wait_s: How long to wait for it to be there.

    Raises:
        ConfigError: The text cannot be understood.
        DependencyError: pylsl or its library is missing.
        SourceError: No stream fits, or several do.
    """
    wanted = read_pairs(text.removeprefix("lsl:"))
    check_named(wanted, text)
    return MarkerInlet(choose(wanted, wait_s))


class MarkerInlet:
    """Markers as they come: pairs of a text and its time by this machine's LSL clock.

    ``unix_offset_s()`` added to that time gives Unix seconds, as boards' time stamps have them;
    the clock offset of a :class:`mimamba_edge.stream.sources.lsl.LslSource` subtracted gives the time of that
    stream's stamps.

    Args:
        info: The stream's description. Texts and numbers are taken, its first channel.
    """

    def __init__(self, info: Any) -> None:
        self._pylsl = load_pylsl()
        self.name = str(info.name())
        self._closed = threading.Event()
        # Markers come seldom, so that a loss shows late anyway: liblsl's own recovery serves them.
        self._inlet = self._pylsl.StreamInlet(info, max_buflen=BUFFER_S, recover=True)
        try:
            self._inlet.open_stream(timeout=OPEN_S)
        except RuntimeError as error:
            raise SourceError(f"the LSL stream {describe(info)} cannot be opened", got=str(error)) from error
        self._offset = 0.0

    def unix_offset_s(self) -> float:
        """Return what turns this machine's LSL clock into Unix seconds."""
        return time.time() - float(self._pylsl.local_clock())

    def pull(self, timeout_s: float = 0.0) -> tuple[str, float] | None:
        """Return the next marker, or ``None`` if none came in time.

        Raises:
            SourceError: The stream was lost and does not come back.
        """
        with contextlib.suppress(RuntimeError):
            self._offset = float(self._inlet.time_correction(timeout=0.0))
        try:
            sample, stamp = self._inlet.pull_sample(timeout=timeout_s)
        except UnicodeDecodeError:
            return "\N{REPLACEMENT CHARACTER}", float(self._pylsl.local_clock())
        except RuntimeError as error:
            raise SourceError(
                f"the LSL markers {printable(self.name)!r} are gone",
                got=str(error),
                do="give that stream a source_id, so that it can be found again",
            ) from error
        if sample is None:
            return None
        marker = sample[0]
        return marker if isinstance(marker, str) else f"{marker:.15g}", stamp + self._offset

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """Yield markers until :meth:`close`.

        Raises:
            SourceError: The stream was lost and does not come back.
        """
        while not self._closed.is_set():
            if (marker := self.pull(HEARTBEAT_S)) is not None:
                yield marker

    def close(self) -> None:
        """End the iteration."""
        self._closed.set()

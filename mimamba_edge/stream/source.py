"""Where samples come from: the protocol of sources, and recordings replayed as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import ConfigError

__all__ = ["Chunk", "FileSource", "Source"]

Chunk = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Samples ``(n, c)`` in the source's unit and their timestamps ``(n,)`` in seconds."""

_CHUNK = 12
"""Samples of a chunk of a replay: a packet of the headset."""


class Source(Protocol):
    """Gives chunks of samples and says what they are.

    Attributes:
        name: What the user calls it.
        ch_names: Channels, in the order of the columns.
        sfreq: Nominal rate in Hz.
        unit: Unit of the samples.
        rails_uv: Lowest and highest value it can give, in microvolts, or ``None`` if that is not known.
        live: Whether samples come at the time they are made; then decisions carry the wall clock's time.
    """

    name: str
    ch_names: tuple[str, ...]
    sfreq: float
    unit: str
    rails_uv: tuple[float, float] | None
    live: bool

    def chunks(self) -> Iterator[Chunk]:
        """Yield each chunk as soon as it is there."""


class FileSource:
    """Replays a recording.

    Args:
        path: CSV as muselsl writes it.
        speed: ``"realtime"``: at the pace of the recording's nominal rate; ``"max"``: without waiting.
        chunk: Samples of a chunk.
        clock: Monotonic seconds, for pacing.
        sleep: Waits for some seconds.

    Raises:
        ConfigError: The speed is not known.
        DataError: The recording cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        speed: str = "realtime",
        chunk: int = _CHUNK,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if speed not in ("realtime", "max"):
            raise ConfigError("unknown speed", got=speed, expected="realtime or max")
        self._recording = read_recording(path)
        self.name = str(path)
        self.ch_names, self.sfreq = self._recording.ch_names, self._recording.sfreq
        self.unit, self.rails_uv = self._recording.unit, self._recording.rails_uv
        self.live = speed == "realtime"
        self._chunk, self._clock, self._sleep = chunk, clock, sleep

    def chunks(self) -> Iterator[Chunk]:
        """Yield the recording, chunk by chunk."""
        samples, timestamps = self._recording.samples, self._recording.timestamps
        started = self._clock()
        for at in range(0, len(samples), self._chunk):
            stop = min(at + self._chunk, len(samples))
            if self.live:
                self._sleep(max(0.0, started + stop / self.sfreq - self._clock()))
            yield samples[at:stop], timestamps[at:stop]

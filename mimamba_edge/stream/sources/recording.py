"""Recordings replayed as a source."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sources.base import PACKET_COUNTER, Chunk, Notice

__all__ = ["SPEEDS", "FileSource"]

SPEEDS = ("realtime", "max")
_CHUNK = 12
"""Samples of a chunk of a replay: a packet of the headset."""


class FileSource:
    """Replays a recording of any kind, its markers at their samples.

    Args:
        path: The recording, or where it is, see :func:`mimamba_edge.data.recording.read_recording`.
        speed: ``"realtime"``: at the pace of the recording's nominal rate; ``"max"``: without waiting.
        chunk: Samples of a chunk.
        clock: Monotonic seconds, for pacing.
        sleep: Waits for some seconds.

    Raises:
        ConfigError: The speed is not known.
        DataError: The recording cannot be used.
        DependencyError: Its format needs a package that is not installed.
    """

    def __init__(
        self,
        path: Path | Recording,
        *,
        speed: str = "realtime",
        chunk: int = _CHUNK,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if speed not in SPEEDS:
            raise ConfigError("unknown speed", got=speed, expected=" or ".join(SPEEDS))
        self._recording = path if isinstance(path, Recording) else read_recording(path)
        self.name = str(self._recording.path if isinstance(path, Recording) else path)
        self.ch_names, self.sfreq = self._recording.ch_names, self._recording.sfreq
        self.unit, self.rails_uv = self._recording.unit, self._recording.rails_uv
        self.live = speed == "realtime"
        self.device: dict[str, Any] = {"recording": Path(self.name).name}
        if self._recording.counted:
            self.device[PACKET_COUNTER] = True
        self._chunk, self._clock, self._sleep = chunk, clock, sleep
        self._closed = False

    def chunks(self) -> Iterator[Chunk]:
        """Yield the recording, chunk by chunk."""
        samples, timestamps = self._recording.samples, self._recording.timestamps
        markers = deque(sorted(self._recording.markers, key=lambda marker: marker.sample))
        started = self._clock()
        for at in range(0, len(samples), self._chunk):
            if self._closed:
                return
            stop = min(at + self._chunk, len(samples))
            if self.live:
                self._sleep(max(0.0, started + stop / self.sfreq - self._clock()))
            notices = []
            while markers and (markers[0].sample < stop or stop == len(samples)):
                marker = markers.popleft()
                notices.append(Notice("marker", marker.text, sample=marker.sample))
            yield Chunk(samples[at:stop], timestamps[at:stop], notices=tuple(notices))

    def close(self) -> None:
        """End the replay."""
        self._closed = True

"""From a source's thread to the loop: a reader for each source, with a bounded queue."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mimamba_edge.errors import SourceError
from mimamba_edge.signal.clock import ClockEvent
from mimamba_edge.stream.arrival import Arrival
from mimamba_edge.stream.cleaning import ChunkCleaner
from mimamba_edge.stream.dispatch import SinkDispatcher
from mimamba_edge.stream.sources.base import WAITS, Chunk, Notice, Source

__all__ = ["ReadyReaders", "SourceReader"]

_QUEUE_S = 2.0
"""Seconds of signal that may wait for the loop."""
_BEHIND = 4
"""More waiting chunks of a live source are taken as one: that is cheaper, and makes up for lost time."""


class ReadyReaders:
    """Which readers have something for the loop.

    Attributes:
        lock: Guards the queues and counters of all readers.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._filled = threading.Condition(self.lock)
        self._listed: dict[SourceReader, None] = {}

    def announce(self, reader: SourceReader) -> None:
        """Take note, with the lock held, that a reader has something, or has ended."""
        if not self._listed:
            self._filled.notify()
        self._listed[reader] = None

    def collect(
        self, wait_s: float, wanted: Callable[[SourceReader], bool]
    ) -> list[tuple[SourceReader, list[Chunk]]]:
        """Return what is there, waiting for something if nothing is.

        Args:
            wait_s: No longer than this.
            wanted: Whether a reader may be taken from now.
        """
        with self.lock:
            if wait_s and not self._listed:
                self._filled.wait(wait_s)
            taken = [(reader, reader.take()) for reader in self._listed if wanted(reader)]
            self._listed = {reader: None for reader in self._listed if reader.filled}
        return taken


class SourceReader:
    """Reads one source in a thread of its own.

    What comes is cleaned, told to the sinks and queued. A full queue makes a source wait that is not live, or
    whose producer waits; of another the oldest chunks are lost, with a notice ``"overrun"``.

    Args:
        name: Name of the stream.
        source: Its source.
        dispatcher: The sinks.
        inbox: Told when something is queued.
        clock: Monotonic seconds.

    Attributes:
        failure: What ended the source for good.
        ended: Whether nothing will be queued any more.
        ended_at: Since when.
        overruns: Samples that were lost in the queue.
        disconnected: Whether the device has gone and has not come back.
        heard: When samples came last.
        waits: Whether the producer waits while nothing is taken: a file, a pipe. Then nothing is dropped.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        dispatcher: SinkDispatcher,
        ready: ReadyReaders,
        clock: Callable[[], float],
    ) -> None:
        self.name, self.source = name, source
        self._dispatcher, self._ready, self._lock, self._clock = dispatcher, ready, ready.lock, clock
        self._taken = threading.Condition(ready.lock)
        self._queue: deque[Chunk] = deque()
        self._waiting = 0
        self._most = max(1, int(_QUEUE_S * source.sfreq))
        self._cleaner = ChunkCleaner(source.sfreq, len(source.ch_names))
        self._arrival = Arrival(source.sfreq)
        # A replay comes at the pace of its samples, whatever was lost in it.
        self.waits = not source.live or source.device.get(WAITS) is True
        self._paced = source.live and "recording" not in source.device
        self._left: int | None = None
        self.closing = False
        self._given = 0
        self._thread = threading.Thread(target=self._run, name=f"source {name}", daemon=True)
        self.failure: SourceError | None = None
        self.ended, self.ended_at = False, clock()
        self._notices: Counter[str] = Counter()
        self.overruns = 0
        self.disconnected = False
        self.heard = clock()

    def start(self, seconds: float | None = None) -> None:
        """Start to read; of a source that is not live no more than some seconds of signal."""
        if seconds is not None and not self.source.live:
            self._left = round(seconds * self.source.sfreq)
        self.heard = self._clock()
        self._thread.start()

    def close(self) -> None:
        """End the source and its thread; what is queued stays."""
        with self._lock:
            self.closing = True
            self._taken.notify_all()
        self.source.close()

    def join(self, timeout: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def filled(self) -> bool:
        """Whether a chunk is queued."""
        return bool(self._queue)

    @property
    def done(self) -> bool:
        """Whether the source has ended and everything was taken."""
        return self.ended and not self._queue

    def take(self) -> list[Chunk]:
        """Return what is queued, with the lock held; of a source that is not live one chunk at a time."""
        if not self._queue:
            return []
        if not self.source.live:
            chunks = [self._queue.popleft()]
            self._waiting -= len(chunks[0].samples)
        else:
            chunks = list(self._queue)
            self._queue.clear()
            self._waiting = 0
        self._taken.notify_all()
        return chunks if len(chunks) <= _BEHIND else [_joined(chunks)]

    def tell(self, notice: Notice) -> None:
        """Count a notice and pass it on."""
        with self._lock:
            self._notices[notice.kind] += 1
        self._dispatcher.notice(self.name, notice)

    @property
    def rate(self) -> dict[str, Any]:
        """What the source says and delivers, see :attr:`mimamba_edge.stream.cleaning.ChunkCleaner.rate`."""
        return self._cleaner.rate

    def was_set(self, event: ClockEvent) -> bool:
        """Return whether a rise of the clock was none of the samples' but a clock that was set forward."""
        with self._lock:
            return event.unsure and self._arrival.was_set(event.step_s)

    def counted(self) -> dict[str, int]:
        """Return the number of notices by kind."""
        with self._lock:
            return dict(sorted(self._notices.items()))

    def _run(self) -> None:
        try:
            for chunk in self.source.chunks():
                if self.closing or self._left == 0:
                    break
                self._pass(self._cleaner.clean(chunk))
        except SourceError as error:
            self.failure = None if self.closing else error
        except Exception as error:  # whatever ends one stream must not end the others
            self.failure = SourceError(
                f"unexpected error in the source: {type(error).__name__}: {error}",
                do="run it again; if it fails again, please report it with this message",
            )
            self.failure.__cause__ = error
        with self._lock:
            self.ended, self.ended_at = True, self._clock()
            self._ready.announce(self)

    def _pass(self, chunk: Chunk) -> None:
        for notice in chunk.notices:
            self.disconnected = notice.kind == "disconnected" or (
                self.disconnected and notice.kind != "reconnected"
            )
            self.tell(notice)
        n = len(chunk.samples)
        if self._left is not None:
            n = min(n, self._left)
            self._left -= n
            chunk = replace(chunk, samples=chunk.samples[:n], timestamps=chunk.timestamps[:n])
        if not n:
            return
        self.heard, self.disconnected = self._clock(), False
        if self._paced:
            with self._lock:
                self._arrival.push(chunk.timestamps, chunk.arrived)
        self._dispatcher.chunk(self.name, chunk)
        lost, at = self._put(chunk)
        self._given += n
        if lost:
            self.tell(Notice("overrun", "the program was too slow for this source", n=lost, sample=at))

    def _put(self, chunk: Chunk) -> tuple[int, int]:
        """Queue a chunk; return how many samples were lost for it, and the number of the first of them."""
        lost = 0
        with self._lock:
            at = self._given - self._waiting
            while self._queue and self._waiting >= self._most and not self.closing:
                if not self.waits:
                    oldest = len(self._queue.popleft().samples)
                    self._waiting -= oldest
                    lost += oldest
                else:
                    self._taken.wait()
            self.overruns += lost
            self._queue.append(chunk)
            self._waiting += len(chunk.samples)
            self._ready.announce(self)
        return lost, at


def _joined(chunks: list[Chunk]) -> Chunk:
    """Return chunks as one that arrived with the first of them, so that no latency is understated."""
    return replace(
        chunks[0],
        samples=np.concatenate([chunk.samples for chunk in chunks]),
        timestamps=np.concatenate([chunk.timestamps for chunk in chunks]),
        notices=(),
    )

"""Hands what streams tell to several sinks, each at its own pace."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import MimambaError
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sources.base import Chunk, Notice

__all__ = ["SinkDispatcher"]

_MOST_WAITING = 4096
"""Calls that a sink may be behind."""
_LAST_S = 10.0
"""Seconds that a sink which may lose something gets for its end."""


class SinkDispatcher:
    """A thread and a bounded queue for each sink.

    A lossless sink makes the caller wait when its queue is full; another one loses the oldest call, counted.
    A sink that raises is closed and told of once; the others go on.

    Args:
        sinks: The sinks, not yet begun.
        note: Told for people when a sink failed.
        decided: Called after each decision.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        note: Callable[[str], None],
        decided: Callable[[], None] = lambda: None,
    ) -> None:
        self._decided = decided
        names = [sink.name for sink in sinks]
        self._threads = [
            _SinkThread(sink, f"{sink.name} {i + 1}" if names.count(sink.name) > 1 else sink.name, note)
            for i, sink in enumerate(sinks)
        ]
        self._chunk = self._hearing("chunk")
        self._signal = self._hearing("signal")
        self._decision = self._hearing("decision")
        self._notice = self._hearing("notice")
        self._status = self._hearing("status")

    def _hearing(self, method: str) -> list[_SinkThread]:
        return [
            thread
            for thread in self._threads
            if getattr(type(thread.sink), method) is not getattr(Sink, method)
        ]

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Begin all sinks; if one refuses, those before it are closed.

        Raises:
            MimambaError: A sink cannot be opened.
        """
        begun: list[_SinkThread] = []
        try:
            for thread in self._threads:
                thread.sink.begin(streams)
                begun.append(thread)
        except BaseException:
            for thread in begun:
                thread.sink.close()
            raise
        for thread in self._threads:
            thread.start()

    @property
    def wants_signal(self) -> bool:
        """Whether a sink hears filtered samples."""
        return bool(self._signal)

    @property
    def deserted(self) -> bool:
        """Whether there were sinks and none is left."""
        return bool(self._threads) and all(thread.gone for thread in self._threads)

    @property
    def failure(self) -> MimambaError | None:
        """What the first sink that failed said."""
        return next((thread.failure for thread in self._threads if thread.failure is not None), None)

    def chunk(self, stream: str, chunk: Chunk) -> None:
        """See :meth:`Sink.chunk`."""
        for thread in self._chunk:
            thread.put(thread.sink.chunk, (stream, chunk))

    def signal(self, stream: str, uv: NDArray[np.float64], start: int) -> None:
        """See :meth:`Sink.signal`."""
        for thread in self._signal:
            thread.put(thread.sink.signal, (stream, uv, start))

    def decision(self, decision: Decision) -> None:
        """See :meth:`Sink.decision`."""
        for thread in self._decision:
            thread.put(thread.sink.decision, (decision,))
        self._decided()

    def notice(self, stream: str, notice: Notice) -> None:
        """See :meth:`Sink.notice`."""
        for thread in self._notice:
            thread.put(thread.sink.notice, (stream, notice))

    def status(self, counters: dict[str, Any]) -> None:
        """See :meth:`Sink.status`."""
        for thread in self._status:
            thread.put(thread.sink.status, (counters,))

    def dropped(self) -> dict[str, dict[str, int]]:
        """Return for each sink the calls it was too slow for, and whether it failed and was closed."""
        return {thread.name: {"dropped": thread.dropped, "gone": thread.gone} for thread in self._threads}

    def close(self) -> None:
        """Let all sinks write what is left and end."""
        for thread in self._threads:
            thread.end()
        for thread in self._threads:
            thread.join()


class _SinkThread:
    """One sink, its queue and its thread."""

    def __init__(self, sink: Sink, name: str, note: Callable[[str], None]) -> None:
        self.sink, self.name, self._note = sink, name, note
        self.dropped = 0
        self.gone = False
        self.failure: MimambaError | None = None
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        with self._changed:
            while len(self._calls) >= _MOST_WAITING and not self.gone:
                if self.sink.lossless:
                    self._changed.wait()
                else:
                    self._calls.popleft()
                    self.dropped += 1
            if not self.gone:
                self._calls.append((call, arguments))
                # Whoever is not waiting looks at the queue before it waits.
                if len(self._calls) == 1:
                    self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def join(self) -> None:
        if self._thread.ident is None:
            return
        self._thread.join(None if self.sink.lossless else _LAST_S)
        if self._thread.is_alive():
            self._note(f"{self.name} did not stop within {_LAST_S:g} s and was abandoned")

    def _run(self) -> None:
        try:
            while (calls := self._next()) is not None:
                for call, arguments in calls:
                    call(*arguments)
        except BrokenPipeError:
            self._leave()  # its reader went away: an end, not a fault
        except Exception as error:  # a sink's fault must not end a recording
            self._fail(error)
        try:
            self.sink.close()
        except BrokenPipeError:
            self._leave()
        except Exception as error:
            if not self.gone:
                self._fail(error)

    def _leave(self) -> None:
        with self._changed:
            self.gone = True
            self._calls.clear()
            self._changed.notify_all()

    def _next(self) -> list[tuple[Callable[..., None], tuple[Any, ...]]] | None:
        """Return all calls that wait; ``None`` at the end."""
        with self._changed:
            while not self._calls:
                if self._ending:
                    return None
                self._changed.wait()
            calls = list(self._calls)
            self._calls.clear()
            self._changed.notify_all()
            return calls

    def _fail(self, error: Exception) -> None:
        what = error if isinstance(error, MimambaError) else MimambaError(f"{type(error).__name__}: {error}")
        self.failure = what
        self._leave()
        self._note(f"the sink {self.name} failed and was closed; the stream goes on: {what}")

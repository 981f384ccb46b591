"""One stream of several: its decoder, the windows that wait for the model, and its counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.signal.preprocessor import Window
from mimamba_edge.signal.scaling import apply_scaling
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.dispatch import SinkDispatcher
from mimamba_edge.stream.latency import Latencies
from mimamba_edge.stream.queue import SourceReader
from mimamba_edge.stream.sources.base import Chunk, clock_notice

__all__ = ["LiveStream", "Waiting"]

_STALE_S = 0.5
"""Age at which a window that waits for the model gives way to the newer ones of its stream."""
_FEW = 2
"""Windows that may wait however old they are."""
_SILENT_S = 1.0


@dataclass(frozen=True)
class Waiting:
    """A window that waits for the model.

    Attributes:
        window: The window.
        arrived: When its newest sample was there, monotonic seconds.
        t_unix: The same by the wall clock; ``None`` where that means nothing.
        since: When it was ready.
    """

    window: Window
    arrived: float
    t_unix: float | None
    since: float


class LiveStream:
    """What the loop keeps of one stream. For one thread; nothing in it grows with time.

    Args:
        reader: Where its chunks come from.
        decoder: Makes windows of its samples, and decisions of what the model says.
        dispatcher: The sinks.
        shown: Name in the decisions; ``None`` where there is one stream only.
    """

    def __init__(
        self,
        reader: SourceReader,
        decoder: Decoder,
        dispatcher: SinkDispatcher,
        shown: str | None,
    ) -> None:
        self.reader, self.decoder = reader, decoder
        self._dispatcher, self._shown = dispatcher, shown
        self._signal_at = self._set = self._times_set = 0
        self.waiting: deque[Waiting] = deque()
        self._newest: tuple[float, float | None, float] = (0.0, None, 0.0)
        self.dropped = 0
        self.latencies = Latencies()

    def push(self, chunks: Sequence[Chunk], now: float) -> None:
        """Take chunks through the signal path until all windows are there; :meth:`finish` does the rest.

        Args:
            chunks: The next ones, at least one.
            now: Monotonic seconds: when samples that are not live arrive.
        """
        live = self.reader.source.live
        if not self.reader.waits:
            self._drop_stale(now)
        for chunk in chunks:
            self._newest = (chunk.arrived, chunk.t_unix, now) if live else (now, None, now)
            last = chunk is chunks[-1]
            self._wait(self.decoder.prepare(chunk.samples, chunk.timestamps, pause=last))

    def _wait(self, windows: Sequence[Window]) -> None:
        self.waiting.extend(Waiting(window, *self._newest) for window in windows)

    def finish(self) -> None:
        """Do what the windows of the last :meth:`push` did not have to wait for."""
        self._wait(self.decoder.finish())
        events = self.decoder.preprocessor.events
        while events:
            event = events.popleft()
            was_set = self.reader.was_set(event)
            self._set += event.n_lost if was_set else 0
            self._times_set += was_set
            self.reader.tell(clock_notice(event, was_set=was_set))
            self._signal_at = 0  # what was shown since then stands elsewhere now
        if self._dispatcher.wants_signal:
            self._show()

    def _drop_stale(self, now: float) -> None:
        while len(self.waiting) > _FEW and now - self.waiting[0].since > _STALE_S:
            self.waiting.popleft()
            self.dropped += 1

    def _show(self) -> None:
        start, uv = self.decoder.preprocessor.filtered(self._signal_at)
        if len(uv):
            self._signal_at = start + len(uv)
            self._dispatcher.signal(self.reader.name, uv, start)

    def adopt(self, contract: Contract) -> None:
        """Go on with another model of the same signal path."""
        self.decoder.preprocessor.contract = contract
        for i, held in enumerate(self.waiting):
            data = apply_scaling(held.window.uv, contract.scaling)
            self.waiting[i] = replace(held, window=replace(held.window, data=data))

    def decide(self, held: Waiting, logits: NDArray[np.float32] | None, now: float) -> None:
        """Tell the decision on a window.

        Args:
            held: The window.
            logits: What the model says, ``(o,)``; ``None`` where it was not asked.
            now: Monotonic seconds.
        """
        latency_ms = 1e3 * (now - held.arrived)
        if logits is not None:
            self.latencies.add(latency_ms)
        self._dispatcher.decision(
            self.decoder.decide(
                held.window, logits, latency_ms=latency_ms, t_unix=held.t_unix, stream=self._shown
            )
        )

    def state(self, now: float) -> str:
        """Return ``running``, ``silent``, ``disconnected``, ``ended`` or ``failed``."""
        reader = self.reader
        if reader.failure is not None:
            return "failed"
        if reader.ended:
            return "ended"
        if reader.disconnected:
            return "disconnected"
        return "silent" if reader.source.live and now - reader.heard > _SILENT_S else "running"

    def summary(self, now: float) -> dict[str, Any]:
        """Return the counters so far, JSON-ready."""
        report = self.decoder.report
        # The path goes by the time stamps, live and in a replay; what is told goes by the arrival too.
        for key in ("lost_samples", "unsure_samples"):
            report[key] -= self._set
        report["losses"] -= self._times_set
        report["clock_steps"] += self._times_set
        return {
            **report,
            "sfreq": self.reader.rate,
            "dropped": self.dropped,
            "overruns": self.reader.overruns,
            "notices": self.reader.counted(),
            "latency_ms": self.latencies.figures(),
            "algorithmic_delay_ms": self.decoder.delay_ms,
            "state": self.state(now),
        }

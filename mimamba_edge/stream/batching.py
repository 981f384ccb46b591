"""Windows of several streams through one model: at most one of each stream at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.decoder import infer
from mimamba_edge.stream.live_stream import LiveStream, Waiting

__all__ = ["Batcher"]


class Batcher:
    """Runs the model on the windows that are ready. A single stream always gets batches of one.

    Args:
        runner: An active runner.
        streams: All streams.
        wait_s: What a window waits for those of streams that have none yet.
        successor: Gives another active runner, to go on with from the next batch; ``None``: there is none.
        adopt: Told of a successor.
        clock: Monotonic seconds.

    Attributes:
        runner: The runner in use.
    """

    def __init__(
        self,
        runner: Runner,
        streams: Sequence[LiveStream],
        wait_s: float,
        *,
        successor: Callable[[], Runner | None],
        adopt: Callable[[Runner], None],
        clock: Callable[[], float],
    ) -> None:
        self.runner, self._streams, self._wait_s = runner, streams, wait_s
        self._successor, self._adopt, self._clock = successor, adopt, clock
        # In the order in which their windows became ready.
        self._pending: dict[LiveStream, None] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of batches to warm up with: one, and the largest."""
        most = min(len(self._streams), self.runner.most_batch or len(self._streams))
        return tuple(sorted({1, most}))

    def due_in(self, most_s: float) -> float:
        """Return how long a loop may wait for samples, at most ``most_s``."""
        if not self._pending:
            return most_s
        return min(most_s, max(0.0, self._oldest() + self._wait_s - self._clock()))

    def note_ready(self, stream: LiveStream) -> None:
        """Decide on the windows at the head of a stream's queue that need no model; list it if one does."""
        while stream.waiting and not stream.waiting[0].window.valid:
            stream.decide(stream.waiting.popleft(), None, self._clock())
        if stream.waiting:
            self._pending[stream] = None
        else:
            self._pending.pop(stream, None)

    def infer_due(self) -> None:
        """Run the model on one window of each stream that has one, unless others are waited for."""
        ready = list(self._pending)
        if not ready:
            return
        if self._wait_s and self._clock() < self._oldest() + self._wait_s:
            others = (stream for stream in self._streams if stream not in self._pending)
            if not all(stream.reader.done for stream in others):
                return
        if (successor := self._successor()) is not None:
            before, self.runner = self.runner, successor
            self._adopt(successor)
            before.deactivate()
        most = self.runner.most_batch or len(ready)
        for at in range(0, len(ready), most):
            streams = ready[at : at + most]
            self._infer(streams, [stream.waiting.popleft() for stream in streams])
        for stream in ready:
            self.note_ready(stream)

    def finish(self, wanted: Callable[[], bool]) -> None:
        """Decide on all that is left, as long as somebody wants it; there is never much of it."""
        self._wait_s = 0.0
        while wanted() and self._pending:
            self.infer_due()

    def _oldest(self) -> float:
        return min(stream.waiting[0].since for stream in self._pending)

    def _infer(self, streams: Sequence[LiveStream], held: Sequence[Waiting]) -> None:
        first = held[0].window.data[None]
        logits = infer(self.runner, first if len(held) == 1 else np.stack([one.window.data for one in held]))
        now = self._clock()
        for stream, one, row in zip(streams, held, logits, strict=True):
            stream.decide(one, row, now)

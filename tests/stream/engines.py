"""What engine tests share: sinks that keep, sources played by hand, a model made of a formula."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sources.base import Chunk, Notice

CONTRACT = Contract(
    ch_names=("TP10", "AF7"),
    sfreq=128.0,
    n_times=128,
    hop=16,
    class_names=("calm", "excited", "bored"),
    filters=default_filters(128.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("robust", (0.0, 1.0), (10.0, 20.0)),
    temperature=2.0,
)
MUSE = ("TP9", "AF7", "AF8", "TP10")


def formula(windows: np.ndarray) -> np.ndarray:
    """Logits of windows ``(b, c, l)``: mean, spread of a channel, one sample."""
    return np.stack([windows.mean(axis=(1, 2)), windows[:, 0].std(axis=1), windows[:, 1, 0]], axis=1)


class Kept(Sink):
    """Keeps all that it hears."""

    name, lossless = "kept", True

    def __init__(self) -> None:
        self.infos: list[StreamInfo] = []
        self.decisions: list[Decision] = []
        self.chunks: dict[str, list[Chunk]] = {}
        self.signals: dict[str, list[tuple[int, NDArray[np.float64]]]] = {}
        self.notices: list[tuple[str, Notice]] = []
        self.statuses: list[dict[str, Any]] = []
        self.closed = 0

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        self.infos = list(streams)

    def chunk(self, stream: str, chunk: Chunk) -> None:
        self.chunks.setdefault(stream, []).append(chunk)

    def signal(self, stream: str, uv: NDArray[np.float64], start: int) -> None:
        self.signals.setdefault(stream, []).append((start, uv))

    def decision(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def notice(self, stream: str, notice: Notice) -> None:
        self.notices.append((stream, notice))

    def status(self, counters: dict[str, Any]) -> None:
        self.statuses.append(counters)

    def close(self) -> None:
        self.closed += 1


class Played:
    """A source of chunks that a test makes; each is given when the one before was taken in."""

    def __init__(
        self, chunks: Iterable[Chunk], *, name: str = "played", live: bool = True, sfreq: float = 256.0
    ) -> None:
        self.name, self.live, self.sfreq = name, live, sfreq
        self.ch_names, self.unit, self.rails_uv = MUSE, "uV", None
        self.device: dict[str, Any] = {}
        self._chunks = chunks
        self.closed = threading.Event()

    def chunks(self) -> Iterator[Chunk]:
        for chunk in self._chunks:
            if self.closed.is_set():
                return
            yield chunk

    def close(self) -> None:
        self.closed.set()


class Model:
    """A runner of the formula that keeps the batches it was given."""

    def __init__(
        self, contract: Contract = CONTRACT, before: Callable[[np.ndarray], None] = lambda windows: None
    ) -> None:
        self.batches: list[np.ndarray] = []
        self._before = before
        self.runner = FunctionRunner(self._run, contract)

    def _run(self, windows: np.ndarray) -> np.ndarray:
        self._before(windows)
        self.batches.append(windows.copy())
        return formula(windows).astype(np.float32)


_CHOICES = {field.name for field in fields(StreamOptions)}


def hub_of(
    sources: Any, *, most_batch: int | None = None, **options: Any
) -> tuple[StreamEngine, Kept, list[np.ndarray]]:
    """Return a stream engine, what it tells and what its model sees, the warm-up left out."""
    model, kept = Model(), Kept()
    model.runner.most_batch = most_batch
    sources = sources if isinstance(sources, list) else [sources]
    sinks = [kept, *options.pop("sinks", [])]
    chosen = StreamOptions(**{name: options.pop(name) for name in _CHOICES & set(options)})
    engine = StreamEngine(model.runner, sources, sinks=sinks, options=chosen, **options)
    engine.begin()
    model.batches.clear()
    return engine, kept, model.batches

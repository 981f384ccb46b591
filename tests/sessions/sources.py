"""A source that gives what a test says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mimamba_edge.data.session_format import SessionInfo
from mimamba_edge.stream.sources.base import Chunk


class Given:
    """Gives chunks; may raise at the end."""

    unit = "uV"

    def __init__(
        self,
        chunks: Sequence[Chunk],
        ch_names: Sequence[str] = ("A", "B"),
        sfreq: float = 100.0,
        *,
        live: bool = False,
        unit: str = "uV",
        ends: Exception | None = None,
    ) -> None:
        self.name, self.ch_names, self.sfreq, self.live, self.unit = (
            "given",
            tuple(ch_names),
            sfreq,
            live,
            unit,
        )
        self.rails_uv = None
        self.device: dict[str, Any] = {"board": "given"}
        self.given, self._ends = chunks, ends
        self.closed = 0

    def chunks(self) -> Iterator[Chunk]:
        yield from self.given
        if self._ends is not None:
            raise self._ends

    def close(self) -> None:
        self.closed += 1


def chunks_of(n: int, *, n_chans: int = 2, sfreq: float = 100.0, size: int = 7, seed: int = 0) -> list[Chunk]:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 40, (n, n_chans))
    timestamps = 1.7e9 + np.arange(n) / sfreq
    return [Chunk(samples[i : i + size], timestamps[i : i + size]) for i in range(0, n, size)]


def some_info(**changes: Any) -> SessionInfo:
    fields: dict[str, Any] = {
        "subject": "p01",
        "session": "one",
        "run": "01",
        "ch_names": ("A", "B"),
        "sfreq": 100.0,
    }
    return SessionInfo(**{**fields, **changes})

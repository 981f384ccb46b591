"""Some seconds of a source, for those who do not decide on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from mimamba_edge.stream.cleaning import ChunkCleaner
from mimamba_edge.stream.sources.base import Chunk, Source

__all__ = ["read_seconds"]


def read_seconds(
    source: Source,
    seconds: float,
    *,
    patience_s: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Chunk]:
    """Yield chunks, as a stream takes them in, until so many seconds of signal came; then close the source.

    Args:
        source: A live one may be silent: it is left ``patience_s`` after the time that the signal takes.
        seconds: Of signal, by the nominal rate.
        patience_s: See ``source``.
        clock: Monotonic seconds.
    """
    due, started = round(seconds * source.sfreq), clock()
    cleaner = ChunkCleaner(source.sfreq, len(source.ch_names))
    try:
        for chunk in map(cleaner.clean, source.chunks()):
            due -= len(chunk.samples)
            yield chunk
            if due <= 0 or (source.live and clock() - started > seconds + patience_s):
                return
    finally:
        source.close()

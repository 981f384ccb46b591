"""The decisions of a stream on one recording, as fast as they can be made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import SourceError
from mimamba_edge.runtime.base import Runner
from mimamba_edge.signal.preprocessor import Window
from mimamba_edge.stream.cleaning import ChunkCleaner
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.decoder import Decoder, infer
from mimamba_edge.stream.names import map_for
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.preprocessing import format_of, named
from mimamba_edge.stream.sources.base import Source
from mimamba_edge.stream.sources.recording import FileSource

__all__ = ["score_recording"]

_AT_ONCE = 512
"""Chunks that go through the signal path together: what comes out does not depend on it."""


def score_recording(
    runner: Runner, recording: Recording, options: StreamOptions, batch: int = 1
) -> Iterator[Decision]:
    """Yield the decisions that ``stream --speed max`` makes on a recording, but for their latency.

    The samples go the way of a stream: source, cleaning, decoder. Only the threads between them are left out.

    Args:
        runner: An active runner.
        recording: The recording.
        options: As of a stream.
        batch: Windows that the model is given at a time. With 1, as in a stream of one source, each
            probability is that of the stream to the last bit; more may change its last digits.

    Raises:
        SourceError: The recording does not fit the model, or is shorter than a window.
        RunnerError: The model failed.
    """
    source = FileSource(recording, speed="max")
    own = map_for(source.ch_names, options.channel_map, strict=False)
    with named(source):
        decoder = Decoder(runner, **vars(format_of(source)), options=replace(options, channel_map=own))
    found = False
    held, most = list[Window](), min(batch, runner.most_batch or batch)
    asked = 0
    for window in _windows(source, decoder):
        found = True
        held.append(window)
        asked += window.valid
        if asked == most:
            yield from _decided(decoder, held)
            held, asked = [], 0
    yield from _decided(decoder, held)
    if not found:
        raise SourceError(
            f"{source.name}: the signal is shorter than one window",
            got=f"{len(recording.samples)} samples",
            expected=f"at least {decoder.contract.window_s:g} s of signal",
        )


def _windows(source: Source, decoder: Decoder) -> Iterator[Window]:
    cleaner = ChunkCleaner(source.sfreq, len(source.ch_names))
    cleaned = map(cleaner.clean, source.chunks())
    while chunks := list(islice(cleaned, _AT_ONCE)):
        samples = np.concatenate([chunk.samples for chunk in chunks])
        yield from decoder.prepare(samples, np.concatenate([chunk.timestamps for chunk in chunks]))


def _decided(decoder: Decoder, windows: list[Window]) -> list[Decision]:
    """Return the decisions on windows in their order: smoothing goes from one to the next."""
    asked = [window.data for window in windows if window.valid]
    logits = iter(infer(decoder.runner, np.stack(asked)) if asked else ())
    return [
        decoder.decide(window, next(logits) if window.valid else None, latency_ms=0.0) for window in windows
    ]

"""The protocol of sinks: all that a stream tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sources.base import Chunk, Notice

__all__ = ["Sink", "StreamInfo"]


@dataclass(frozen=True)
class StreamInfo:
    """One stream, as sinks hear of it before anything else.

    Attributes:
        name: Name of its source, unique among the streams of a process.
        ch_names: Channels of the source.
        sfreq: Nominal rate of the source in Hz.
        unit: Unit of the source.
        rails_uv: As :attr:`mimamba_edge.stream.sources.base.Source.rails_uv`.
        device: What is known of the device.
        live: Whether samples come as they are made.
        contract: The model's.
        model: Name of the model's file.
        model_sha256: Hash of the model's file.
        channel_map: Model's channel name to source's, where they differ.
        mains_hz: Where the notch stands.
        algorithmic_delay_ms: See :class:`mimamba_edge.stream.decision.Decision`.
        profile: Name of the personal profile, or ``None``.
    """

    name: str
    ch_names: tuple[str, ...]
    sfreq: float
    unit: str
    rails_uv: tuple[float, float] | None
    device: dict[str, Any]
    live: bool
    contract: Contract
    model: str
    model_sha256: str
    channel_map: dict[str, str]
    mains_hz: float | None
    algorithmic_delay_ms: float
    profile: str | None = None


class Sink:
    """Takes what streams tell; each method does nothing unless a kind of sink has a use for it.

    ``begin`` is called by the thread that opens the streams, everything else by a thread of the sink's own.
    A call may take its time: the streams do not wait for it, but what it is too slow for is dropped and
    counted. A call that raises closes the sink and is reported once, without a word where it was
    BrokenPipeError, which says that its reader went away. The streams end when no sink is left.

    Attributes:
        name: What the user calls it.
        lossless: Nothing may be dropped; the streams wait for it (a recording, decisions on a file).
    """

    name = "sink"
    lossless = False

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Hear of all streams before anything else.

        Raises:
            MimambaError: The sink cannot be opened.
        """

    def begun(self) -> str | None:
        """Return what people are told once the sink has begun: where its output is."""
        return None

    def chunk(self, stream: str, chunk: Chunk) -> None:
        """Take samples as the signal path gets them, at least one; their notices came by :meth:`notice`."""

    def signal(self, stream: str, uv: NDArray[np.float64], start: int) -> None:
        """Take filtered samples.

        Args:
            stream: Its name.
            uv: ``(n, c)`` microvolts, the model's channels at the model's rate.
            start: Index of the first one from the beginning of the stream. A stretch may come again, after
                a loss was found.
        """

    def decision(self, decision: Decision) -> None:
        """Take a decision."""

    def notice(self, stream: str, notice: Notice) -> None:
        """Take what befell a stream, as its source or the engine noticed it, before the chunk that told."""

    def status(self, counters: dict[str, Any]) -> None:
        """Take the counters of all streams, about once a second and at the end (see ``summary``)."""

    def close(self) -> None:
        """Hear the end: write what is left and let go."""

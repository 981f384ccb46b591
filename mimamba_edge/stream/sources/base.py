"""The protocol of sources: chunks of samples, what they are, and what befell them on their way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.signal.clock import ClockEvent

__all__ = ["HEARTBEAT_S", "PACKET_COUNTER", "WAITS", "Chunk", "Notice", "Source", "clock_notice"]

PACKET_COUNTER = "packet_counter"
"""Key of :attr:`Source.device`: true where losses are found by the device's counter and filled with NaN."""
WAITS = "waits"
"""Key of :attr:`Source.device`: true where the producer waits while nobody reads, as with a pipe."""
HEARTBEAT_S = 0.25
"""A live source that has nothing gives an empty chunk at least this often, so that silence is noticed."""


@dataclass(frozen=True)
class Notice:
    """Something that befell a source and that its samples alone do not tell.

    Attributes:
        kind: One word: ``"disconnected"``, ``"reconnected"``, ``"lost"`` (by the packet counter),
            ``"duplicate"``, ``"late"`` (out of order, discarded), ``"untimed"`` (without a time, discarded),
            ``"overrun"`` (the device's or library's buffer ran over, or the program was too slow),
            ``"marker"`` (``text`` is the marker). The engine adds ``"lost"``, ``"clock-step"`` and
            ``"caught-up"`` (the last loss was none) by the fitted clock, ``"failed"`` (the source is lost for
            ever) and ``"model"`` (another model decides from here on).
        text: For people.
        n: Samples concerned, if any.
        sample: Number of samples this source had given before it.
    """

    kind: str
    text: str = ""
    n: int = 0
    sample: int = 0


def clock_notice(event: ClockEvent, *, was_set: bool = False) -> Notice:
    """Return the notice of what the fitted clock found: ``"lost"``, ``"clock-step"`` or ``"caught-up"``.

    Args:
        event: What it found.
        was_set: By their arrival samples kept coming: the clock was set forward, whatever it looks like.
    """
    text = f"by the clock, which moved by {event.step_s:.3f} s"
    if was_set:
        return Notice("clock-step", f"{text} while samples kept coming", sample=event.sample)
    if event.unsure:
        text += ": samples were lost, or the clock was set forward"
    kind = "lost" if event.n_lost else "clock-step"
    if event.kind == "late":
        kind, text = "caught-up", "samples reported as lost had only come late"
    return Notice(kind, text, n=event.n_lost, sample=event.sample)


@dataclass(frozen=True)
class Chunk:
    """Some samples as they came.

    Attributes:
        samples: ``(n, c)`` float64 in the source's unit; NaN where a sample is known to be missing. ``n``
            may be 0.
        timestamps: ``(n,)`` float64 seconds as recorded: jittered, never sorted, smoothed or dejittered.
        arrived: :func:`time.perf_counter` when the newest sample was in this process's hands.
        t_unix: Wall clock at the same moment.
        notices: What befell the source since the chunk before.
    """

    samples: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    arrived: float = field(default_factory=time.perf_counter)
    t_unix: float = field(default_factory=time.time)
    notices: tuple[Notice, ...] = ()


class Source(Protocol):
    """Gives chunks of samples and says what they are.

    Attributes:
        name: What the user calls it: the text after ``--source``.
        ch_names: Channels, in the order of the columns.
        sfreq: Nominal rate in Hz.
        unit: Unit of the samples.
        rails_uv: Lowest and highest value it can give, in microvolts, or ``None`` if that is not known.
        live: Whether samples come at the time they are made. Then decisions carry the wall clock's time,
            and who is too slow loses windows; otherwise the source waits.
        device: What is known about device and driver, JSON-ready; never an address of a person.
    """

    name: str
    ch_names: tuple[str, ...]
    sfreq: float
    unit: str
    rails_uv: tuple[float, float] | None
    live: bool
    device: dict[str, Any]

    def chunks(self) -> Iterator[Chunk]:
        """Yield each chunk as soon as it is there, until the source ends or is closed.

        A device that went away is waited for, with notices; only what cannot come back raises.

        Raises:
            SourceError: The source was lost and does not come back.
        """

    def close(self) -> None:
        """Let go of the device; may be called from another thread, and twice. ``chunks`` then ends."""

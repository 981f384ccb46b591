"""Names of streams for the world outside this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimamba_edge.naming import distinct
from mimamba_edge.stream.sinks.base import StreamInfo

__all__ = ["stream_names"]


def stream_names(streams: Sequence[StreamInfo], plain: Callable[[str], str] = str) -> list[str]:
    """Return a distinct name for each stream, without the parameters of its source.

    What follows the ``?`` may be the address of somebody's device, and is nobody else's business.
    """
    return distinct(plain(stream.name.partition("?")[0]) for stream in streams)

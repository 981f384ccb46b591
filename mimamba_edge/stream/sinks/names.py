"""Names of streams for the world outside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mimamba_edge.stream.sinks.base import StreamInfo

__all__ = ["distinct", "stream_names"]


def distinct(names: Iterable[str], plain: Callable[[str], str] = str) -> list[str]:
    """Return names made plain, each its own: a second ``x`` becomes ``x_2``."""
    taken: list[str] = []
    for name in names:
        made = plain(name)
        number, tried = 1, made
        while tried in taken:
            number += 1
            tried = f"{made}_{number}"
        taken.append(tried)
    return taken


def stream_names(streams: Sequence[StreamInfo], plain: Callable[[str], str] = str) -> list[str]:
    """Return a distinct name for each stream, without the parameters of its source.

    What follows the ``?`` may be the address of somebody's device, and is nobody else's business.
    """
    return distinct((stream.name.partition("?")[0] for stream in streams), plain)

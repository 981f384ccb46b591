"""What is done to chunks before anybody sees them."""

from __future__ import annotations

from mimamba_edge.stream.sources.base import Chunk

__all__ = ["Intake"]


class Intake:
    """Cleans the chunks of one source.

    Args:
        source_sfreq: Nominal rate in Hz.
        n_chans: Channels of the source.
    """

    def __init__(self, source_sfreq: float, n_chans: int) -> None:
        self._sfreq, self._n_chans = source_sfreq, n_chans

    def clean(self, chunk: Chunk) -> Chunk:
        """Return the chunk."""
        return chunk

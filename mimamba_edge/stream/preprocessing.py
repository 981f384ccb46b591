"""From a source to the signal path of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from mimamba_edge.contract import Contract
from mimamba_edge.errors import SignalError, SourceError
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.signal.signal_format import SignalFormat
from mimamba_edge.stream.sources.base import PACKET_COUNTER, Source

__all__ = ["format_of", "named", "preprocessor_of_source"]


def format_of(source: Source) -> SignalFormat:
    """Return what the samples of a source are."""
    counted = source.device.get(PACKET_COUNTER) is True
    return SignalFormat(source.ch_names, source.sfreq, source.unit, source.rails_uv, counted)


@contextlib.contextmanager
def named(source: Source) -> Iterator[None]:
    """Let errors of a signal path say which source does not fit the model.

    Raises:
        SourceError: Instead of a SignalError.
    """
    try:
        yield
    except SignalError as error:
        do = error.do
        if error.what.startswith("the source lacks"):
            do = "name them with --map MODEL=SOURCE, or use a source or a model with the same channels"
        raise SourceError(
            f"{source.name}: {error.what}", got=error.got, expected=error.expected, do=do
        ) from error


def preprocessor_of_source(
    source: Source,
    contract: Contract,
    *,
    channel_map: Mapping[str, str] | None,
    mains_hz: float | None,
    final: bool = False,
) -> Preprocessor:
    """Return the signal path from a source to a model.

    Raises:
        SourceError: The source does not fit the model.
    """
    with named(source):
        return Preprocessor(
            contract, format_of(source), mains_hz=mains_hz, channel_map=channel_map, final=final
        )

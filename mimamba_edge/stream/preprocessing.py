"""The signal path from a source to a model."""

from __future__ import annotations

from collections.abc import Mapping

from mimamba_edge.contract import Contract
from mimamba_edge.errors import SignalError, SourceError
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.stream.sources.base import PACKET_COUNTER, Source

__all__ = ["preprocessor_of_source"]


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
    try:
        return Preprocessor(
            contract,
            source_ch_names=source.ch_names,
            source_sfreq=source.sfreq,
            unit=source.unit,
            rails_uv=source.rails_uv,
            counted=source.device.get(PACKET_COUNTER) is True,
            mains_hz=mains_hz,
            channel_map=channel_map,
            final=final,
        )
    except SignalError as error:
        do = error.do
        if error.what.startswith("the source lacks"):
            do = "name them with --map MODEL=SOURCE, or use a source or a model with the same channels"
        raise SourceError(
            f"{source.name}: {error.what}", got=error.got, expected=error.expected, do=do
        ) from error

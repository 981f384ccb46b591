"""What a source says of its signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SignalFormat"]


@dataclass(frozen=True)
class SignalFormat:
    """What the samples of a source are.

    Attributes:
        ch_names: Channels, in the order of the columns.
        sfreq: Nominal rate in Hz.
        unit: Unit of the samples.
        rails_uv: Lowest and highest value the source can give, in microvolts; ``None``: not known.
        counted: The source found its losses by a packet counter and filled them with NaN: a late time stamp
            raises no suspicion of one.
    """

    ch_names: Sequence[str]
    sfreq: float
    unit: str = "uV"
    rails_uv: tuple[float, float] | None = None
    counted: bool = False

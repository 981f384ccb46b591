"""What a source may say of itself: checked before anything is made of it.

Rates, numbers of channels and names come from outside. What no device has is refused here, by one set of
bounds for recordings and live sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mimamba_edge.errors import SignalError

__all__ = ["MOST_CHANNELS", "MOST_HZ", "check_claims"]

MOST_HZ = 100_000.0
"""Amplifiers for many electrodes end at 30 to 50 kHz."""
LEAST_HZ = 0.1
MOST_CHANNELS = 1024
MOST_VALUES = 4_000_000
"""Values a second, over all channels: 1,024 channels at 4 kHz. Buffers hold seconds of them."""
LONGEST_NAME = 200


def check_claims(sfreq: float, n_chans: int, names: Sequence[str] = ()) -> None:
    """Check what a source says of itself.

    Args:
        sfreq: Nominal rate in Hz.
        n_chans: Number of channels.
        names: Names of the channels, where they are known.

    Raises:
        SignalError: It says what no device has.
    """
    if not (math.isfinite(sfreq) and LEAST_HZ <= sfreq <= MOST_HZ):
        raise SignalError(
            "impossible sampling rate",
            got=f"{sfreq:g} Hz",
            expected=f"{LEAST_HZ:g} to {MOST_HZ:,.0f} Hz",
        )
    if not 1 <= n_chans <= MOST_CHANNELS:
        raise SignalError(
            "impossible channels",
            got=f"{n_chans:,} channels",
            expected=f"1 to {MOST_CHANNELS:,}",
        )
    if sfreq * n_chans > MOST_VALUES:
        raise SignalError(
            "impossible combination of sampling rate and channels",
            got=f"{n_chans:,} channels at {sfreq:g} Hz",
            expected=f"at most {MOST_VALUES:,} values a second",
        )
    longest = max(map(len, names), default=0)
    if longest > LONGEST_NAME:
        raise SignalError(
            "impossible channels",
            got=f"a name of {longest:,} characters",
            expected=f"at most {LONGEST_NAME}",
        )

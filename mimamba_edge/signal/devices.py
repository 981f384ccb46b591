"""What boards count and rail at, by the names that BrainFlow has for them.

It is read from BrainFlow's sources (src/board_controller, 5.23). A board that is not named here has its
losses found by the fitted clock, and no rails.
"""

from __future__ import annotations

from mimamba_edge.signal.packet_counter import Counting

__all__ = ["COUNTINGS", "rails_uv"]

_MUSES = ("muse_2", "muse_s", "muse_2016", "muse_2_bled", "muse_s_bled", "muse_2016_bled")
COUNTINGS: dict[str, Counting] = {
    "synthetic": Counting(256),  # synthetic_board.cpp: unsigned char, one a sample
    **dict.fromkeys(_MUSES, Counting(65536, packet=12)),  # muse.cpp: 16 bits, 12 samples a packet
    "cyton": Counting(256),  # cyton.cpp: one byte a sample
    "cyton_wifi": Counting(256),
    "cyton_daisy": Counting(256, step=2),  # cyton_daisy.cpp: two packets a sample, the even one's number
    "cyton_daisy_wifi": Counting(256),  # cyton_daisy_wifi.cpp: both packets have the same number
    "galea": Counting(256),
    "ntl_wifi": Counting(256),
    "biolistener": Counting(2**32),  # biolistener.cpp judges losses by it itself
}
"""Boards whose numbers are known to tell losses. Not among them: Ganglion (two firmwares wrap at 100 and at
101), Athena (numbers of transport, not of samples), boards that BrainFlow itself counts (PiEEG, BrainBit,
Callibri), and those whose sources do not say."""
_CYTON_UV = 4.5 / 24 * 1e6
_GANGLION_UV = 1.2 / (1.5 * 51) * 1e6


def rails_uv(kind: str) -> tuple[float, float] | None:
    """Return the lowest and highest value of a kind of board in microvolts, or ``None``.

    Muse: 12 bits of 125/256 uV around the middle (muse.cpp), the upper one rounded as for recordings.
    Cyton: 24 bits of 4.5 V at gain 24, which BrainFlow sets (cyton.cpp, openbci_gain_tracker.h).
    Ganglion: 1.2 V / (1.5 * 51) (ganglion.h).
    """
    if kind in _MUSES:
        return -1000.0, 999.5
    if kind.startswith("cyton"):
        return -_CYTON_UV, _CYTON_UV
    if kind.startswith("ganglion"):
        return -_GANGLION_UV, _GANGLION_UV
    return None

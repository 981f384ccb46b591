"""What others report on the same data sets, with the protocol of each, to be read beside what is measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LEAKS", "LITERATURE", "Reported", "reported_on"]


@dataclass(frozen=True)
class Reported:
    """A figure of others.

    Attributes:
        data: Data set.
        what: Method, and what it tells apart.
        accuracy: Plain accuracy, as printed there.
        beside: What always guessing the larger class gives there; empty where that is not told.
        protocol: How trials were held out.
        source: Where it is printed.
    """

    data: str
    what: str
    accuracy: str
    beside: str
    protocol: str
    source: str


_PAPER, _UNKNOWN = "arXiv 2409.07589", "its abstract names none"
_EEGAIN, _LIBEER = "EEGain, arXiv 2505.18175", "LibEER, arXiv 2410.09767"
_SUBJECTS, _CROSS = "leave one subject out", "cross-subject"

LITERATURE = (
    Reported("DEAP", "MS-iMamba, the paper", "0.9486", "", _UNKNOWN, _PAPER),
    Reported("DEAP", "valence, best network", "0.53", "0.57", _SUBJECTS, _EEGAIN),
    Reported("DEAP", "arousal, best network", "0.57", "0.59", _SUBJECTS, _EEGAIN),
    Reported("DREAMER", "MS-iMamba, the paper", "0.9494", "", _UNKNOWN, _PAPER),
    Reported("SEED", "MS-iMamba, the paper", "0.9136", "", _UNKNOWN, _PAPER),
    Reported("SEED", "best network", "0.55", "", _SUBJECTS, _EEGAIN),
    Reported("SEED", "EEGNet", "0.382", "", _CROSS, _LIBEER),
    Reported("SEED", "best network", "0.640", "", _CROSS, _LIBEER),
)
"""Figures of others, honest ones beside the rest."""

LEAKS = (
    "windows of one trial on both sides of the split add 35.7 points or more on DEAP valence (CEUR Vol-4115)",
    "choosing the checkpoint on the tested trials adds 6.2 points (arXiv 2607.27655)",
    "clips that were trained on add 4.5 to 7.4 points (arXiv 2508.00531)",
)
"""What leaks add, measured by others."""


def reported_on(data: str) -> list[Reported]:
    """Return the figures of others on a data set, by its name."""
    return [one for one in LITERATURE if one.data.lower() == data.lower()]

"""How OpenBCI's boards number their samples in a file, and what the numbers tell of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.signal.packet_counter import Counter, CounterEvent, Counting

__all__ = ["Filled", "filled_by_numbers"]

_PLAIN = 0.9
"""Share of steps that a way of counting must explain to be believed."""
_CHUNK = 4096


@dataclass(frozen=True)
class Filled:
    """A signal with its losses as NaN.

    Attributes:
        samples: ``(m, c)``.
        timestamps: Seconds ``(m,)``.
        place: New index ``(n,)`` of each sample that was given, of one that came twice the next one's.
        counted: Losses were found by the numbers.
    """

    samples: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    place: NDArray[np.intp]
    counted: bool


def filled_by_numbers(
    samples: NDArray[np.float64],
    timestamps: NDArray[np.float64],
    numbers: NDArray[np.float64],
    sfreq: float,
    *,
    daisy: bool,
) -> Filled:
    """Return a signal ``(n, c)`` with what was lost.

    Args:
        samples: Microvolts.
        timestamps: Seconds ``(n,)``; where not all are there, or none is later than the first, those of the
            numbers take their place.
        numbers: The packet of each sample ``(n,)``.
        sfreq: Nominal rate in Hz.
        daisy: A second module may be there, with which every other number is left out.
    """
    way = _way(numbers, daisy=daisy)
    if not np.isfinite(timestamps).all() or timestamps.max() <= timestamps[0]:
        grid = np.arange(len(numbers)) if way is None else _grid(*way)
        timestamps = grid / sfreq
    if way is None:
        return Filled(samples.copy(), timestamps.copy(), np.arange(len(numbers)), counted=False)
    counts, counting = way
    counter = Counter(counting, sfreq)
    parts = [
        counter.push(samples[at : at + _CHUNK], timestamps[at : at + _CHUNK], counts[at : at + _CHUNK])
        for at in range(0, len(samples), _CHUNK)
    ]
    filled, times = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    place = _places([event for part in parts for event in part[2]], len(samples))
    return Filled(filled, times, place.clip(max=len(filled) - 1), counted=True)


def _places(events: Sequence[CounterEvent], n: int) -> NDArray[np.intp]:
    """Return where each of ``n`` samples went, by what was filled in and left out, in order."""
    place, shift = np.arange(n), 0
    for event in events:
        own = event.sample - shift
        if event.kind == "lost":
            shift += event.n
        else:
            place[own : own + event.n] = event.sample
            own += event.n
            shift -= event.n
        place[own:] = np.arange(own, n) + shift
    return place


def _grid(counts: NDArray[np.float64], counting: Counting) -> NDArray[np.float64]:
    steps = np.diff(counts, prepend=counts[0]) % counting.modulus / counting.step
    return np.cumsum(steps)


def _way(numbers: NDArray[np.float64], *, daisy: bool) -> tuple[NDArray[np.float64], Counting] | None:
    """Return numbers that rise by a step a sample, and how; ``None`` where no way of counting is plain."""
    if len(numbers) < 2 or not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        return None
    if numbers.min() < 0 or numbers.max() > 255:
        return None
    best, found = _PLAIN, None
    for of, counting in _ways(daisy=daisy):
        counts = of(numbers)
        share = float(np.mean(np.diff(counts) % counting.modulus == counting.step))
        if counts.max() < counting.modulus and share > best:
            best, found = share, (counts, counting)
    return found


def _ways(*, daisy: bool) -> list[tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], Counting]]:
    """Return the ways that boards number their samples, as PacketLossTracker.pde of the GUI has them."""

    def own(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return numbers

    return [
        (own, Counting(256)),  # Cyton, and with Daisy over WiFi
        *([(own, Counting(256, step=2))] if daisy else []),
        (own, Counting(201)),  # Ganglion over WiFi, and of GUIs before 5
        (_pairs_after_zero, Counting(201)),  # Ganglion, firmware 2
        (_pairs, Counting(200)),  # Ganglion, firmware 3
    ]


def _second(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which samples are the second one of a pair of the same number."""
    same = np.diff(numbers, prepend=np.nan) == 0
    # Of three alike the third begins a pair: a whole cycle was lost between.
    runs = np.arange(len(same)) - np.maximum.accumulate(np.where(same, 0, np.arange(len(same))))
    second = np.asarray(runs % 2 == 1)
    # A recording may begin within a pair.
    second[0] = not same[1]
    return second


def _pairs_after_zero(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """0, 1, 1, …, 100, 100, or without accelerometer 0, 101, 101, …, 200, 200, as 0 to 200."""
    pair = np.where(numbers > 100, numbers - 100, numbers)
    return np.where(pair == 0, 0.0, 2 * pair - 1 + _second(numbers))


def _pairs(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """0, 0, …, 99, 99, or without accelerometer 100, 100, …, 199, 199, as 0 to 199."""
    return 2 * (numbers % 100) + _second(numbers)

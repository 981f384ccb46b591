"""Quantiles of more numbers than the memory holds: exact, found digit by digit (radix selection)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["channel_quantiles"]

_BITS, _LEVELS = 16, 4
_MASK = (1 << _BITS) - 1


def channel_quantiles(
    read: Callable[[], Iterable[NDArray[np.float64]]], probabilities: Sequence[float]
) -> NDArray[np.float64]:
    """Return the quantiles of each channel ``(p, c)``, those of ``numpy.quantile``.

    The bits of a number, read as an integer, can be made to have its order. The k-th smallest is then found
    from its highest 16 bits on: each of four readings counts the next 16 of those that share the ones found.

    Args:
        read: Gives all windows ``(n, c, l)``, finite, in blocks, each time it is called.
        probabilities: From 0 to 1.
    """
    place = ranks = np.zeros(0)
    known: list[list[int]] = []
    left: list[list[int]] = []
    for level in range(_LEVELS):
        counts = _counts(read, known, level)
        if level == 0:
            n = int(counts[0][0].sum())
            place = np.asarray(probabilities) * (n - 1)
            ranks = np.unique([np.floor(place), np.ceil(place)]).astype(np.int64)
            known = [[0] * len(ranks) for _ in counts]
            left = [[int(rank) for rank in ranks] for _ in counts]
        for channel, of_digit in enumerate(counts):
            for r, (prefix, rank) in enumerate(zip(known[channel], left[channel], strict=True)):
                below = np.cumsum(of_digit[prefix])
                digit = int(np.searchsorted(below, rank, side="right"))
                left[channel][r] -= int(below[digit - 1]) if digit else 0
                known[channel][r] = prefix << _BITS | digit
    values = _numbers(np.array(known, dtype=np.uint64))
    low, high = (values[:, np.searchsorted(ranks, edge(place))] for edge in (np.floor, np.ceil))
    share = place - np.floor(place)
    pairs = np.stack([low, high])
    # Its own rule for what lies between two numbers.
    return np.stack([np.quantile(pairs[:, :, p], share[p], axis=0) for p in range(len(share))])


def _counts(
    read: Callable[[], Iterable[NDArray[np.float64]]], known: list[list[int]], level: int
) -> list[dict[int, NDArray[np.int64]]]:
    """Return how often each next digit follows each known beginning, channel by channel."""
    shift = np.uint64(64 - _BITS * (level + 1))
    found: list[dict[int, NDArray[np.int64]]] = []
    for block in read():
        found = found or [{} for _ in range(block.shape[1])]
        for channel, held in enumerate(found):
            digits = _ordered(block[:, channel]) >> shift
            for prefix in set(known[channel]) if known else (0,):
                own = digits[digits >> np.uint64(_BITS) == prefix] & np.uint64(_MASK) if known else digits
                new = np.bincount(own.astype(np.int64), minlength=_MASK + 1)
                held[prefix] = held[prefix] + new if prefix in held else new
    return found


def _ordered(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return integers in the order of the numbers: the sign turned round, of negative ones all bits."""
    bits = np.ascontiguousarray(values).ravel().view(np.uint64)
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def _numbers(ordered: NDArray[np.uint64]) -> NDArray[np.float64]:
    positive = ordered >> np.uint64(63) == 1
    bits = np.where(positive, ordered & np.uint64((1 << 63) - 1), ~ordered)
    return bits.view(np.float64)

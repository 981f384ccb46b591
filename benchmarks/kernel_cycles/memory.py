"""Memory of an executed block: the buffers of a launch, shared and local memory, in 32-bit words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mimamba_edge.errors import MimambaError

__all__ = ["Buffers", "Words", "sectors", "wavefronts"]

Words = npt.NDArray[np.uint32]
_BANKS = 32


class Buffers:
    """What a kernel may read and write: NumPy arrays of this process, by their real addresses."""

    def __init__(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        self._held = [(a.ctypes.data, a.ctypes.data + a.nbytes, a.reshape(-1).view(np.uint8)) for a in arrays]

    def at(
        self, addresses: npt.NDArray[np.int64], size: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Return the buffer that holds these addresses as elements of ``size`` bytes, and their indices.

        Raises:
            MimambaError: An address is in no buffer.
        """
        for start, end, held in self._held:
            if start <= addresses[0] < end:
                if addresses.min() < start or addresses.max() + size > end:
                    break
                kind = {1: np.uint8, 2: np.uint16, 4: np.uint32}[size]
                return held[: len(held) // size * size].view(kind), (addresses - start) // size
        raise MimambaError(
            "an access outside the buffers of a launch", got=[hex(int(a)) for a in addresses[:4]]
        )


def wavefronts(addresses: npt.NDArray[np.int64], size: int) -> int:
    """Return how many passes through shared memory an access takes.

    Wide accesses go in parts of 128 bytes; parts that ask for the same words, and lanes that do, are one.

    Args:
        addresses: Byte addresses of the active lanes, in lane order.
        size: Bytes of each.
    """
    lanes = max(1, min(32, 128 // size))
    parts: set[frozenset[int]] = set()
    for first in range(0, len(addresses), lanes):
        words = addresses[first : first + lanes, None] // 4 + np.arange(max(1, size // 4))
        parts.add(frozenset(words.reshape(-1).tolist()))
    total = 0
    for part in parts:
        banks = [0] * _BANKS
        for word in part:
            banks[word % _BANKS] += 1
        total += max(banks)
    return total


def sectors(addresses: npt.NDArray[np.int64], size: int) -> int:
    """Return how many sectors of 32 bytes an access to global memory touches."""
    return len({int(a) // 32 for a in addresses} | {(int(a) + size - 1) // 32 for a in addresses})

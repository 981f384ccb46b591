"""Recordings that hold the same signal, found by content whatever they are called.

A recording is cut into blocks of 64 samples of one channel, each block is hashed, and the lowest 256 hashes
are kept (a bottom-k sketch: A. Broder, "On the resemblance and containment of documents", 1997). A changed
cell changes one block, so that a copy in which some were changed shares nearly all of them; two recordings of
a brain share none. The order of channels and of blocks does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["fingerprint", "same_signals"]

_BLOCK = 64
_KEPT = 256
_CHANNELS = 16
_LEAST = 4
_SHARED = 0.1
"""Share of two sketches that are one signal's: by chance no block of two recordings is equal (ours)."""
_WORDS = np.random.default_rng(0).integers(1, 2**63, _BLOCK, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def fingerprint(samples: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return up to 256 hashes of what a recording ``(n, c)`` holds in single precision, flat blocks apart."""
    n, c = samples.shape
    columns = np.unique(np.linspace(0, max(0, c - 1), min(c, _CHANNELS)).round().astype(int))
    rows = samples[: n - n % _BLOCK, columns].T.astype(np.float32)
    blocks = np.ascontiguousarray(rows).reshape(-1, _BLOCK)
    with np.errstate(invalid="ignore"):
        blocks = blocks[np.ptp(blocks, axis=1) > 0]  # not where one is NaN
    if not len(blocks):
        return np.zeros(0, np.uint64)
    found = (blocks.view(np.uint32).astype(np.uint64) * _WORDS).sum(axis=1, dtype=np.uint64)
    # The finish of MurmurHash3: the lowest hashes are then any blocks, not those of small values.
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        found = (found ^ (found >> np.uint64(33))) * np.uint64(factor)
    return np.unique(found ^ (found >> np.uint64(33)))[:_KEPT]


def same_signals(sketches: Mapping[str, NDArray[np.uint64]]) -> dict[tuple[str, str], float]:
    """Return which two recordings share a tenth of their blocks or more, and the share."""
    holders: dict[int, list[str]] = {}
    for name, sketch in sketches.items():
        for value in sketch.tolist():
            holders.setdefault(value, []).append(name)
    shared: Counter[tuple[str, str]] = Counter()
    for names in holders.values():
        shared.update((one, two) for k, one in enumerate(names) for two in names[k + 1 :])
    found = {}
    for (one, two), count in shared.items():
        share = count / min(len(sketches[one]), len(sketches[two]))
        if count >= _LEAST and share >= _SHARED:
            found[one, two] = share
    return found

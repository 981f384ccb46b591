"""The shapes that are measured, what they move and compute, and how many copies of them defeat the cache."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LIMIT_BYTES", "ScanCase", "copies", "largest", "scan_cases"]

LENGTHS = (4, 14, 32, 62, 256, 1024, 8192, 65536)
CHANNELS = (128, 256, 1536)
BATCHES = (1, 8, 64)
STATES = 16
SIZES = {"float32": 4, "float16": 2}
LIMIT_BYTES = 8_000_000_000
"""The tensors of a case, together."""
_MOST_COPIES = 8192
"""A graph of more nodes takes longer to make than to measure."""
_FEWEST_COPIES = 8
"""And with few, the first launch of a replay would weigh too much."""
_QUICK = {(4, 128, 1), (62, 256, 8), (1024, 1536, 8), (65536, 128, 8)}


@dataclass(frozen=True)
class ScanCase:
    """One selective scan of ``u (b, l, d)``: one group, softplus, D and bias, the last state wanted.

    Attributes:
        b: Batch.
        l: Steps.
        d: Channels.
        dtype: ``"float32"`` or ``"float16"``, of u, delta, B, C, z and y.
        gated: With z.
        n: States.
    """

    b: int
    l: int  # noqa: E741
    d: int
    dtype: str
    gated: bool
    n: int = STATES

    @property
    def elements(self) -> int:
        """Elements of u."""
        return self.b * self.l * self.d

    @property
    def bytes(self) -> int:
        """Bytes that any implementation moves: each input read once, each output written once."""
        wide = (4 if self.gated else 3) * self.elements + 2 * self.b * self.l * self.n
        weights = self.d * self.n + 2 * self.d
        return SIZES[self.dtype] * wide + 4 * (self.b * self.d * self.n + weights)

    @property
    def exps(self) -> int:
        """Exponentials of the formula: a decay a state, the softplus, the gate's sigmoid."""
        return self.elements * (self.n + 1 + self.gated)

    def __str__(self) -> str:
        gate = ", z" if self.gated else ""
        return f"b {self.b}, l {self.l}, d {self.d}, {self.dtype}{gate}"


def scan_cases(quick: bool = False) -> list[ScanCase]:
    """Return the cases, the bars' first: the largest ones, then from short to long.

    Args:
        quick: Four shapes only.
    """
    cases = [
        ScanCase(b, length, d, dtype, gated)
        for length in LENGTHS
        for d in CHANNELS
        for b in BATCHES
        for dtype in SIZES
        for gated in (False, True)
        if not quick or (length, d, b) in _QUICK
    ]
    kept = [case for case in cases if case.bytes <= LIMIT_BYTES]
    first = largest(kept)
    return first + [case for case in kept if case not in first]


def largest(cases: list[ScanCase]) -> list[ScanCase]:
    """Return the case of the most elements of each dtype, with z and without: where a roof is judged."""
    found: dict[tuple[str, bool], ScanCase] = {}
    for case in cases:
        key = case.dtype, case.gated
        if key not in found or case.elements > found[key].elements:
            found[key] = case
    return list(found.values())


def copies(case_bytes: int, cache_bytes: int) -> int:
    """Return over how many sets of tensors to rotate so that none is found in the cache again.

    Args:
        case_bytes: Of one set.
        cache_bytes: Of the device's last cache; the sets together are twice that, where 8192 suffice.
    """
    if case_bytes > 4 * cache_bytes:
        return 1
    wanted = math.ceil(2 * cache_bytes / case_bytes)
    return min(_MOST_COPIES, max(_FEWEST_COPIES, wanted))

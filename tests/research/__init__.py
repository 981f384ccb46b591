"""What researchers use of this package in harnesses of their own."""

from __future__ import annotations

from mimamba_edge.data.labels import Trial


def trials_of(subjects: int, sessions: int, runs: int, n: int = 4) -> list[Trial]:
    """Return trials of two classes, ``n`` a run, 2 s each, from 4 s on."""
    return [
        Trial(
            f"s{s}/d{d}-r{r}", 4 + 3 * i, 6 + 3 * i, ("calm", "excited")[i % 2], f"s{s}", f"d{d}", f"r{r}", ""
        )
        for s in range(1, subjects + 1)
        for d in range(1, sessions + 1)
        for r in range(1, runs + 1)
        for i in range(n)
    ]

"""The scan that is timed: its sizes, its tensors, the float64 answer, what it computes and moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.numerics.scan import selective_scan

__all__ = ["MAIN", "OTHERS", "Problem", "Sizes"]

TOLERANCE = 1e-5
"""Of the largest value, times sqrt(l / 128) where a scan is longer: that of the op's own tests."""


@dataclass(frozen=True)
class Sizes:
    """Steps, channels and states."""

    l: int  # noqa: E741 - the name of this size everywhere
    d: int
    n: int

    def __str__(self) -> str:
        return f"l {self.l}, d {self.d}, n {self.n}"

    @property
    def exponentials(self) -> int:
        """``l d n`` decays, and one each for the softplus and the gate of ``l d`` numbers."""
        return self.l * self.d * (self.n + 2)

    @property
    def bytes_moved(self) -> int:
        """Float32 read once and written once: u, delta, z, y; B and C; A, both states; D and the bias."""
        numbers = 4 * self.l * self.d + 2 * self.l * self.n + 3 * self.d * self.n + 2 * self.d
        return 4 * numbers


MAIN = Sizes(256, 1536, 16)
OTHERS = (Sizes(64, 1536, 16), Sizes(1024, 1536, 16), Sizes(256, 1536, 64))


@dataclass
class Problem:
    """One window's tensors, as Mamba's initialisation would have them, and the float64 answer.

    Rates are -1 to -n and step sizes 0.001 to 0.1 before the input changes them, so that states live for many
    steps. Rates drawn at random let most of them underflow, which loops with ``expf`` pay for and others not.
    """

    sizes: Sizes
    tensors: dict[str, NDArray[np.float32]] = field(init=False)
    wanted: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        l, d, n = self.sizes.l, self.sizes.d, self.sizes.n  # noqa: E741
        step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), d))
        drawn = {
            "u": rng.normal(size=(1, l, d)),
            "delta": 0.5 * rng.normal(size=(1, l, d)),
            "A": np.broadcast_to(-np.arange(1.0, n + 1), (d, n)),
            "B": rng.normal(size=(1, l, 1, n)),
            "C": rng.normal(size=(1, l, 1, n)),
            "D": np.ones(d),
            "delta_bias": np.log(np.expm1(step)),
            "initial_state": rng.normal(size=(1, d, n)),
            "z": rng.normal(size=(1, l, d)),
        }
        self.tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in drawn.items()}
        oracle: Any = selective_scan
        self.wanted, _ = oracle(**self.tensors, delta_softplus=True)

    def error(self, y: NDArray[Any]) -> float:
        """Return the largest error of an answer as a share of the largest value."""
        return float(np.abs(y - self.wanted).max() / np.abs(self.wanted).max())

    def right(self, y: NDArray[Any]) -> bool:
        """Return whether an answer is within :data:`TOLERANCE`."""
        return self.error(y) <= TOLERANCE * math.sqrt(max(1.0, self.sizes.l / 128))

"""Random tensors for the two ops, before they are rounded to a storage type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def scan_arrays(
    b: int, length: int, d: int, n: int, *, g: int = 1, z: bool = True, per_window: bool = True, seed: int = 0
) -> Arrays:
    rng = np.random.default_rng([seed, b, length, d, n, g])
    t: Arrays = {
        "u": rng.normal(size=(b, length, d)),
        "delta": rng.normal(size=(b, length, d)) - 1.0,
        "A": -np.exp(rng.normal(size=(d, n))),
        "B": rng.normal(size=(b, length, g, n)),
        "C": rng.normal(size=(b, length, g, n)),
        "D": rng.normal(size=d),
        "delta_bias": rng.normal(size=d),
        "initial_state": rng.normal(size=(b if per_window else 1, d, n)),
    }
    if z:
        t["z"] = 3.0 * rng.normal(size=(b, length, d))
    return t


def mstb_arrays(b: int, length: int, c: int, *, f: int = 6, k: int = 3, seed: int = 0) -> Arrays:
    rng = np.random.default_rng([seed, b, length, c, f, k])
    return {
        "x": rng.normal(size=(b, length, c)) + 5.0,
        "w1": rng.normal(size=(f, c, k, k)) / np.sqrt(c * k * k),
        "b1": rng.normal(size=f),
        "w2": rng.normal(size=(c, f, k, k)) / np.sqrt(f * k * k),
        "b2": rng.normal(size=c),
    }

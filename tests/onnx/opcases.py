"""Cases of the two ops at awkward sizes: attributes, tensors, and what the float64 oracle says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mimamba_edge.numerics.mstb import choose_periods, multi_scale_temporal_block, spectrum
from mimamba_edge.numerics.scan import selective_scan

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One call of an op."""

    op: str
    feeds: Arrays
    attributes: dict[str, int | float]
    expected: Arrays

    @property
    def shapes(self) -> dict[str, list[int | str]]:
        """Shapes with the batch left open."""
        shapes: dict[str, list[int | str]] = {name: list(a.shape) for name, a in self.feeds.items()}
        for name in ("u", "delta", "B", "C", "z", "x"):
            if name in shapes:
                shapes[name][0] = "batch"
        if "initial_state" in shapes and shapes["initial_state"][0] != 1:
            shapes["initial_state"][0] = "batch"
        return shapes


def scan_case(
    *,
    b: int = 2,
    l: int = 7,  # noqa: E741 - the op's own letter
    d: int = 12,
    g: int = 1,
    n: int = 5,
    states: int | None = None,
    z: bool = False,
    softplus: bool = False,
    reverse: bool = False,
    last: bool = False,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    feeds: Arrays = {
        "u": normal(b, l, d),
        # Without a softplus the step sizes are what they are: positive ones, or the states grow.
        "delta": normal(b, l, d) * 3 if softplus else np.abs(normal(b, l, d)) / 2,
        "A": -np.exp(normal(d, n)),
        "B": normal(b, l, g, n),
        "C": normal(b, l, g, n),
        "D": normal(d),
        "delta_bias": normal(d) if softplus else np.abs(normal(d)) / 10,
        "initial_state": normal(states or 1, d, n),
    }
    if z:
        feeds["z"] = normal(b, l, d) * 3
    y, state = selective_scan(**feeds, delta_softplus=softplus, reverse=reverse)
    flags = {"has_z": z, "delta_softplus": softplus, "reverse": reverse, "return_last_state": last}
    expected = {"y": y, "last_state": state} if last else {"y": y}
    return Case("SelectiveScan", feeds, {name: int(flag) for name, flag in flags.items()}, expected)


def mstb_case(
    *,
    b: int = 2,
    l: int = 32,  # noqa: E741
    c: int = 3,
    f: int = 5,
    k: int = 3,
    top_k: int = 2,
    min_bin: int = 1,
    max_bin: int = 0,
    weighting: int = 0,
    scale: float = 1.0,
    rule: int = 0,
    x: np.ndarray | None = None,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    # Branches as large as the window, so that an error of theirs is not lost beside it.
    feeds: Arrays = {
        "x": normal(b, l, c) if x is None else x,
        "w1": normal(f, c, k, k) / np.float32(np.sqrt(c * k)),
        "b1": normal(f),
        "w2": normal(c, f, k, k) / np.float32(np.sqrt(f * k)),
        "b2": normal(c),
    }
    attributes: dict[str, Any] = {
        "top_k": top_k,
        "min_bin": min_bin,
        "max_bin": max_bin,
        "weighting": weighting,
        "amplitude_scale": scale,
    }
    if rule:
        attributes["period_rule"] = rule
    amplitude = spectrum(feeds["x"])
    periods, _ = choose_periods(amplitude, l, top_k, min_bin, max_bin, rule)
    y = multi_scale_temporal_block(**feeds, **attributes)
    return Case("MultiScaleTemporalBlock", feeds, attributes, {"y": y, "periods": periods})


SCAN_CASES = {
    "one step": partial(scan_case, l=1, d=1, n=1, b=1),
    "one step, reverse, state": partial(
        scan_case, l=1, d=33, n=16, b=3, states=3, reverse=True, last=True, z=True, softplus=True
    ),
    "two steps": partial(scan_case, l=2, d=33, n=1, b=3, z=True),
    "tokens of a headset": partial(scan_case, l=4, d=256, n=16, b=1, z=True, softplus=True),
    "tokens, reverse": partial(scan_case, l=7, d=33, n=5, b=3, reverse=True, softplus=True),
    "groups": partial(scan_case, l=7, d=33, g=3, n=16, b=3, z=True, last=True, states=3),
    "one channel a group": partial(scan_case, l=2, d=33, g=33, n=5, b=1, reverse=True),
    "most states": partial(scan_case, l=2, d=3, n=256, b=1, last=True),
    "longest unrolled": partial(scan_case, l=16, d=5, n=3, b=2, softplus=True, last=True),
    "shortest in chunks": partial(scan_case, l=17, d=5, n=3, b=2, softplus=True, last=True, states=2),
    "chunks": partial(scan_case, l=129, d=33, n=64, b=3, z=True, softplus=True, last=True, states=3),
    "chunks, reverse, groups": partial(
        scan_case, l=129, d=33, g=3, n=16, b=1, reverse=True, last=True, states=1, z=True
    ),
    "whole chunks": partial(scan_case, l=24, d=1, n=5, b=3, last=True, reverse=True),
    "large states": partial(scan_case, l=22, d=600, n=16, b=2, z=True, softplus=True, last=True, states=2),
    "large states, reverse, groups": partial(scan_case, l=20, d=66, g=3, n=128, b=1, reverse=True, last=True),
}

MSTB_CASES = {
    "shortest": partial(mstb_case, l=32, c=1, f=1, k=1, top_k=1, b=1),
    "one channel": partial(mstb_case, l=37, c=1, f=3, k=5, b=3),
    "default sizes": partial(mstb_case, l=128, c=4, f=32, k=11, top_k=3, b=3),
    "softmax": partial(mstb_case, l=64, c=4, f=6, k=7, top_k=3, weighting=1, scale=0.1),
    "bins bounded": partial(mstb_case, l=129, c=5, f=7, k=3, top_k=8, min_bin=3, max_bin=40, b=3),
    "periods rounded down": partial(mstb_case, l=127, c=4, f=6, k=5, top_k=5, rule=1, b=4),
    "periods rounded down, few": partial(mstb_case, l=33, c=2, f=3, k=3, top_k=3, max_bin=3, rule=1),
    "as many bins as periods": partial(mstb_case, l=64, c=2, f=3, k=3, top_k=2, min_bin=31, max_bin=32),
    "largest kernel": partial(mstb_case, l=50, c=3, f=2, k=15, top_k=4),
    "many channels": partial(mstb_case, l=40, c=128, f=3, k=3, top_k=2),
    "transform, power of two": partial(mstb_case, l=1024, c=2, f=2, k=3, top_k=3),
    "transform, other length": partial(mstb_case, l=1001, c=3, f=2, k=5, top_k=3),
    "transform, longest": partial(mstb_case, l=4095, c=1, f=1, k=3, top_k=2, b=1),
}

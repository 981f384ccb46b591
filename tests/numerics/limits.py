"""Scans at the limits of their decay rates, and how float32 may differ from the oracle there.

All tensors are at least 0, so that no sum cancels and every element can be judged by its own size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mimamba_edge.numerics.scan import selective_scan

LOWEST = float(np.finfo(np.float32).min)
RATES = [-np.inf, LOWEST, -3e4, -1.0, 0.0, 0.5, 40.0]
"""Of A. Masks are written as the lowest float32 about as often as minus infinity."""
LONGEST = 70
_STEP = 80.0
"""Largest ``dt * A`` of one step: the next float32, of about 88.7, has no finite exponential."""


@st.composite
def scans(draw: st.DrawFn) -> dict[str, NDArray[Any]]:
    """Draw the tensors of a scan, float32; step sizes are given as they are, without bias or softplus."""
    length = draw(st.integers(1, LONGEST))
    b, d, n = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rates = rng.choice(draw(st.lists(st.sampled_from(RATES), min_size=1, max_size=3)), size=(d, n))
    step = draw(st.sampled_from([1e-3, 0.05, 1.0, _STEP / 40.0]))
    delta = rng.uniform(0.1, 1.0, (b, length, d)) * step
    delta[rng.random(delta.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))] = 0.0
    u = rng.uniform(0.1, 1.0, (b, length, d))
    u[:, : draw(st.integers(0, length))] = 0.0  # the state stays at 0 for a while, or for ever
    state = rng.uniform(0.1, 1.0, (b, d, n)) * draw(st.sampled_from([0.0, 1.0, 1e-30]))
    tensors = {
        "u": u,
        "delta": delta,
        "A": rates,
        "B": rng.uniform(0.1, 1.0, (b, length, 1, n)),
        "C": rng.uniform(0.1, 1.0, (b, length, 1, n)),
        "D": rng.uniform(0.1, 1.0, d),
        "delta_bias": np.zeros(d),
        "initial_state": state,
    }
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def oracle(t: dict[str, NDArray[Any]], *, reverse: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what the recurrence gives in float64; ``0 * -inf`` is NaN there as in ``selective_scan_ref``."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return selective_scan(**t, delta_softplus=False, reverse=reverse)


def assert_same(got: NDArray[Any], wanted: NDArray[Any], t: dict[str, NDArray[Any]]) -> None:
    """Hold a float32 result to the oracle's: NaN where it is NaN, infinite where it is beyond float32."""
    largest = float(np.finfo(np.float32).max)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    there = ~np.isnan(wanted)
    got, wanted = got[there].astype(np.float64), wanted[there]
    assert np.isinf(got[wanted > 1.01 * largest]).all()
    # C is at least 0.1: an output of a twentieth of float32's range can come from a state of half of it.
    finite = wanted < 0.05 * largest
    assert np.isfinite(got[finite]).all()
    # An exponent is rounded to float32, so its error grows with it: a few parts in 2^24 of the whole sum.
    growth = float(np.max(t["delta"].sum(axis=1), initial=0.0)) * max(0.0, float(t["A"].max()))
    np.testing.assert_allclose(got[finite], wanted[finite], rtol=1e-5 + 1e-6 * growth, atol=1e-36)

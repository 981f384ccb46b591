"""SelectiveScan's kernels, their PTX on the simulated device, against the float64 oracle."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mimamba_edge.numerics.scan import selective_scan
from tests.numerics import limits
from tests.numerics.problems import scan_arrays
from tests.ptx.device import Kernels, Refused, device, store, value

# Output rounding (half a unit in the last place of the largest value, and the fp32 tolerance on top).
TOLERANCE = {"float32": 1e-5, "float16": 2.0**-11 + 1e-5, "bfloat16": 2.0**-8 + 1e-5}
T_NAMES = ("u", "delta", "B", "C", "z")
Arrays = dict[str, NDArray[Any]]
SEGMENTED = 16
"""More states than these have no segments of time."""


def make(
    b: int, length: int, d: int, n: int, *, g: int = 1, z: bool = True, dtype: str = "float32",
    per_window: bool = True, seed: int = 0,
) -> Arrays:  # fmt: skip
    t = scan_arrays(b, length, d, n, g=g, z=z, per_window=per_window, seed=seed)
    return {k: store(v, dtype if k in T_NAMES else "float32") for k, v in t.items()}


def oracle(t: Arrays, dtype: str = "float32", **flags: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    wide = {k: value(v, dtype if k in T_NAMES else "float32") for k, v in t.items()}
    return selective_scan(**wide, **flags)  # type: ignore[arg-type]


def error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    assert got.shape == wanted.shape
    assert np.isfinite(got).all()
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def compare(kernels: Kernels, t: Arrays, dtype: str = "float32", reverse: bool = False, **how: Any) -> None:
    softplus = how.pop("softplus", True)
    y, state = kernels.scan(t, dtype, softplus=softplus, reverse=reverse, **how)
    y_true, state_true = oracle(t, dtype, delta_softplus=softplus, reverse=reverse)
    assert error(value(y, dtype), y_true) <= TOLERANCE[dtype]
    assert error(state, state_true) <= 1e-5


@pytest.mark.parametrize("n", [1, 5, 16, 64])
@pytest.mark.parametrize("d", [1, 33])
@pytest.mark.parametrize("b", [1, 3])
def test_awkward_sizes(kernels: Kernels, b: int, d: int, n: int) -> None:
    for length, reverse in product((1, 2, 7, 129), (False, True)):
        compare(kernels, make(b, length, d, n), reverse=reverse)


@pytest.mark.parametrize("n", [2, 3, 8, 9, 17, 32, 33, 100, 128, 129, 256])
def test_every_number_of_states_has_lanes(kernels: Kernels, n: int) -> None:
    compare(kernels, make(2, 37, 5, n))
    compare(kernels, make(2, 37, 5, n), reverse=True, segments=8 if n <= SEGMENTED else 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_rounded_once(kernels: Kernels, dtype: str) -> None:
    for n, reverse in product((1, 16, 64), (False, True)):
        t = make(2, 50, 33, n, dtype=dtype)
        compare(kernels, t, dtype, reverse=reverse)
        # Once, and from fp32: the nearest value to what the same scan gives in float32.
        wide = {k: value(v, dtype).astype(np.float32) if k in T_NAMES else v for k, v in t.items()}
        full, _ = kernels.scan(wide, reverse=reverse)
        half, _ = kernels.scan(t, dtype, reverse=reverse)
        np.testing.assert_array_equal(half, store(full, dtype))


@pytest.mark.parametrize(("g", "d"), [(1, 12), (2, 70), (4, 4), (3, 99)])
def test_groups(kernels: Kernels, g: int, d: int) -> None:
    compare(kernels, make(2, 19, d, 16, g=g))
    compare(kernels, make(2, 40, d, 16, g=g), segments=8)


def test_gate_softplus_and_shared_state_are_optional(kernels: Kernels) -> None:
    for z, softplus, per_window in product((False, True), repeat=3):
        t = make(3, 33, 9, 16, z=z, per_window=per_window)
        if not softplus:
            t["delta"] = np.abs(t["delta"])
            t["delta_bias"] = np.abs(t["delta_bias"])
        compare(kernels, t, softplus=softplus)
    kernels.scan(make(1, 5, 3, 4), last=False)


def test_softplus_threshold(kernels: Kernels) -> None:
    t = make(1, 6, 4, 2)
    t["delta"][:] = np.array([-100.0, -20.0, 0.0, 19.9, 20.1, 500.0], np.float32)[None, :, None]
    t["z"][:] = np.array([-500.0, -90.0, 0.0, 1.0, 90.0, 500.0], np.float32)[None, :, None]
    compare(kernels, t)


@pytest.mark.parametrize("segments", [1, 8, 16])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [1, 6, 12, 16])
def test_segments_give_the_sequential_answer(kernels: Kernels, n: int, segments: int, reverse: bool) -> None:
    for length in (4, 16, 17, 129, 300):
        compare(kernels, make(2, length, 33, n), reverse=reverse, segments=segments)
    assert (kernels.launches, kernels.workspace) == (1, 0)


def test_long_scans(kernels: Kernels) -> None:
    for length, segments in product((1536, 4096), (1, 8, 16)):
        compare(kernels, make(1, length, 5, 16), segments=segments)


def test_segments_survive_decays_that_underflow(kernels: Kernels) -> None:
    t = make(1, 256, 8, 16)
    t["A"] *= 200.0
    compare(kernels, t, segments=8)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("segments", [1, 8, 16])
def test_rows_may_be_parts_of_wider_ones(kernels: Kernels, segments: int, dtype: str) -> None:
    # Rows of 39 elements start anywhere; those of 64 and 60 let four states be read at a time.
    for rows, reverse in (({"z": 21, "B": 39, "C": 35}, False), ({"z": 40, "B": 64, "C": 60}, True)):
        for n, g in ((16, 2), (12, 1), (5, 2)):
            compare(
                kernels, make(2, 70, 18, n, g=g, dtype=dtype), dtype, reverse, rows=rows, segments=segments
            )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(t=limits.scans(), segments=st.sampled_from([1, 8, 16]), reverse=st.booleans())
def test_rates_at_their_limits(kernels: Kernels, t: Arrays, segments: int, reverse: bool) -> None:
    y, state = kernels.scan(t, softplus=False, reverse=reverse, segments=segments)
    # Minus infinity counts as the lowest float32: a step of 0 then keeps the state, where 0 * -inf is NaN.
    finite = t | {"A": np.maximum(t["A"], np.float32(limits.LOWEST))}
    y_true, state_true = limits.oracle(finite, reverse=reverse)
    limits.assert_same(y, y_true, t)
    limits.assert_same(state, state_true, t)


@pytest.mark.parametrize("segments", [1, 8, 16])
@pytest.mark.parametrize(("length", "start"), [(3, 1e-30), (48, 0.0), (150, 0.0)])
def test_growth_beyond_float32_of_a_state_that_stays_within(
    kernels: Kernels, length: int, start: float, segments: int
) -> None:
    """Three steps grow by exp(132), float32 ends at exp(88.7): a state of 0 or 1e-30 stays in range."""
    t = make(1, length, 2, 3, z=False)
    t["A"][:], t["delta"][:], t["delta_bias"][:] = 44.0, 1.0, 0.0
    t["u"][:, : length - 1], t["initial_state"][:] = 0.0, start
    y, state = kernels.scan(t, softplus=False, segments=segments)
    y_true, state_true = oracle(t, delta_softplus=False)
    assert error(y, y_true) <= 3e-5
    assert error(state, state_true) <= 3e-5


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("segments", [1, 8])
def test_the_state_is_handed_on(kernels: Kernels, reverse: bool, segments: int) -> None:
    whole = make(2, 50, 33, 16)
    parts = (slice(30, 50), slice(0, 30)) if reverse else (slice(0, 20), slice(20, 50))
    state, ys = whole["initial_state"], {}
    for part in parts:
        t = {k: v[:, part] if k in T_NAMES else v for k, v in whole.items()} | {"initial_state": state}
        ys[part.start], state = kernels.scan(t, reverse=reverse, segments=segments)
    y_true, state_true = oracle(whole, delta_softplus=True, reverse=reverse)
    assert error(np.concatenate([ys[k] for k in sorted(ys)], axis=1), y_true) <= 1e-5
    assert error(state, state_true) <= 1e-5


def test_threads_do_not_race(kernels: Kernels) -> None:
    for n, segments in (*product((1, 5, 16), (1, 8, 16)), (64, 1), (200, 1)):
        t = make(2, 70, 40, n)
        first, *others = (kernels.scan(t, segments=segments, seed=seed) for seed in (0, 1, 2))
        for other in others:
            np.testing.assert_array_equal(first[0], other[0])
            np.testing.assert_array_equal(first[1], other[1])


def test_few_blocks_stride_over_the_work(kernels: Kernels) -> None:
    t = make(3, 50, 70, 16)
    for segments in (1, 8, 16):
        full, few = (kernels.scan(t, segments=segments, on=device(max_blocks=most)) for most in (100, 2))
        np.testing.assert_array_equal(full[0], few[0])
        np.testing.assert_array_equal(full[1], few[1])


def test_an_empty_batch_is_done(kernels: Kernels) -> None:
    t = make(1, 4, 3, 2)
    empty = {k: v[:0] if k in T_NAMES else v for k, v in t.items()}
    kernels.scan(empty)
    assert kernels.launches == 0


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"b": 1, "length": 3, "d": 5, "n": 257}, "n must be 1 to 256"),
        ({"b": 1, "length": 3, "d": 5, "n": 2, "g": 2}, "must divide"),
        ({"b": 1, "length": 0, "d": 5, "n": 2}, "l and d at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(kernels: Kernels, sizes: dict[str, int], says: str) -> None:
    with pytest.raises(Refused) as refused:
        kernels.scan(make(**sizes))  # type: ignore[arg-type]
    assert refused.value.args[0] == 1
    assert says in refused.value.args[1]

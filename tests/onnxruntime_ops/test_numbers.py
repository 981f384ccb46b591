"""The native ops against the float64 oracles."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("onnx")

from mimamba_edge.export.onnx.schema import MSTB, SCAN
from mimamba_edge.numerics.scan import selective_scan
from tests.numerics import limits
from tests.onnxruntime_ops.nodes import (
    MSTB_FLAGS,
    SCAN_FLAGS,
    check_mstb,
    check_scan,
    error,
    mstb_tensors,
    node_model,
    open_with,
    run,
    scan_tensors,
)

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]


@pytest.mark.parametrize("n", [1, 5, 16, 64, 256])
@pytest.mark.parametrize("d", [1, 33, 257])
def test_scan_at_awkward_sizes(native: Path, d: int, n: int) -> None:
    for b, length, reverse in product((1, 3), (1, 2, 7, 129), (0, 1)):
        check_scan(native, scan_tensors(b, length, d, n), reverse=reverse)


def test_long_scan(native: Path) -> None:
    check_scan(native, scan_tensors(1, 1000, 33, 5))
    check_scan(native, scan_tensors(1, 65536, 33, 5))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_scan_in_half_types_is_rounded_once(native: Path, dtype: str) -> None:
    for n, d, reverse in product((1, 16, 64), (33, 48), (0, 1)):
        check_scan(native, scan_tensors(2, 50, d, n, g=3, dtype=dtype), dtype, reverse=reverse)


@pytest.mark.parametrize(("g", "d"), [(1, 12), (2, 70), (4, 4), (3, 99), (2, 300)])
def test_groups(native: Path, g: int, d: int) -> None:
    check_scan(native, scan_tensors(2, 19, d, 16, g=g))
    check_scan(native, scan_tensors(2, 40, d, 16, g=g), threads=2, reverse=1)


def test_gate_softplus_and_states_are_optional(native: Path) -> None:
    for z, softplus, per_window, last in product((False, True), (0, 1), (False, True), (0, 1)):
        t = scan_tensors(3, 33, 9, 16, z=z, per_window=per_window)
        if not softplus:
            t["delta"], t["delta_bias"] = np.abs(t["delta"]), np.abs(t["delta_bias"])
        check_scan(native, t, delta_softplus=softplus, return_last_state=last)


def test_step_sizes_and_gates_far_from_zero(native: Path) -> None:
    t = scan_tensors(1, 6, 40, 2)
    t["delta"][:] = np.array([-100.0, -20.0, 0.0, 19.9, 20.1, 500.0], np.float32)[None, :, None]
    t["z"][:] = np.array([-500.0, -90.0, 0.0, 1.0, 90.0, 500.0], np.float32)[None, :, None]
    check_scan(native, t)


def test_negative_step_sizes_and_growing_states(native: Path) -> None:
    t = scan_tensors(2, 12, 20, 4)
    t["A"][:, ::2] *= -0.1
    t["delta"] *= 0.1
    t["delta_bias"] *= 0.1
    check_scan(native, t, delta_softplus=0)


@pytest.mark.parametrize("name", ["u", "delta", "B", "z", "initial_state"])
def test_nan_is_where_the_oracle_has_it(native: Path, name: str) -> None:
    t = scan_tensors(1, 9, 20, 3)
    t[name][(0, *(size // 2 for size in t[name].shape[1:]))] = np.nan
    y, last = run(open_with(native, node_model(SCAN, t, SCAN_FLAGS)), t)
    with np.errstate(invalid="ignore"):
        wanted = selective_scan(**t, delta_softplus=True)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted[0]))
    np.testing.assert_array_equal(np.isnan(last), np.isnan(wanted[1]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(t=limits.scans(), reverse=st.booleans())
def test_rates_at_their_limits(native: Path, t: Any, reverse: bool) -> None:
    values = {**SCAN_FLAGS, "has_z": 0, "delta_softplus": 0, "reverse": int(reverse)}
    y, state = run(open_with(native, node_model(SCAN, t, values)), t)
    y_true, state_true = limits.oracle(t, reverse=reverse)
    limits.assert_same(y, y_true, t)
    limits.assert_same(state, state_true, t)


@pytest.mark.parametrize("reverse", [0, 1])
def test_the_state_is_handed_on(native: Path, reverse: int) -> None:
    whole = scan_tensors(2, 50, 33, 16)
    state, ys = whole["initial_state"], {}
    for part in (slice(30, 50), slice(0, 30)) if reverse else (slice(0, 20), slice(20, 50)):
        t = {k: v[:, part] if k in ("u", "delta", "B", "C", "z") else v for k, v in whole.items()}
        t = {k: np.ascontiguousarray(v) for k, v in t.items()} | {"initial_state": state}
        session = open_with(native, node_model(SCAN, t, {**SCAN_FLAGS, "reverse": reverse}))
        ys[part.start], state = run(session, t)
    y_true, state_true = selective_scan(**whole, delta_softplus=True, reverse=bool(reverse))
    assert error(np.concatenate([ys[k] for k in sorted(ys)], axis=1), y_true) <= 1e-5
    assert error(state, state_true) <= 1e-5


def test_constants_are_laid_out_once(native: Path) -> None:
    t = scan_tensors(2, 7, 33, 16, per_window=False)
    check_scan(native, t, constant=("A", "D", "delta_bias", "initial_state"))
    t["initial_state"][:] = 0.0
    check_scan(native, t, constant=("A", "initial_state"))
    check_mstb(native, mstb_tensors(2, 65, 4), constant=("w1", "b1", "w2", "b2"))


def test_threads_give_the_same_bits(native: Path) -> None:
    t, m = scan_tensors(3, 200, 300, 16), mstb_tensors(3, 256, 4, f=32, k=11)
    for op, tensors, flags in ((SCAN, t, SCAN_FLAGS), (MSTB, m, MSTB_FLAGS)):
        model = node_model(op, tensors, flags)
        one, two = (run(open_with(native, model, threads=n), tensors) for n in (1, 2))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_empty_batch_is_done(native: Path) -> None:
    t = {k: v[:0] if k in ("u", "delta", "B", "C", "z") else v for k, v in scan_tensors(1, 4, 3, 2).items()}
    y, last = run(open_with(native, node_model(SCAN, t, SCAN_FLAGS)), t)
    assert (y.shape, last.shape) == ((0, 4, 3), (0, 3, 2))
    m = mstb_tensors(1, 32, 2)
    m["x"] = m["x"][:0]
    assert run(open_with(native, node_model(MSTB, m, MSTB_FLAGS)), m)[0].shape == (0, 32, 2)


@pytest.mark.parametrize("length", [32, 33, 128, 257])
@pytest.mark.parametrize("c", [1, 4, 7])
def test_block_at_awkward_sizes(native: Path, length: int, c: int) -> None:
    for top_k, k in ((1, 3), (3, 11), (8, 1), (8, 3)):
        check_mstb(native, mstb_tensors(1 + (k == 3), length, c, k=k), top_k=top_k)


@pytest.mark.parametrize("length", [2, 3, 5, 7, 16])
def test_very_short_windows(native: Path, length: int) -> None:
    for top_k in {1, length // 2}:
        check_mstb(native, mstb_tensors(2, length, 3, k=15), top_k=top_k)


@pytest.mark.parametrize("f", [1, 4, 5, 32, 33, 70])
def test_hidden_channels_need_not_fill_vectors(native: Path, f: int) -> None:
    check_mstb(native, mstb_tensors(2, 65, 5, f=f, k=5), threads=2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_block_in_half_types(native: Path, dtype: str) -> None:
    check_mstb(native, mstb_tensors(2, 128, 4, f=8, k=11, dtype=dtype), dtype)


@pytest.mark.parametrize("scale", [1.0, -0.5, 40.0])
def test_softmax_weighting(native: Path, scale: float) -> None:
    check_mstb(native, mstb_tensors(2, 64, 4), top_k=4, weighting=1, amplitude_scale=scale)


def test_band(native: Path) -> None:
    for band in ({"min_bin": 3, "max_bin": 20}, {"min_bin": 60}, {"min_bin": 9, "max_bin": 11}):
        check_mstb(native, mstb_tensors(2, 128, 4), **band)


def test_periods_rounded_down(native: Path) -> None:
    for length in (2, 7, 31, 127):
        for bin_ in range(1, length // 2 + 1, 1 + length // 20):
            band = {"top_k": 1, "min_bin": bin_, "max_bin": bin_}
            check_mstb(native, mstb_tensors(1, length, 3), **band, period_rule=1)
    check_mstb(native, mstb_tensors(3, 101, 4), top_k=5, weighting=1, period_rule=1)


def test_long_windows(native: Path) -> None:
    check_mstb(native, mstb_tensors(1, 1000, 2, f=4, k=11))
    check_mstb(native, mstb_tensors(1, 4099, 1, f=2), top_k=2, min_bin=1300, max_bin=1500)


def test_channels_that_do_not_move_choose_the_lowest_bins(native: Path) -> None:
    t = mstb_tensors(2, 33, 4)
    t["x"][:] = t["x"][:, :1]
    for weighting in (0, 1):
        check_mstb(native, t, min_bin=2, weighting=weighting)


def test_large_hidden_values_pass_gelu(native: Path) -> None:
    t = mstb_tensors(1, 64, 4, f=8)
    t["b1"] = np.array([-1e30, -50.0, -6.1, -5.9, 5.9, 6.1, 50.0, 1e3], np.float32)
    check_mstb(native, t)


def test_a_period_chosen_twice_counts_twice(native: Path) -> None:
    """Bins 22 to 31 of 64 samples all have a period of 3."""
    values: dict[str, Any] = {"top_k": 8, "min_bin": 22, "max_bin": 31}
    t = mstb_tensors(2, 64, 4)
    check_mstb(native, t, **values)


@pytest.mark.parametrize("target", ["baseline", "avx2"])
def test_every_instruction_set_gives_the_oracles_numbers(native: Path, target: str) -> None:
    """In a process of its own: the library chooses once. On another CPU than x86-64 there is one set."""
    code = (
        "import sys; from pathlib import Path; from tests.onnxruntime_ops import nodes as n\n"
        "lib = Path(sys.argv[1])\n"
        "for dtype in ('float32', 'float16', 'bfloat16'):\n"
        "    for d, k in ((1, 1), (33, 5), (257, 16)):\n"
        "        n.check_scan(lib, n.scan_tensors(2, 37, d, k, dtype=dtype), dtype)\n"
        "    n.check_mstb(lib, n.mstb_tensors(2, 65, 5, f=7, k=11, dtype=dtype), dtype)\n"
    )
    env = {**os.environ, "MIMAMBA_ORT_TARGET": target}
    done = subprocess.run(
        [sys.executable, "-c", code, str(native)], env=env, capture_output=True, text=True, timeout=120,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

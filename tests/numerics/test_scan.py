"""The scan's oracle against closed forms that are not a scan."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from mimamba_edge.numerics.scan import selective_scan


def _inputs(rng: np.random.Generator, b: int, length: int, d: int, n: int, g: int = 1) -> list[np.ndarray]:
    shapes = [
        (b, length, d),
        (b, length, d),
        (d, n),
        (b, length, g, n),
        (b, length, g, n),
        (d,),
        (d,),
        (b, d, n),
    ]
    arrays = [rng.normal(size=s) for s in shapes]
    arrays[2] = -np.exp(arrays[2])
    return arrays


def test_constant_maps_are_a_recursive_filter() -> None:
    rng = np.random.default_rng(0)
    length, rate, dt, b, c, skip = 50, -0.7, 0.3, 1.4, -0.6, 0.25
    u = rng.normal(size=(1, length, 1))
    one = np.ones((1, length, 1, 1))
    y, state = selective_scan(
        u,
        np.full_like(u, dt - 0.1),
        np.array([[rate]]),
        b * one,
        c * one,
        np.array([skip]),
        np.array([0.1]),
        np.zeros((1, 1, 1)),
        delta_softplus=False,
    )
    h = lfilter([dt * b], [1, -np.exp(dt * rate)], u[0, :, 0])
    np.testing.assert_allclose(y[0, :, 0], c * h + skip * u[0, :, 0], rtol=1e-12)
    np.testing.assert_allclose(state[0, 0, 0], h[-1], rtol=1e-12)


def test_one_step_by_hand_with_softplus_gate_and_state() -> None:
    u, delta, a, b, c, skip, bias, h, z = 2.0, -0.5, -1.5, 0.3, 0.7, 0.1, 0.2, 4.0, -1.2
    shape = (1, 1, 1)
    y, state = selective_scan(
        np.full(shape, u),
        np.full(shape, delta),
        np.array([[a]]),
        np.full((1, 1, 1, 1), b),
        np.full((1, 1, 1, 1), c),
        np.array([skip]),
        np.array([bias]),
        np.full(shape, h),
        np.full(shape, z),
        delta_softplus=True,
    )
    dt = np.log1p(np.exp(delta + bias))
    after = np.exp(dt * a) * h + dt * b * u
    assert state[0, 0, 0] == pytest.approx(after, rel=1e-13)
    assert y[0, 0, 0] == pytest.approx((c * after + skip * u) * z / (1 + np.exp(-z)), rel=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
def test_two_parts_with_the_state_handed_on_equal_the_whole(reverse: bool) -> None:
    u, delta, A, B, C, D, bias, h = _inputs(np.random.default_rng(1), 2, 50, 4, 3, 2)

    def scan(part: slice, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        timed = (a[:, part] for a in (u, delta))
        maps = (a[:, part] for a in (B, C))
        return selective_scan(*timed, A, *maps, D, bias, state, delta_softplus=True, reverse=reverse)

    whole, end = scan(slice(None), h)
    first, second = (slice(30, 50), slice(0, 30)) if reverse else (slice(0, 20), slice(20, 50))
    y1, middle = scan(first, h)
    y2, last = scan(second, middle)
    np.testing.assert_allclose(np.concatenate([y2, y1] if reverse else [y1, y2], axis=1), whole, rtol=1e-12)
    np.testing.assert_allclose(last, end, rtol=1e-12)


def test_reverse_is_the_scan_of_the_flipped_input() -> None:
    u, delta, A, B, C, D, bias, h = _inputs(np.random.default_rng(2), 3, 7, 4, 5)
    y, state = selective_scan(u, delta, A, B, C, D, bias, h, delta_softplus=True, reverse=True)
    flipped = (a[:, ::-1] for a in (u, delta))
    y2, state2 = selective_scan(*flipped, A, B[:, ::-1], C[:, ::-1], D, bias, h, delta_softplus=True)
    np.testing.assert_allclose(y, y2[:, ::-1], rtol=1e-13)
    np.testing.assert_allclose(state, state2, rtol=1e-13)


def test_groups_are_separate_scans() -> None:
    u, delta, A, B, C, D, bias, h = _inputs(np.random.default_rng(3), 2, 6, 6, 2, 3)
    y, state = selective_scan(u, delta, A, B, C, D, bias, h, delta_softplus=True)
    for g in range(3):
        s = slice(2 * g, 2 * g + 2)
        alone, end = selective_scan(
            u[..., s],
            delta[..., s],
            A[s],
            B[:, :, g : g + 1],
            C[:, :, g : g + 1],
            D[s],
            bias[s],
            h[:, s],
            delta_softplus=True,
        )
        np.testing.assert_allclose(y[..., s], alone, rtol=1e-13)
        np.testing.assert_allclose(state[:, s], end, rtol=1e-13)

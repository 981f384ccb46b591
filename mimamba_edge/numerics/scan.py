"""Selective scan in float64 NumPy, written step by step from its recurrence: the judge of every other one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["selective_scan"]

_F64 = NDArray[np.float64]


def _f64(x: NDArray[Any]) -> _F64:
    return np.asarray(x, dtype=np.float64)


def selective_scan(
    u: NDArray[Any],
    delta: NDArray[Any],
    A: NDArray[Any],
    B: NDArray[Any],
    C: NDArray[Any],
    D: NDArray[Any],
    delta_bias: NDArray[Any],
    initial_state: NDArray[Any],
    z: NDArray[Any] | None = None,
    *,
    delta_softplus: bool,
    reverse: bool = False,
) -> tuple[_F64, _F64]:
    """Run the recurrence of Mamba (Gu and Dao 2023, algorithm 2; ``selective_scan_ref`` of mamba_ssm).

    ``h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t``, ``y_t = C_t h_t + D u_t``, times ``silu(z_t)`` if given,
    with ``dt_t = delta_t + delta_bias``, through a softplus if asked.

    Args:
        u: Input ``(b, l, d)``.
        delta: Step sizes before bias ``(b, l, d)``.
        A: Decay rates ``(d, n)``.
        B: Input maps ``(b, l, g, n)``; channel ``i`` of ``d`` belongs to group ``i // (d // g)``.
        C: Output maps ``(b, l, g, n)``.
        D: Skip ``(d,)``.
        delta_bias: ``(d,)``.
        initial_state: ``(1, d, n)`` or ``(b, d, n)``.
        z: Gate ``(b, l, d)``.
        delta_softplus: Pass the step sizes through a softplus.
        reverse: Run from ``t = l - 1`` to 0.

    Returns:
        ``y (b, l, d)`` and the state after the last step taken, ``(b, d, n)``.
    """
    u, A, D = _f64(u), _f64(A), _f64(D)
    batch, length, width = u.shape
    dt = _f64(delta) + _f64(delta_bias)
    if delta_softplus:
        dt = np.logaddexp(0.0, dt)
    per_group = width // B.shape[2]
    state = np.array(np.broadcast_to(_f64(initial_state), (batch, *A.shape)))
    y = np.empty_like(u)
    for t in reversed(range(length)) if reverse else range(length):
        b_t = np.repeat(_f64(B[:, t]), per_group, axis=1)
        c_t = np.repeat(_f64(C[:, t]), per_group, axis=1)
        state = np.exp(dt[:, t, :, None] * A) * state + (dt[:, t] * u[:, t])[:, :, None] * b_t
        y[:, t] = (c_t * state).sum(axis=2) + D * u[:, t]
    if z is not None:
        gate = _f64(z)
        y *= gate * 0.5 * (1.0 + np.tanh(0.5 * gate))
    return y, state

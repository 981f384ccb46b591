"""The whole network in float64 NumPy, from the arrays of a checkpoint and its configuration.

It takes the parameters as they are trained (parallel kernels, ``A_log``), so that whatever folds them
for inference is checked too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.numerics.mstb import (
    branch_weights,
    choose_periods,
    convolve,
    gelu,
    spectrum,
    weighted_branches,
)
from mimamba_edge.numerics.scan import selective_scan

__all__ = ["PERIODS", "msimamba"]

PERIODS = "periods"
"""The auxiliary output: the periods that each window was folded by, ``(b, top_k)`` int64, in samples."""

_F64 = NDArray[np.float64]
_State = Mapping[str, NDArray[Any]]


def msimamba(windows: NDArray[Any], state: _State, config: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Run MS-iMamba.

    Args:
        windows: ``(b, n_chans, n_times)``, scaled.
        state: Parameters by the names they have in the model's ``state_dict``.
        config: The model's configuration, all fields.

    Returns:
        ``logits (b, n_outputs)`` float64 and ``periods (b, top_k)`` int64 in samples.
    """
    state = {name: np.asarray(value, dtype=np.float64) for name, value in state.items()}
    x = np.asarray(windows, dtype=np.float64).transpose(0, 2, 1)
    amplitude = spectrum(x)
    periods, bins = choose_periods(
        amplitude, config["n_times"], config["top_k"], config["min_bin"], config["max_bin"]
    )
    softmax = {"amplitude": 0, "softmax": 1}[config["weighting"]]
    weights = branch_weights(amplitude, bins, softmax, config["amplitude_scale"])

    def perceive(folded: _F64) -> _F64:
        first, second = (_kernels(state, f"mstb.{part}", config["n_kernels"]) for part in ("msp1", "msp2"))
        return convolve(gelu(convolve(folded, *first)), *second)

    x = weighted_branches(x, periods, weights, perceive)
    h = _linear(x.transpose(0, 2, 1), state, "tsfb.embedding")
    for i in range(config["n_layers"]):
        layer = f"tsfb.layers.{i}"
        h = h + _mamba(_layer_norm(h, state, f"{layer}.norm"), state, f"{layer}.mamba", config)
    h = _layer_norm(h, state, "tsfb.norm")
    return {"logits": _linear(h.reshape(len(h), -1), state, "final_layer"), "periods": periods}


def _kernels(state: _State, prefix: str, n_kernels: int) -> tuple[list[_F64], list[_F64]]:
    names = [f"{prefix}.convs.{i}" for i in range(n_kernels)]
    return [state[f"{name}.weight"] for name in names], [state[f"{name}.bias"] for name in names]


def _linear(x: _F64, state: _State, name: str) -> _F64:
    y: _F64 = x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0.0)
    return y


def _layer_norm(x: _F64, state: _State, name: str) -> _F64:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    y: _F64 = centred / deviation * state[f"{name}.weight"] + state[f"{name}.bias"]
    return y


def _silu(x: _F64) -> _F64:
    return x * 0.5 * (1.0 + np.tanh(0.5 * x))


def _mamba(h: _F64, state: _State, name: str, config: Mapping[str, Any]) -> _F64:
    """Run one Mamba-1 block over ``(b, l, d_model)``; both directions are summed before ``out_proj``."""
    x, z = np.split(_linear(h, state, f"{name}.in_proj"), 2, axis=-1)
    y = _direction(x, z, state, name, "")
    if config["bidirectional"]:
        # The other direction is the same block on the tokens in opposite order.
        y = y + _direction(x[:, ::-1], z[:, ::-1], state, name, "_b")[:, ::-1]
    return _linear(y, state, f"{name}.out_proj")


def _direction(x: _F64, z: _F64, state: _State, name: str, suffix: str) -> _F64:
    kernel = state[f"{name}.conv1d{suffix}.weight"][:, 0]
    length, taps = x.shape[1], kernel.shape[1]
    padded = np.concatenate([np.zeros_like(x[:, :1]).repeat(taps - 1, axis=1), x], axis=1)
    u = sum(padded[:, j : j + length] * kernel[:, j] for j in range(taps))
    u = _silu(u + state[f"{name}.conv1d{suffix}.bias"])
    A = -np.exp(state[f"{name}.A{suffix}_log"])
    rank = state[f"{name}.dt_proj{suffix}.weight"].shape[1]
    n = A.shape[1]
    dt, B, C = np.split(_linear(u, state, f"{name}.x_proj{suffix}"), [rank, rank + n], axis=-1)
    y, _ = selective_scan(
        u,
        dt @ state[f"{name}.dt_proj{suffix}.weight"].T,
        A,
        B[:, :, None],
        C[:, :, None],
        state[f"{name}.D{suffix}"],
        state[f"{name}.dt_proj{suffix}.bias"],
        np.zeros((1, *A.shape)),
        z,
        delta_softplus=True,
    )
    return y

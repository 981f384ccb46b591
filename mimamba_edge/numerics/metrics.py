"""How far two sets of outputs are apart. All in float64 NumPy; shapes ``(n, o)`` unless said otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import ConfigError

__all__ = [
    "all_finite",
    "margins",
    "max_rel_err",
    "mean_kl",
    "sqnr_db",
]

_Array = NDArray[Any]


def _pair(ref: _Array, x: _Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(ref, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ConfigError(
            "two outputs to compare must be equal in shape and not empty", got=(a.shape, b.shape)
        )
    return a, b


def sqnr_db(ref: _Array, x: _Array) -> float:
    """Return the signal-to-noise ratio ``10 log10(sum ref^2 / sum (x - ref)^2)`` in dB, over all elements.

    Infinite where the two are equal, minus infinity where only the reference is all zero, NaN where a
    value is not finite.
    """
    a, b = _pair(ref, x)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    # Divided by the largest value first: squares of float64 overflow above 1e154.
    peak = max(float(np.abs(a).max()), float(np.abs(b).max())) or 1.0
    signal, noise = np.sum((a / peak) ** 2), np.sum((b / peak - a / peak) ** 2)
    if noise == 0:
        return float("inf")
    return float("-inf") if signal == 0 else float(10 * np.log10(signal / noise))


def max_rel_err(ref: _Array, x: _Array) -> float:
    """Return ``max |x - ref| / max |ref|``; infinite where only the reference is all zero."""
    a, b = _pair(ref, x)
    err, peak = float(np.abs(b - a).max()), float(np.abs(a).max())
    if peak == 0:
        return 0.0 if err == 0 else float("inf")
    return err / peak


def margins(ref: _Array) -> NDArray[np.float64]:
    """Return by how much each row's largest element exceeds its second largest, ``(n,)``."""
    top = np.sort(np.asarray(ref, dtype=np.float64), axis=1)
    difference: NDArray[np.float64] = top[:, -1] - top[:, -2]
    return difference


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def mean_kl(ref: _Array, x: _Array) -> float:
    """Return the mean over rows of ``KL(softmax(ref) || softmax(x))`` in nats."""
    a, b = _pair(ref, x)
    p, q = _log_softmax(a), _log_softmax(b)
    # Rounding can leave a sum of -1e-17 for equal rows; a divergence is never negative.
    return max(0.0, float(np.mean(np.sum(np.exp(p) * (p - q), axis=1))))


def all_finite(*arrays: _Array) -> bool:
    """Return whether no array holds a NaN or an infinity."""
    return all(bool(np.isfinite(a).all()) for a in arrays)

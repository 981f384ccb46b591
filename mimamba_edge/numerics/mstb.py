"""Multi-scale temporal block in float64 NumPy, written from its formulas: the judge of every other one.

Two choices make the block's answer well defined where its formula is not:

* The spectrum is taken of ``x - x[0]`` per channel. Bins above 0 do not change, and a channel that does not
  move gives exact zeros in every precision, where a transform of its offset would leave rounding noise
  that chooses the periods.
* If all chosen amplitudes are 0 (no channel moves) the amplitude weights are ``1 / top_k`` each, and the
  bins chosen are the lowest allowed ones (ties: lower bin first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from mimamba_edge.errors import ConfigError

__all__ = [
    "branch_weights",
    "choose_periods",
    "convolve",
    "gelu",
    "multi_scale_temporal_block",
    "period_gap",
    "spectrum",
    "weighted_branches",
]

_F64 = NDArray[np.float64]
_I64 = NDArray[np.int64]


def spectrum(x: NDArray[Any]) -> _F64:
    """Return the Fourier amplitudes of windows, averaged over channels.

    Args:
        x: ``(b, l, c)``.

    Returns:
        ``(b, l // 2 + 1)``; bin 0 is zero.
    """
    x = np.asarray(x, dtype=np.float64)
    amplitude: _F64 = np.abs(np.fft.rfft(x - x[:, :1], axis=1)).mean(axis=2)
    amplitude[:, 0] = 0.0
    return amplitude


def _candidates(amplitude: _F64, top_k: int, min_bin: int, max_bin: int) -> _F64:
    last = max_bin or amplitude.shape[1] - 1
    band = amplitude[:, min_bin : last + 1]
    if min_bin < 1 or last >= amplitude.shape[1] or not 1 <= top_k <= band.shape[1]:
        raise ConfigError(
            "the periods cannot be chosen",
            got=f"top_k {top_k} from bins {min_bin} to {last} of {amplitude.shape[1]}",
        )
    return band


def choose_periods(
    amplitude: _F64, n_times: int, top_k: int, min_bin: int = 1, max_bin: int = 0, period_rule: int = 0
) -> tuple[_I64, _I64]:
    """Choose the bins of largest amplitude and their periods.

    Args:
        amplitude: What :func:`spectrum` gave, ``(b, n_times // 2 + 1)``.
        n_times: Samples of a window.
        top_k: How many.
        min_bin: First bin allowed, at least 1.
        max_bin: Last bin allowed; 0 means ``n_times // 2``.
        period_rule: 0: ``ceil(n_times / bin)``; 1: ``n_times // bin``, as TimesNet has it.

    Returns:
        ``periods (b, top_k)`` in samples, and ``bins (b, top_k)``, largest amplitude
        first, ties: lower bin first.
    """
    band = _candidates(amplitude, top_k, min_bin, max_bin)
    bins = np.argsort(-band, axis=1, kind="stable")[:, :top_k].astype(np.int64) + min_bin
    return n_times // bins if period_rule else -(-n_times // bins), bins


def period_gap(amplitude: _F64, top_k: int, min_bin: int = 1, max_bin: int = 0) -> _F64:
    """Return how far the last bin chosen stands above the next candidate, ``(b,)``.

    The difference is divided by the largest amplitude of the window, since that is what the rounding of a
    transform scales with: a gap below the precision of a runner is a near-tie that it may decide either
    way. Infinite where every allowed bin is chosen, 0 where no channel moves.
    """
    band = _candidates(amplitude, top_k, min_bin, max_bin)
    if band.shape[1] == top_k:
        return np.full(len(band), np.inf)
    ordered = -np.sort(-band, axis=1)
    largest = amplitude.max(axis=1)
    gap: _F64 = (ordered[:, top_k - 1] - ordered[:, top_k]) / np.where(largest > 0, largest, 1.0)
    return gap


def branch_weights(amplitude: _F64, bins: _I64, weighting: int, amplitude_scale: float) -> _F64:
    """Return the weights ``(b, top_k)`` of the branches: share of amplitude (0) or softmax of it (1)."""
    chosen: _F64 = np.take_along_axis(amplitude, bins, axis=1)
    if weighting == 1:
        powers = np.exp(amplitude_scale * chosen - (amplitude_scale * chosen).max(axis=1, keepdims=True))
        share: _F64 = powers / powers.sum(axis=1, keepdims=True)
        return share
    total = chosen.sum(axis=1, keepdims=True)
    weights: _F64 = np.divide(chosen, total, out=np.full_like(chosen, 1 / bins.shape[1]), where=total > 0)
    return weights


def convolve(images: _F64, kernels: Sequence[NDArray[Any]], biases: Sequence[NDArray[Any]]) -> _F64:
    """Return the mean of parallel zero-padded correlations.

    Args:
        images: ``(m, c, rows, columns)``.
        kernels: Each ``(o, c, s, s)`` with its own odd size ``s``.
        biases: Each ``(o,)``.

    Returns:
        ``(m, o, rows, columns)``.
    """
    m, _, rows, columns = images.shape
    out = np.zeros((kernels[0].shape[0], m, rows, columns))
    for kernel, bias in zip(kernels, biases, strict=True):
        half = kernel.shape[2] // 2
        padded = np.pad(images, ((0, 0), (0, 0), (half, half), (half, half)))
        for i in range(kernel.shape[2]):
            for j in range(kernel.shape[3]):
                if abs(i - half) >= rows or abs(j - half) >= columns:
                    continue  # this tap sees padding only
                seen = padded[:, :, i : i + rows, j : j + columns]
                out += np.tensordot(np.asarray(kernel[:, :, i, j], np.float64), seen, axes=(1, 1))
        out += np.asarray(bias, np.float64)[:, None, None, None]
    return out.transpose(1, 0, 2, 3) / len(kernels)


def weighted_branches(
    x: NDArray[Any], periods: _I64, weights: _F64, perceive: Callable[[_F64], _F64]
) -> _F64:
    """Return ``x + sum_i w_i * unfold(perceive(fold_i(x)))``.

    Args:
        x: ``(b, l, c)``.
        periods: ``(b, k)`` in samples.
        weights: ``(b, k)``.
        perceive: Maps folded windows ``(m, c, rows, period)`` to the same shape.

    Returns:
        ``(b, l, c)``.
    """
    x = np.asarray(x, dtype=np.float64)
    _, length, channels = x.shape
    y = x.copy()
    for period in np.unique(periods):
        rows = -(-length // period)
        window, branch = np.nonzero(periods == period)
        padded = np.zeros((len(window), rows * period, channels))
        padded[:, :length] = x[window]
        folded = padded.reshape(-1, rows, period, channels).transpose(0, 3, 1, 2)
        seen = perceive(folded).transpose(0, 2, 3, 1).reshape(padded.shape)[:, :length]
        np.add.at(y, window, weights[window, branch, None, None] * seen)
    return y


def gelu(x: _F64) -> _F64:
    """Return ``x * Phi(x)`` with the normal distribution function ``Phi``."""
    result: _F64 = 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))
    return result


def multi_scale_temporal_block(
    x: NDArray[Any],
    w1: NDArray[Any],
    b1: NDArray[Any],
    w2: NDArray[Any],
    b2: NDArray[Any],
    *,
    top_k: int,
    min_bin: int = 1,
    max_bin: int = 0,
    weighting: int = 0,
    amplitude_scale: float = 1.0,
    period_rule: int = 0,
) -> _F64:
    """Run the block (Zhou et al. 2024, arXiv 2409.07589; a relative of TimesNet's TimesBlock).

    Args:
        x: Windows ``(b, l, c)``.
        w1: First fused kernel ``(f, c, k, k)``: first axis across patches, second within a patch.
        b1: ``(f,)``.
        w2: Second fused kernel ``(c, f, k, k)``.
        b2: ``(c,)``.
        top_k: Number of periods.
        min_bin: First Fourier bin allowed.
        max_bin: Last one; 0 means ``l // 2``.
        weighting: 0: share of amplitude; 1: softmax of ``amplitude_scale`` times amplitude.
        amplitude_scale: See ``weighting``.
        period_rule: How a bin gives a period, see :func:`choose_periods`.

    Returns:
        ``x`` plus the weighted branches, ``(b, l, c)``.
    """
    amplitude = spectrum(x)
    periods, bins = choose_periods(amplitude, x.shape[1], top_k, min_bin, max_bin, period_rule)
    weights = branch_weights(amplitude, bins, weighting, amplitude_scale)
    return weighted_branches(
        x, periods, weights, lambda folded: convolve(gelu(convolve(folded, [w1], [b1])), [w2], [b2])
    )

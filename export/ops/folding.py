"""The parts of the temporal block in plain torch operations: spectrum, periods, folding, convolution.

Every window has its own periods. Windows are grouped by period, not looped over, and a kernel is cropped to
the taps that can see something other than padding: that makes training on a CPU practical.

Three choices make the answer well defined where the formula is not (the NumPy oracle and the ONNX body
make the same ones):

* Ties of amplitude: the lower bin first.
* The spectrum is taken of ``x - x[0]`` per channel. Bins above 0 do not change, and a channel that does not
  move gives exact zeros, where a transform of its offset leaves rounding noise that chooses the periods.
* If all chosen amplitudes are 0 (no channel moves) the amplitude weights are ``1 / top_k`` each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "PERIOD_RULES",
    "WEIGHTINGS",
    "branch_weights",
    "choose_bins",
    "convolve",
    "crop",
    "fold",
    "fused_perception",
    "groups",
    "periods_of",
    "spectrum",
    "unfold",
    "weighted_branches",
]

WEIGHTINGS = {"amplitude": 0, "softmax": 1}
"""Values of the op's attribute ``weighting``."""
PERIOD_RULES = {"ceil": 0, "floor": 1}
"""Values of the op's attribute ``period_rule``: how ``l / bin`` is rounded. TimesNet's is ``"floor"``."""


def spectrum(x: Tensor) -> Tensor:
    """Return the mean over channels of the Fourier amplitudes of ``x (b, l, c)``: ``(b, l // 2 + 1)``.

    Bin 0 means nothing: the offset of ``x[0]`` is taken off.
    """
    bins: Tensor = torch.fft.rfft(x - x[:, :1], dim=1)
    return bins.abs().mean(dim=2)


def choose_bins(amplitude: Tensor, top_k: int, min_bin: int, max_bin: int) -> Tensor:
    """Return the bins of largest amplitude ``(b, top_k)`` int64, largest first, ties: lower bin first.

    Args:
        amplitude: ``(b, l // 2 + 1)``.
        top_k: How many.
        min_bin: First bin allowed, at least 1.
        max_bin: Last bin allowed; 0 means ``l // 2``.
    """
    band = amplitude[:, min_bin : (max_bin or amplitude.shape[1] - 1) + 1]
    # Not topk: it does not promise an order of equal values.
    return torch.sort(band, dim=1, descending=True, stable=True).indices[:, :top_k] + min_bin


def branch_weights(amplitude: Tensor, bins: Tensor, weighting: int, amplitude_scale: float) -> Tensor:
    """Return the weight of each branch ``(b, k)``: share of amplitude (0) or softmax of amplitudes (1)."""
    chosen = amplitude.gather(1, bins)
    if weighting == WEIGHTINGS["softmax"]:
        return torch.softmax(amplitude_scale * chosen, dim=1)
    total = chosen.sum(dim=1, keepdim=True)
    moves = total > 0
    return torch.where(moves, chosen / torch.where(moves, total, 1.0), 1 / bins.shape[1])


def periods_of(bins: Tensor, length: int, period_rule: int) -> Tensor:
    """Return the period of each bin of a window of ``length`` samples."""
    return length // bins if period_rule == PERIOD_RULES["floor"] else -(-length // bins)


def groups(periods: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield each distinct period with the indices ``(m,)`` of the windows and branches that have it."""
    for period in sorted(set(periods.flatten().tolist())):
        window, branch = (periods == period).nonzero(as_tuple=True)
        yield period, window, branch


def fold(x: Tensor, period: int) -> Tensor:
    """Zero-pad ``(m, l, c)`` and fold it to ``(m, c, rows, period)``.

    The channels stay innermost in memory (torch's ``channels_last``): no number is moved but for the padding,
    and convolutions of few channels take half the time.
    """
    rows = -(-x.shape[1] // period)
    padded = F.pad(x, (0, 0, 0, rows * period - x.shape[1]))
    return torch.unflatten(padded, 1, (rows, period)).permute(0, 3, 1, 2)


def unfold(images: Tensor, length: int) -> Tensor:
    """Undo :func:`fold`: ``(m, c, rows, period)`` to ``(m, l, c)``."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)[:, :length]


def weighted_branches(
    x: Tensor, periods: Tensor, weights: Tensor, perceive: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return ``x + sum_i w_i * unfold(perceive(fold_i(x)))`` ``(b, l, c)``.

    Args:
        x: ``(b, l, c)``.
        periods: ``(b, k)`` in samples.
        weights: ``(b, k)``.
        perceive: Maps folded windows ``(m, c, rows, period)`` to the same shape.
    """
    y = x
    for period, window, branch in groups(periods):
        seen = unfold(perceive(fold(x[window], period)), x.shape[1])
        y = y.index_add(0, window, weights[window, branch, None, None] * seen)
    return y


def crop(kernel: Tensor, rows: int, columns: int) -> Tensor:
    """Return the taps of a centred kernel that can reach another place of a ``rows`` x ``columns`` image."""
    half = kernel.shape[-1] // 2
    down, right = min(half, rows - 1), min(half, columns - 1)
    return kernel[..., half - down : half + down + 1, half - right : half + right + 1]


def convolve(images: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Correlate images ``(m, c, rows, columns)`` with an odd kernel ``(o, c, i, j)`` to the same size."""
    return F.conv2d(images, kernel, bias, padding=(kernel.shape[2] // 2, kernel.shape[3] // 2))


def fused_perception(images: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Run both perceptions with one kernel each on ``(m, c, rows, columns)``."""
    rows, columns = images.shape[2:]
    hidden = F.gelu(convolve(images, crop(w1, rows, columns), b1))
    return convolve(hidden, crop(w2, rows, columns), b2)

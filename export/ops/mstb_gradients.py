"""The temporal block with its own backward pass, in vectorised torch operations, on any device.

What the first pass makes is held for the second. Folded windows and kernels may be computed in a lower
precision; spectrum, periods, weights and sums stay in the type of the windows. Nothing flows through the
periods: they are piecewise constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mimamba_edge.export.ops.folding import (
    WEIGHTINGS,
    branch_weights,
    choose_bins,
    convolve,
    crop,
    fold,
    groups,
    periods_of,
    unfold,
)

__all__ = ["Attributes", "block_with_gradients", "run"]

Attributes = tuple[int, int, int, int, float, int]
"""``top_k, min_bin, max_bin, weighting, amplitude_scale, period_rule``, in the op's order."""
_ROOT = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class _Group:
    """All folds by one period.

    Attributes:
        window: Index of the window of each fold ``(m,)``.
        branch: Which of the window's branches it is ``(m,)``.
        images: Folded windows ``(m, c, rows, period)``.
        before: Input of the GELU ``(m, f, rows, period)``.
        normal: Normal distribution function of it: the GELU is ``before * normal``.
        seen: What the branch gives, unweighted ``(m, l, c)``.
    """

    window: Tensor
    branch: Tensor
    images: Tensor
    before: Tensor
    normal: Tensor
    seen: Tensor


@dataclass(frozen=True)
class _Pass:
    """What a first pass makes.

    Attributes:
        y: The block's output.
        transform: Fourier transform of the windows ``(b, l // 2 + 1, c)``.
        bins: Chosen ``(b, k)``.
        weights: Of the branches ``(b, k)``.
        kernels: Both, in the type they were used in.
        groups: Folds by period.
    """

    y: Tensor
    transform: Tensor
    bins: Tensor
    weights: Tensor
    kernels: tuple[Tensor, Tensor]
    groups: list[_Group]

    def gradients(
        self, grad_y: Tensor, weighting: int, amplitude_scale: float, *, of_x: bool
    ) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of x (if asked), w1, b1, w2, b2 in the type of ``grad_y``."""
        length = grad_y.shape[1]
        first, second = self.kernels
        grad_x, grad_weights = grad_y.clone(), torch.zeros_like(self.weights)
        grad_first, grad_second = (torch.zeros_like(kernel, dtype=grad_y.dtype) for kernel in self.kernels)
        grad_b1, grad_b2 = (grad_y.new_zeros(kernel.shape[0]) for kernel in self.kernels)
        for group in self.groups:
            rows, period = group.images.shape[2:]
            reached = grad_y[group.window]
            if of_x:
                grad_weights[group.window, group.branch] = (group.seen * reached).sum((1, 2))
            reached = reached * self.weights[group.window, group.branch, None, None]
            grad_b2 += reached.sum((0, 1))
            grad_hidden, grad_kernel = _convolution_backward(
                fold(reached, period).to(second.dtype),
                group.before * group.normal,
                crop(second, rows, period),
            )
            crop(grad_second, rows, period).add_(grad_kernel)
            slope = group.before.square().mul_(-0.5).exp_().mul_(group.before).mul_(_DENSITY)
            grad_before = slope.add_(group.normal).mul_(grad_hidden)
            grad_b1 += grad_before.sum((0, 2, 3))
            grad_images, grad_kernel = _convolution_backward(
                grad_before, group.images, crop(first, rows, period), of_x
            )
            crop(grad_first, rows, period).add_(grad_kernel)
            if of_x:
                grad_x.index_add_(0, group.window, unfold(grad_images, length).to(grad_x.dtype))
        if not of_x:
            return None, grad_first, grad_b1, grad_second, grad_b2
        grad_x += _through_weights(
            grad_weights, self.weights, self.transform, self.bins, weighting, amplitude_scale, length
        )
        return grad_x, grad_first, grad_b1, grad_second, grad_b2


def run(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, attributes: Attributes, kind: torch.dtype
) -> _Pass:
    """Run the block on windows ``(b, l, c)``; the convolutions in ``kind``."""
    top_k, min_bin, max_bin, weighting, amplitude_scale, period_rule = attributes
    transform = torch.fft.rfft(x - x[:, :1], dim=1)
    amplitude = transform.abs().mean(dim=2)
    bins = choose_bins(amplitude, top_k, min_bin, max_bin)
    weights = branch_weights(amplitude, bins, weighting, amplitude_scale)
    first, second = (w.to(kind, memory_format=torch.channels_last) for w in (w1, w2))  # as the images
    y, held = x.clone(), []
    for period, window, branch in groups(periods_of(bins, x.shape[1], period_rule)):
        images = fold(x[window], period).to(kind)
        rows = images.shape[2]
        before = convolve(images, crop(first, rows, period), b1.to(kind))
        # Not torch's GELU, which sets itself up anew for each shape: that takes longer than the GELU.
        normal = torch.erf(before * _ROOT).add_(1).mul_(0.5)
        out = convolve(before * normal, crop(second, rows, period), b2.to(kind))
        seen = unfold(out, x.shape[1]).to(x.dtype)
        y.index_add_(0, window, weights[window, branch, None, None] * seen)
        held.append(_Group(window, branch, images, before, normal, seen))
    return _Pass(y, transform, bins, weights, (first, second), held)


class _Block(torch.autograd.Function):
    """The block as autograd sees it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, attributes: Attributes
    ) -> Tensor:
        device = x.device.type
        mixed = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False):
            held = run(x, w1, b1, w2, b2, attributes, torch.get_autocast_dtype(device) if mixed else x.dtype)
        ctx.held, ctx.attributes = held, attributes
        return held.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        weighting, amplitude_scale = ctx.attributes[3:5]
        held, ctx.held = ctx.held, None
        with torch.autocast(grad_y.device.type, enabled=False):
            grads = held.gradients(grad_y, weighting, amplitude_scale, of_x=ctx.needs_input_grad[0])
        return *grads, None


def block_with_gradients(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, attributes: Attributes
) -> Tensor:
    """Run the block for training: as the op, and ``y (b, l, c)`` in the type of x.

    Under autocast the convolutions have autocast's type.
    """
    y: Tensor = _Block.apply(x, w1, b1, w2, b2, attributes)  # type: ignore[no-untyped-call]
    return y


def _convolution_backward(
    grad: Tensor, images: Tensor, kernel: Tensor, of_images: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the input (if asked) and the kernel of ``convolve``."""
    padding = [kernel.shape[2] // 2, kernel.shape[3] // 2]
    grad_images, grad_kernel, _ = torch.ops.aten.convolution_backward(
        grad, images, kernel, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [of_images, True, False]
    )
    return grad_images, grad_kernel


def _through_weights(
    grad_weights: Tensor,
    weights: Tensor,
    transform: Tensor,
    bins: Tensor,
    weighting: int,
    amplitude_scale: float,
    length: int,
) -> Tensor:
    """Return the gradient ``(b, l, c)`` that reaches x through the branch weights ``(b, k)``."""
    channels = transform.shape[2]
    chosen = transform.gather(1, bins[:, :, None].expand(-1, -1, channels))
    centred = grad_weights - (grad_weights * weights).sum(1, keepdim=True)
    if weighting == WEIGHTINGS["softmax"]:
        grad_amplitude = amplitude_scale * weights * centred
    else:
        total = chosen.abs().mean(2).sum(1, keepdim=True)
        grad_amplitude = torch.where(total > 0, centred / torch.where(total > 0, total, 1.0), 0.0)
    # d|X_f| / dx_t = Re(X_f / |X_f| * exp(2 pi i f t / l)); the offset x[0] cancels in every bin above 0.
    turns = bins[:, :, None] * torch.arange(length, device=bins.device) % length
    angle = turns.to(weights.dtype) * (2 * math.pi / length)
    wave = torch.polar(torch.ones_like(angle), angle) * grad_amplitude[:, :, None] / channels
    return torch.einsum("bkc,bkl->blc", torch.sgn(chosen), wave).real

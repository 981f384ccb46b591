"""MultiScaleTemporalBlock in PyTorch: plain reference and custom op ``mimamba::multi_scale_temporal_block``.

The formulas, and what is chosen where they leave a choice, stand in :mod:`mimamba_edge.export.ops.folding`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mimamba_edge.errors import ConfigError
from mimamba_edge.export.ops.folding import (
    PERIOD_RULES,
    WEIGHTINGS,
    branch_weights,
    choose_bins,
    fused_perception,
    periods_of,
    spectrum,
    weighted_branches,
)
from mimamba_edge.export.ops.mstb_gradients import run

__all__ = ["multi_scale_temporal_block", "multi_scale_temporal_block_ref"]

_MAX_TOP_K = 8
_MAX_KERNEL = 15


def multi_scale_temporal_block_ref(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    *,
    top_k: int,
    min_bin: int = 1,
    max_bin: int = 0,
    weighting: int = 0,
    amplitude_scale: float = 1.0,
    period_rule: int = 0,
) -> Tensor:
    """Run the block in plain torch operations; arguments as :func:`multi_scale_temporal_block`."""
    _check(x, w1, b1, w2, b2, top_k, min_bin, max_bin, weighting, period_rule)
    amplitude = spectrum(x)
    bins = choose_bins(amplitude, top_k, min_bin, max_bin)
    weights = branch_weights(amplitude, bins, weighting, amplitude_scale)
    first, second = (w.to(x.dtype, memory_format=torch.channels_last) for w in (w1, w2))  # as the images
    periods = periods_of(bins, x.shape[1], period_rule)
    y = weighted_branches(x, periods, weights, lambda images: fused_perception(images, first, b1, second, b2))
    return y.to(w1.dtype)


def _check(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    top_k: int,
    min_bin: int,
    max_bin: int,
    weighting: int,
    period_rule: int,
) -> None:
    """Raise ConfigError naming what does not fit."""
    what = "multi_scale_temporal_block: "
    if x.ndim != 3 or x.dtype not in (torch.float32, torch.float64):
        raise ConfigError(
            f"{what}x has a wrong shape or type", got=(tuple(x.shape), x.dtype), expected="(b, l, c) float32"
        )
    size = w1.shape[-1]
    if w1.ndim != 4 or size % 2 == 0 or size > _MAX_KERNEL:
        raise ConfigError(
            f"{what}w1 has a wrong shape",
            got=tuple(w1.shape),
            expected=f"(f, c, k, k), k odd and at most {_MAX_KERNEL}",
        )
    features, channels = w1.shape[0], x.shape[2]
    fitting = {
        "w1": (w1, (features, channels, size, size)),
        "b1": (b1, (features,)),
        "w2": (w2, (channels, features, size, size)),
        "b2": (b2, (channels,)),
    }
    for name, (tensor, shape) in fitting.items():
        if tuple(tensor.shape) != shape:
            raise ConfigError(f"{what}{name} has a wrong shape", got=tuple(tensor.shape), expected=shape)
    wide = x.dtype == torch.float64
    types = (torch.float64,) if wide else (torch.float16, torch.bfloat16, torch.float32)
    if w1.dtype != w2.dtype or w1.dtype not in types:
        raise ConfigError(
            f"{what}w1 and w2 have a wrong type", got=(w1.dtype, w2.dtype), expected=f"one of {types}"
        )
    if b1.dtype != x.dtype or b2.dtype != x.dtype:
        raise ConfigError(f"{what}b1 and b2 have a wrong type", got=(b1.dtype, b2.dtype), expected=x.dtype)
    last = max_bin or x.shape[1] // 2
    if not (1 <= min_bin <= last <= x.shape[1] // 2 and 1 <= top_k <= min(_MAX_TOP_K, last - min_bin + 1)):
        raise ConfigError(
            f"{what}top_k bins cannot be chosen from the bins allowed",
            got=f"top_k {top_k}, min_bin {min_bin}, max_bin {max_bin}, l {x.shape[1]}",
            expected=f"1 <= min_bin <= max_bin <= l // 2, top_k at most {_MAX_TOP_K} and at most the bins",
        )
    if weighting not in WEIGHTINGS.values():
        raise ConfigError(f"{what}weighting is unknown", got=weighting, expected=WEIGHTINGS)
    if period_rule not in PERIOD_RULES.values():
        raise ConfigError(f"{what}period_rule is unknown", got=period_rule, expected=PERIOD_RULES)


@torch.library.custom_op("mimamba::multi_scale_temporal_block", mutates_args=())
def mstb_op(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    top_k: int,
    min_bin: int,
    max_bin: int,
    weighting: int,
    amplitude_scale: float,
    period_rule: int,
) -> Tensor:
    options = {"top_k": top_k, "min_bin": min_bin, "max_bin": max_bin, "weighting": weighting}
    options |= {"period_rule": period_rule}
    with torch.autocast(x.device.type, enabled=False):
        return multi_scale_temporal_block_ref(
            x, w1, b1, w2, b2, **options, amplitude_scale=amplitude_scale
        ).contiguous()


@mstb_op.register_fake
def _(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    top_k: int,
    min_bin: int,
    max_bin: int,
    weighting: int,
    amplitude_scale: float,
    period_rule: int,
) -> Tensor:
    _check(x, w1, b1, w2, b2, top_k, min_bin, max_bin, weighting, period_rule)
    return x.new_empty(x.shape, dtype=w1.dtype)


@torch.library.custom_op("mimamba::multi_scale_temporal_block_backward", mutates_args=())
def _mstb_backward_op(
    grad_y: Tensor,
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    top_k: int,
    min_bin: int,
    max_bin: int,
    weighting: int,
    amplitude_scale: float,
    period_rule: int,
    of_x: bool,
) -> list[Tensor]:
    """Return the gradients of x (empty unless ``of_x``), w1, b1, w2, b2."""
    attributes = (top_k, min_bin, max_bin, weighting, amplitude_scale, period_rule)
    with torch.autocast(x.device.type, enabled=False):
        held = run(x, w1, b1, w2, b2, attributes, x.dtype)
        grad_x, *others = held.gradients(grad_y.to(x.dtype), weighting, amplitude_scale, of_x=of_x)
    given = (w1, b1, w2, b2)
    return [
        x.new_empty(0) if grad_x is None else grad_x,
        *(grad.to(t.dtype) for grad, t in zip(others, given, strict=True)),
    ]


@_mstb_backward_op.register_fake
def _(
    grad_y: Tensor,
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    top_k: int,
    min_bin: int,
    max_bin: int,
    weighting: int,
    amplitude_scale: float,
    period_rule: int,
    of_x: bool,
) -> list[Tensor]:
    return [x.new_empty(x.shape if of_x else 0), *(t.new_empty(t.shape) for t in (w1, b1, w2, b2))]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.attributes = inputs[5:]


def _backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    of_x = ctx.needs_input_grad[0]
    grad_x, *others = _mstb_backward_op(grad_y, *ctx.saved_tensors, *ctx.attributes, of_x)
    return grad_x if of_x else None, *others, *(None,) * 6


mstb_op.register_autograd(_backward, setup_context=_setup_context)


def multi_scale_temporal_block(
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    *,
    top_k: int,
    min_bin: int = 1,
    max_bin: int = 0,
    weighting: int = 0,
    amplitude_scale: float = 1.0,
    period_rule: int = 0,
) -> Tensor:
    """Run the block through the custom op, so that an export keeps it as one node.

    Zhou et al. 2024 (arXiv 2409.07589), a relative of TimesNet's TimesBlock: fold the window by each of its
    ``top_k`` strongest periods, convolve twice in two dimensions, unfold, weigh by amplitude, add.

    Equivalent, where a channel moves, to::

        l, y = x.shape[1], x.clone()
        amplitude = torch.fft.rfft(x - x[:, :1], dim=1).abs().mean(2)
        band = amplitude[:, min_bin : (max_bin or l // 2) + 1]
        chosen, bins = torch.sort(band, dim=1, descending=True, stable=True)
        chosen, bins = chosen[:, :top_k], bins[:, :top_k] + min_bin
        share = chosen / chosen.sum(1, keepdim=True)
        if weighting == 1:
            share = torch.softmax(amplitude_scale * chosen, 1)
        for window in range(len(x)):
            for weight, f in zip(share[window], bins[window].tolist()):
                period = l // f if period_rule == 1 else -(-l // f)
                rows = -(-l // period)
                image = F.pad(x[window].T, (0, rows * period - l)).reshape(1, -1, rows, period)
                hidden = F.gelu(F.conv2d(image, w1, b1, padding="same"))
                image = F.conv2d(hidden, w2, b2, padding="same")
                y[window] += weight * image[0].flatten(1)[:, :l].T

    Args:
        x: Windows ``(b, l, c)`` float32 (float64 for checks).
        w1: First fused kernel ``(f, c, k, k)``, type T (float16, bfloat16 or float32), k odd, at most 15; its
            first axis runs across patches, its second within a patch.
        b1: ``(f,)``, type of x.
        w2: Second fused kernel ``(c, f, k, k)`` T.
        b2: ``(c,)``, type of x.
        top_k: Number of periods, at most 8.
        min_bin: First Fourier bin allowed, at least 1.
        max_bin: Last one; 0 means ``l // 2``.
        weighting: One of :data:`WEIGHTINGS`: share of amplitude, or softmax of ``amplitude_scale`` times it.
        amplitude_scale: See ``weighting``.
        period_rule: One of :data:`PERIOD_RULES`.

    Returns:
        ``x`` plus the weighted branches, ``(b, l, c)`` T, computed in the type of x and rounded once.

    Raises:
        ConfigError: A tensor or attribute does not fit; the message names it.
    """
    _check(x, w1, b1, w2, b2, top_k, min_bin, max_bin, weighting, period_rule)
    y: Tensor = mstb_op(x, w1, b1, w2, b2, top_k, min_bin, max_bin, weighting, amplitude_scale, period_rule)
    return y

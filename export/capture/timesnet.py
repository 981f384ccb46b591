"""TimesNet's TimesBlock through our op.

Wu et al. 2023, arXiv 2210.02186; thuml/Time-Series-Library, models/TimesNet.py. The block chooses periods on
the host while it runs, which no exporter can follow. It is our MultiScaleTemporalBlock with periods rounded
down, branches weighted by the softmax of their amplitudes, and two Inception blocks, each a mean of parallel
convolutions and so one convolution.

One difference: the block chooses one set of periods for a whole batch, by the mean of the amplitudes; our op
chooses for each sample. They agree where a batch holds one sample, and only ours gives a sample the same
answer in every batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.errors import ExportError
from mimamba_edge.export.ops.folding import PERIOD_RULES, WEIGHTINGS
from mimamba_edge.export.ops.mstb import multi_scale_temporal_block

__all__ = ["times_block"]


def times_block(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Return what stands in for the forward of a TimesBlock; ``None`` of another module.

    It takes ``(b, l, c)`` and returns the same shape.
    """
    conv, top_k = getattr(module, "conv", None), getattr(module, "k", None)
    if not isinstance(top_k, int):
        return None
    named = type(module).__name__ == "TimesBlock"
    if not named or not isinstance(conv, nn.Sequential) or len(conv) != 3:
        return None
    first, act, second = conv
    if not isinstance(act, nn.GELU) or act.approximate != "none":
        return None
    kernels = [_mean_of(part) for part in (first, second)]
    if kernels[0] is None or kernels[1] is None:
        return None
    (w1, b1), (w2, b2) = kernels[0], kernels[1]
    length = getattr(module, "seq_len", 0) + getattr(module, "pred_len", 0)

    def forward(x: Tensor) -> Tensor:
        if x.shape[1] != length:
            raise ExportError(
                "a TimesBlock was shown a window of another length than it is made for",
                got=f"{x.shape[1]} samples",
                expected=f"seq_len + pred_len = {length}",
                do="give the size of --input that the model was made with",
            )
        return multi_scale_temporal_block(
            x,
            w1,
            b1,
            w2,
            b2,
            top_k=top_k,
            weighting=WEIGHTINGS["softmax"],
            period_rule=PERIOD_RULES["floor"],
        )

    return forward


def _mean_of(block: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return kernel and bias of the convolution that an Inception block is; ``None`` of another module."""
    parts = getattr(block, "kernels", None)
    if not isinstance(parts, nn.ModuleList) or not parts or not all(map(_keeps_size, parts)):
        return None
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    largest = max(part.kernel_size[0] for part in convolutions)
    with torch.no_grad():
        padded = [F.pad(part.weight, [(largest - part.kernel_size[0]) // 2] * 4) for part in convolutions]
        biases = [
            part.weight.new_zeros(len(part.weight)) if part.bias is None else part.bias
            for part in convolutions
        ]
        return torch.stack(padded).mean(0), torch.stack(biases).mean(0)


def _keeps_size(part: nn.Module) -> bool:
    if not isinstance(part, nn.Conv2d):
        return False
    size = part.kernel_size[0]
    plain = part.stride == (1, 1) and part.dilation == (1, 1) and part.groups == 1
    same = part.padding == (size // 2, size // 2) and part.padding_mode == "zeros"
    return plain and same and part.kernel_size == (size, size) and size % 2 == 1

"""The network with its temporal block looped window by window: what one writes from the paper."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.export.families.msimamba.mstb import MultiScalePerception, MultiScaleTemporalBlock
from mimamba_edge.export.families.msimamba.network import MSiMamba

__all__ = ["looped"]


class _LoopedBlock(nn.Module):
    """TimesNet's ``TimesBlock`` (Wu et al. 2023) with the periods of each window, as arXiv 2409.07589 has it.

    Autograd does the backward pass. Where no channel moves nothing is defined.
    """

    def __init__(self, block: MultiScaleTemporalBlock, *, one_kernel: bool) -> None:
        super().__init__()
        self.config, self.one_kernel = block.config, one_kernel
        self.msp1, self.msp2 = block.msp1, block.msp2

    def forward(self, x: Tensor) -> Tensor:
        c, length, windows = self.config, x.shape[1], []
        first, second = self._perceptions()
        for window in x:
            amplitude = torch.fft.rfft(window, dim=0).abs().mean(1)
            strongest, bins = torch.topk(amplitude[c.min_bin : (c.max_bin or length // 2) + 1], c.top_k)
            weights = strongest / strongest.sum()
            y = window
            for weight, f in zip(weights, (bins + c.min_bin).tolist(), strict=True):
                period = -(-length // f)
                rows = -(-length // period)
                image = F.pad(window.T, (0, rows * period - length)).reshape(1, -1, rows, period)
                image = second(F.gelu(first(image)))
                y = y + weight * image.flatten(2)[0, :, :length].T
            windows.append(y)
        return torch.stack(windows)

    def _perceptions(self) -> tuple[nn.Module | _OneKernel, nn.Module | _OneKernel]:
        if self.one_kernel:
            return _OneKernel(self.msp1), _OneKernel(self.msp2)
        return self.msp1, self.msp2


class _OneKernel:
    """A perception as the one convolution that its parallel ones are equal to."""

    def __init__(self, perception: MultiScalePerception) -> None:
        self.weight, self.bias = perception.fused()

    def __call__(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.weight, self.bias, padding="same")


def looped(model: MSiMamba, *, one_kernel: bool = False) -> MSiMamba:
    """Return a copy of a network with weighting by amplitude whose temporal block is looped.

    Args:
        model: Ours.
        one_kernel: Loop with the parallel convolutions fused into one, which is ours, not the paper's.
    """
    other = copy.deepcopy(model)
    other.mstb = _LoopedBlock(other.mstb, one_kernel=one_kernel)  # type: ignore[assignment]
    return other

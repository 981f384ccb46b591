"""The multi-scale temporal block as a module: parallel kernels in training, one fused kernel in the op."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.errors import ConfigError
from mimamba_edge.export.families.msimamba.config import ModelConfig
from mimamba_edge.export.ops.folding import (
    PERIOD_RULES,
    WEIGHTINGS,
    branch_weights,
    choose_bins,
    fused_perception,
    spectrum,
    weighted_branches,
)
from mimamba_edge.export.ops.mstb import multi_scale_temporal_block
from mimamba_edge.export.ops.mstb_gradients import block_with_gradients

__all__ = ["MultiScalePerception", "MultiScaleTemporalBlock"]


class MultiScalePerception(nn.Module):
    """The mean of parallel convolutions of sizes 1, 3, ..., ``2 n_kernels - 1`` with same padding.

    TimesNet's ``Inception_Block_V1`` (Wu et al. 2023), its initialisation included. The mean is linear, so
    it equals one convolution with the mean of the zero-padded kernels: :meth:`fused`.

    Args:
        in_channels: Maps in.
        out_channels: Maps out.
        n_kernels: Number of kernels.
    """

    fused_weight: Tensor | None
    fused_bias: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, n_kernels: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(in_channels, out_channels, 2 * i + 1, padding=i) for i in range(n_kernels)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, conv.bias))
        self.convs = nn.ModuleList(convs)
        self.register_buffer("fused_weight", None, persistent=False)
        self.register_buffer("fused_bias", None, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Run the convolutions side by side: ``(m, c, rows, columns)`` to ``(m, o, rows, columns)``."""
        return torch.stack([conv(images) for conv in self.convs]).mean(0)

    def fused(self) -> tuple[Tensor, Tensor]:
        """Return the one kernel ``(o, c, k, k)`` and bias ``(o,)``; gradients flow to the parallel ones."""
        if self.fused_weight is not None and self.fused_bias is not None:
            return self.fused_weight, self.fused_bias
        n = len(self.convs)
        weights = [F.pad(cast(Tensor, conv.weight), (n - 1 - i,) * 4) for i, conv in enumerate(self.convs)]
        biases = [cast(Tensor, conv.bias) for conv in self.convs]
        return torch.stack(weights).mean(0), torch.stack(biases).mean(0)

    def freeze(self) -> None:
        """Compute the fused kernel once and for all; later changes of the parameters are not seen."""
        weight, bias = self.fused()
        self.fused_weight, self.fused_bias = weight.detach(), bias.detach()


class MultiScaleTemporalBlock(nn.Module):
    """``x + sum_i w_i * MSP2(gelu(MSP1(fold_i(x))))`` over the window's ``top_k`` strongest periods.

    Args:
        config: The network's configuration.

    Attributes:
        convolution: ``"fused"``: through the custom op, one kernel a perception. ``"parallel"``: plain torch
            operations with the parallel convolutions, the form the others are compared with.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.convolution = "fused"
        self.msp1 = MultiScalePerception(config.n_chans, config.d_ff, config.n_kernels)
        self.msp2 = MultiScalePerception(config.d_ff, config.n_chans, config.n_kernels)

    def choose(self, x: Tensor, across_batch: bool = False) -> tuple[Tensor, Tensor]:
        """Return periods in samples and weights, ``(b, top_k)`` each, of windows ``(b, l, c)``.

        Args:
            x: Windows.
            across_batch: Give all windows the periods of the batch's mean spectrum (TimesNet).
        """
        c = self.config
        amplitude = spectrum(x)
        judged = amplitude.mean(0, keepdim=True).expand_as(amplitude) if across_batch else amplitude
        bins = choose_bins(judged, c.top_k, c.min_bin, c.max_bin)
        weights = branch_weights(amplitude, bins, WEIGHTINGS[c.weighting], c.amplitude_scale)
        return -(-x.shape[1] // bins), weights

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on windows ``(b, l, c)``."""
        c = self.config
        shared = self.training and c.period_selection == "batch"
        if self.convolution == "parallel":
            return weighted_branches(
                x, *self.choose(x, shared), lambda images: self.msp2(F.gelu(self.msp1(images)))
            )
        if self.convolution != "fused":
            raise ConfigError(
                "unknown convolution of the temporal block",
                got=self.convolution,
                expected="fused or parallel",
            )
        kernels = *self.msp1.fused(), *self.msp2.fused()
        if shared:
            return weighted_branches(
                x, *self.choose(x, shared), lambda images: fused_perception(images, *kernels)
            )
        if self.training and not torch.compiler.is_compiling():
            weighting = WEIGHTINGS[c.weighting]
            attributes = (c.top_k, c.min_bin, c.max_bin, weighting, c.amplitude_scale, PERIOD_RULES["ceil"])
            return block_with_gradients(x, *kernels, attributes)
        return multi_scale_temporal_block(
            x,
            *kernels,
            top_k=c.top_k,
            min_bin=c.min_bin,
            max_bin=c.max_bin,
            weighting=WEIGHTINGS[c.weighting],
            amplitude_scale=c.amplitude_scale,
        )

"""Networks of the families that the paper compares with, small, for rows of a table beside ours.

Each is the classification form of its authors' library (thuml/Time-Series-Library, MIT licence), with the
sizes of its scripts for windows like ours. They take what ``train --model`` gives a factory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.export.families.msimamba.mstb import MultiScalePerception
from mimamba_edge.export.ops.folding import PERIOD_RULES, WEIGHTINGS
from mimamba_edge.export.ops.mstb import multi_scale_temporal_block

__all__ = ["DLinear", "ITransformer", "TimesBlock", "TimesNet"]

_DROPOUT = 0.1


class TimesBlock(nn.Module):
    """The signal and what two layers of 2-D kernels make of it, folded by its ``top_k`` strongest periods.

    ``TimesBlock`` of Wu et al., "TimesNet", ICLR 2023. The authors choose periods by the mean spectrum of a
    batch. Here each window has its own, so that its score does not depend on the windows beside it; for a
    batch of one window both are the same.

    Args:
        d_model: Maps in and out.
        d_ff: Maps between.
        top_k: Periods.
        n_kernels: Parallel kernels of each layer.
    """

    def __init__(self, d_model: int, d_ff: int, top_k: int, n_kernels: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.inner = MultiScalePerception(d_model, d_ff, n_kernels)
        self.outer = MultiScalePerception(d_ff, d_model, n_kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Run on ``(b, l, d_model)``."""
        return multi_scale_temporal_block(
            x,
            *self.inner.fused(),
            *self.outer.fused(),
            top_k=self.top_k,
            weighting=WEIGHTINGS["softmax"],
            period_rule=PERIOD_RULES["floor"],
        )


class TimesNet(nn.Module):
    """Wu et al., "TimesNet: Temporal 2D-Variation Modeling for General Time Series Analysis", ICLR 2023.

    Args:
        n_chans: Channels.
        n_times: Samples of a window.
        n_outputs: Classes.
        d_model: Maps.
        d_ff: Maps inside a block.
        n_layers: Blocks, one layer norm for all.
        top_k: Periods.
        n_kernels: Parallel kernels of a layer; the authors' 6 cost three times as much.
    """

    position: Tensor

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        n_outputs: int,
        *,
        d_model: int = 16,
        d_ff: int = 32,
        n_layers: int = 2,
        top_k: int = 3,
        n_kernels: int = 3,
    ) -> None:
        super().__init__()
        self.embedding = nn.Conv1d(n_chans, d_model, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.embedding.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.register_buffer("position", _positions(n_times, d_model), persistent=False)
        top_k = min(top_k, n_times // 2)
        self.blocks = nn.ModuleList([TimesBlock(d_model, d_ff, top_k, n_kernels) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(_DROPOUT)
        self.final_layer = nn.Linear(d_model * n_times, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Windows ``(b, c, l)`` to logits ``(b, n_outputs)``."""
        h = self.dropout(self.embedding(x).transpose(1, 2) + self.position)
        for block in self.blocks:
            h = self.norm(block(h))
        logits: Tensor = self.final_layer(self.dropout(F.gelu(h)).flatten(1))
        return logits


class ITransformer(nn.Module):
    """Liu et al., "iTransformer: Inverted Transformers Are Effective for Time Series Forecasting", ICLR 2024.

    One token a channel, attention over channels.

    Args:
        n_chans: Channels.
        n_times: Samples of a window.
        n_outputs: Classes.
        d_model: Width of a token.
        d_ff: Width inside a layer.
        n_layers: Layers.
        n_heads: Heads of the attention.
    """

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        n_outputs: int,
        *,
        d_model: int = 128,
        d_ff: int = 256,
        n_layers: int = 3,
        n_heads: int = 8,
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(n_times, d_model)
        layer = nn.TransformerEncoderLayer(d_model, n_heads, d_ff, _DROPOUT, "gelu", batch_first=True)
        norm = nn.LayerNorm(d_model)
        self.encoder = nn.TransformerEncoder(layer, n_layers, norm, enable_nested_tensor=False)
        self.dropout = nn.Dropout(_DROPOUT)
        self.final_layer = nn.Linear(n_chans * d_model, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Windows ``(b, c, l)`` to logits ``(b, n_outputs)``."""
        h = self.encoder(self.dropout(self.embedding(x)))
        logits: Tensor = self.final_layer(self.dropout(F.gelu(h)).flatten(1))
        return logits


class DLinear(nn.Module):
    """Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023.

    A moving mean and what it leaves, each through a linear map over time that all channels share: linear in
    the window, so that it cannot tell rhythms whose phase is random.

    Args:
        n_chans: Channels.
        n_times: Samples of a window.
        n_outputs: Classes.
        moving_average: Samples of the mean, an odd number.
    """

    def __init__(self, n_chans: int, n_times: int, n_outputs: int, *, moving_average: int = 25) -> None:
        super().__init__()
        self.moving_average = moving_average
        self.seasonal, self.trend = nn.Linear(n_times, n_times), nn.Linear(n_times, n_times)
        for linear in (self.seasonal, self.trend):
            nn.init.constant_(linear.weight, 1 / n_times)
        self.final_layer = nn.Linear(n_chans * n_times, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Windows ``(b, c, l)`` to logits ``(b, n_outputs)``."""
        side = (self.moving_average - 1) // 2
        mean = F.avg_pool1d(F.pad(x, (side, side), mode="replicate"), self.moving_average, stride=1)
        logits: Tensor = self.final_layer((self.seasonal(x - mean) + self.trend(mean)).flatten(1))
        return logits


def _positions(length: int, d_model: int) -> Tensor:
    """Return the sines and cosines ``(length, d_model)`` of Vaswani et al., 2017."""
    at = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, d_model, 2).float() * -(math.log(10_000.0) / d_model))
    return torch.stack([torch.sin(at * rate), torch.cos(at * rate)], dim=2).flatten(1)[:, :d_model]

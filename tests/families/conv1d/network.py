from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mimamba_edge.export.network import Network

if TYPE_CHECKING:
    from tests.families.conv1d import Conv1dConfig


class Conv1dNet(Network):
    """Band power: ``final_layer(mean_t(conv(x)^2))``."""

    family = "conv1d"

    def __init__(self, config: Conv1dConfig) -> None:
        super().__init__()
        self.config = config
        self.conv = nn.Conv1d(config.n_chans, config.n_filters, config.taps)
        self.final_layer = nn.Linear(config.n_filters, config.n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        logits: Tensor = self.final_layer((y * y).mean(-1))
        return logits

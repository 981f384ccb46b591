"""What the tools ask of a family's network beside its forward pass."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mimamba_edge.family import Config

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Network"]


class Network(nn.Module):
    """A network of some family: windows ``(b, n_chans, n_times)`` to logits ``(b, n_outputs)``.

    Its last layer is named ``final_layer``: what training fits where the backbone is frozen.

    Attributes:
        family: Name of its family.
        config: Its whole configuration.
    """

    family: str
    config: Config

    def frozen(self) -> Self:
        """Return a copy for inference, derived weights computed once: what is exported and run."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def plain(self) -> Self:
        """Return a copy for comparison: evaluation mode, plain torch operations, nothing fused."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def auxiliary(self, x: Tensor) -> dict[str, Tensor]:
        """Return the family's auxiliary outputs for windows."""
        return {}

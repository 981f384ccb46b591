"""What the tools ask of a family's network beside its forward pass, and what makes networks to train."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from torch import Tensor, nn

from mimamba_edge.contract import DEFAULT_FAMILY
from mimamba_edge.family import Config, family_named

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Blueprint", "FamilyBlueprint", "Network"]

Made_co = TypeVar("Made_co", bound=nn.Module, covariant=True)


class Network(nn.Module):
    """A network of some family: windows ``(b, n_chans, n_times)`` to logits ``(b, n_outputs)``.

    Its last layer is named ``final_layer``: what training fits where the backbone is frozen.

    Attributes:
        family: Name of its family.
        config: Its whole configuration.
    """

    family: str
    config: Config

    @property
    def n_chans(self) -> int:
        """Channels."""
        return self.config.n_chans

    @property
    def n_times(self) -> int:
        """Samples of a window."""
        return self.config.n_times

    @property
    def n_outputs(self) -> int:
        """Classes."""
        return self.config.n_outputs

    @property
    def sfreq(self) -> float:
        """Rate of the windows in Hz."""
        return self.config.sfreq

    @property
    def input_window_seconds(self) -> float:
        """Length of a window in seconds."""
        return self.n_times / self.sfreq

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one window as a batch."""
        return 1, self.n_chans, self.n_times

    def get_output_shape(self) -> tuple[int, ...]:
        """Return the shape of the logits of one window; like the other names here, braindecode's."""
        return 1, self.n_outputs

    def frozen(self) -> Self:
        """Return a copy for inference, derived weights computed once: what is exported and run."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def plain(self) -> Self:
        """Return a copy for comparison: evaluation mode, plain torch operations, nothing fused."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def auxiliary(self, x: Tensor) -> dict[str, Tensor]:
        """Return the family's auxiliary outputs for windows."""
        return {}


class Blueprint(Protocol[Made_co]):
    """What makes networks to train. It is sent to worker processes."""

    @property
    def config(self) -> Config:
        """Sizes and choices of the network; stands in its checkpoint."""

    def network(self) -> Made_co:
        """Return a new network with random weights of torch's generator: float32, on the CPU."""


@dataclass(frozen=True)
class FamilyBlueprint:
    """Makes networks of a family.

    Attributes:
        config: As the family takes it.
        family: Its name.
    """

    config: Config
    family: str = DEFAULT_FAMILY

    def network(self) -> Network:
        """Return a new network with random weights."""
        return family_named(self.family).network(self.config.to_dict())

"""What can be chosen for a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mimamba_edge.contract import Contract

if TYPE_CHECKING:
    from mimamba_edge.profile import Profile

__all__ = ["DEADLINE_MS", "StreamOptions"]

DEADLINE_MS = 5.0
"""What a window of several live streams waits for those of the others by default."""


@dataclass(frozen=True)
class StreamOptions:
    """What can be chosen for a stream; all else stands in the model's contract.

    Attributes:
        channel_map: Model's channel name to source's, where they differ.
        mains_hz: Mains frequency here; ``None``: the profile's, else that of the training.
        smooth_s: Time constant of :class:`mimamba_edge.stream.smoothing.Smoother`.
        hysteresis: Its margin.
        profile: Personal profile.
        deadline_ms: What a window waits for those of other live streams, where several share a model.
    """

    channel_map: Mapping[str, str] = field(default_factory=dict)
    mains_hz: float | None = None
    smooth_s: float = 0.0
    hysteresis: float = 0.0
    profile: Profile | None = None
    deadline_ms: float = DEADLINE_MS

    def effective(self, contract: Contract, model_sha256: str) -> Contract:
        """Return a model's contract, with the scaling of the profile if there is one.

        Raises:
            ContractError: The profile was made for another model.
        """
        return contract if self.profile is None else self.profile.apply(contract, model_sha256)

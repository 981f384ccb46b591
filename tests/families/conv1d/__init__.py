"""The smallest family: one convolution over time, mean power, a linear layer. Nothing is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError
from mimamba_edge.family import Family

if TYPE_CHECKING:
    from tests.families.conv1d.network import Conv1dNet

__all__ = ["FAMILY"]


@dataclass(frozen=True)
class Conv1dConfig:
    n_chans: int
    n_times: int
    n_outputs: int
    sfreq: float
    n_filters: int = 4
    taps: int = 9

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class _Conv1dFamily(Family):
    name = "conv1d"
    n_times = (16, 4096)

    def config(self, raw: Any) -> Conv1dConfig:
        try:
            return Conv1dConfig(**raw)
        except TypeError as error:
            raise ConfigError("the model configuration cannot work", got=error) from error

    def network(self, config: Mapping[str, Any]) -> Conv1dNet:
        from tests.families.conv1d.network import Conv1dNet

        return Conv1dNet(self.config(config))

    def oracle(
        self, windows: NDArray[Any], state: Mapping[str, NDArray[Any]], config: Any
    ) -> dict[str, NDArray[Any]]:
        kernel, bias = (np.float64(state[f"conv.{name}"]) for name in ("weight", "bias"))
        seen = np.lib.stride_tricks.sliding_window_view(np.float64(windows), kernel.shape[2], axis=2)
        power = ((np.einsum("bclt,fct->bfl", seen, kernel) + bias[:, None]) ** 2).mean(axis=2)
        return {"logits": power @ np.float64(state["final_layer.weight"]).T + state["final_layer.bias"]}

    def dense_macs(self, contract: Contract, windows: NDArray[np.float32]) -> dict[str, float]:
        m = contract.model
        steps = contract.n_times - m["taps"] + 1
        return {
            "conv": float(steps * contract.n_chans * m["n_filters"] * m["taps"]),
            "final": float(m["n_filters"] * contract.n_outputs),
        }


FAMILY = _Conv1dFamily()

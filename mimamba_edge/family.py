"""What differs between models, one folder a family, and the table that finds it.

The table is the one door through which code that runs on the device reaches the workstation half: the top
level of a family's folder imports NumPy only, and what needs torch or onnx is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import DEFAULT_FAMILY, FOREIGN_FAMILY, Contract
from mimamba_edge.errors import ConfigError, ContractError, quoted

if TYPE_CHECKING:
    from onnx import ModelProto

    from mimamba_edge.export.network import Network

__all__ = ["FAMILIES", "MOST_PARAMETERS", "Config", "Family", "family_named", "family_of"]

FAMILIES = {
    DEFAULT_FAMILY: "mimamba_edge.export.families.msimamba",
    FOREIGN_FAMILY: "mimamba_edge.export.families.foreign",
}
"""Where each family's folder is: a package whose ``FAMILY`` is a :class:`Family`."""
MOST_PARAMETERS = 1 << 26
"""Weights of a network: 256 MiB as float32. What asks for more is not built."""

Arrays = dict[str, NDArray[Any]]
Windows = NDArray[np.float32]


class Config(Protocol):
    """Sizes and choices of a network, checked when it is made."""

    @property
    def n_chans(self) -> int:
        """Channels."""

    @property
    def n_times(self) -> int:
        """Samples of a window."""

    @property
    def n_outputs(self) -> int:
        """Classes."""

    @property
    def sfreq(self) -> float:
        """Rate of the windows in Hz."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, which :meth:`Family.config` takes."""


class Family(ABC):
    """A kind of model: its configuration, its network, and what the tools must know of them.

    Attributes:
        name: Key of :data:`FAMILIES`; stands in contracts.
        auxiliary: Names of outputs beside the logits that a runner may return, ``(b, ...)`` each.
        n_times: Samples of a window that a network can take, from and to.
        has_code: Whether its networks' code is here; else only their files and weights are known.
        int8_modules: Ends of the names of the modules whose matrix products TensorRT runs in INT8.
    """

    name: str
    auxiliary: tuple[str, ...] = ()
    has_code: bool = True
    n_times: tuple[int, int] = (1, 1 << 20)
    int8_modules: tuple[str, ...] = ()

    @abstractmethod
    def config(self, raw: Any) -> Config:
        """Return the configuration that :meth:`Config.to_dict` gave; fields with defaults may be missing.

        Raises:
            ConfigError: It cannot work; the message lists every reason. Asking for more weights than
                :data:`MOST_PARAMETERS` is one.
        """

    @abstractmethod
    def network(self, config: Mapping[str, Any]) -> Network:
        """Return the network of a configuration with random weights.

        Raises:
            ConfigError: As :meth:`config`, or their code is not here.
        """

    @abstractmethod
    def oracle(self, windows: NDArray[Any], state: Mapping[str, NDArray[Any]], config: Any) -> Arrays:
        """Return ``logits (b, n_outputs)`` and the auxiliary outputs in float64 NumPy.

        It shares no code with the network, so that each judges the other.

        Args:
            windows: ``(b, n_chans, n_times)``, scaled.
            state: The weights by the names of the network's ``state_dict``.
            config: What :meth:`Config.to_dict` gave.
        """

    def settings_in(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that the shapes of weights tell, by field of the configuration.

        Empty where they are not, name by name, the weights of a network of this family.
        """
        return {}

    def custom_nodes(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Return how many nodes of each custom op the exported graph holds.

        Raises:
            ExportError: A model of this configuration cannot be exported.
        """
        return {}

    def auxiliary_values(self, model: ModelProto) -> dict[str, str]:
        """Return the value inside an ONNX model, bodies written out, that each auxiliary output is."""
        return {}

    def tie_gaps(self, windows: NDArray[Any], config: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return how far each window ``(n, n_chans, n_times)`` is from another answer that is equally right.

        A network that chooses (the largest of some values) may choose otherwise in another precision where
        two are nearly equal. The distance ``(n,)`` is relative; infinite where nothing is chosen or the
        configuration is empty.
        """
        return np.full(len(windows), np.inf)

    def compared(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return an auxiliary output ``(n, ...)`` in the form in which two runners' must be equal."""
        return values

    def dense_macs(self, contract: Contract, windows: Windows) -> dict[str, float] | None:
        """Return the multiply-accumulates of one window by part of the network; ``None``: not known."""
        return None

    def to_int8_cpu(
        self, model: ModelProto, windows: Windows, *, method: str, on_step: Callable[[int], None]
    ) -> ModelProto:
        """Return a portable fp32 model with INT8 layers for ONNX Runtime's CPU, calibrated on windows.

        Raises:
            ConfigError: The family has no such form.
        """
        raise ConfigError(
            f"models of the family {self.name} have no INT8 form for the CPU", do="use --to fp16"
        )

    def int8_cpu_layers(
        self, model: ModelProto, windows: Windows, *, method: str
    ) -> Iterator[tuple[str, ModelProto]]:
        """Yield each layer that :meth:`to_int8_cpu` quantises, and the model with that one alone in INT8."""
        return iter(())


def family_named(name: str) -> Family:
    """Return a family by its name.

    Raises:
        ContractError: There is none of that name.
    """
    if name not in FAMILIES:
        raise ContractError(
            "the model is of a family that this build does not know",
            got=quoted(name),
            expected=", ".join(FAMILIES),
            do="install the mimamba-edge version that made the model",
        )
    found: Family = importlib.import_module(FAMILIES[name]).FAMILY
    return found


def family_of(contract: Contract) -> Family:
    """Return the family of a contract's model.

    Raises:
        ContractError: This build does not know it.
    """
    return family_named(contract.family)

"""Networks of others: what is known of them are their files, their weights and the name of a factory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, quoted
from mimamba_edge.family import Family
from mimamba_edge.strict_json import Malformed, convert

if TYPE_CHECKING:
    from mimamba_edge.export.network import Network

__all__ = ["FAMILY", "ForeignConfig"]

_LONGEST_NAME = 256


@dataclass(frozen=True)
class ForeignConfig:
    """Which network of others it is, and the sizes that it was made with.

    Attributes:
        name: ``package.module:factory``. For people: it is run only where a user names it again.
        n_chans: Channels.
        n_times: Samples of a window.
        n_outputs: Classes.
        sfreq: Rate of the windows in Hz.
    """

    name: str
    n_chans: int
    n_times: int
    n_outputs: int
    sfreq: float

    @classmethod
    def of(cls, name: str, contract: Contract) -> ForeignConfig:
        """Return the configuration of a network that fits a contract."""
        return cls(name, contract.n_chans, contract.n_times, contract.n_outputs, contract.sfreq)

    @property
    def sizes(self) -> dict[str, Any]:
        """What a factory is called with, by the names of its arguments."""
        sizes = dataclasses.asdict(self)
        del sizes["name"]
        return sizes

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dataclasses.asdict(self)


class _ForeignFamily(Family):
    name = "foreign"
    has_code = False

    def config(self, raw: Any) -> ForeignConfig:
        try:
            config = convert(raw, ForeignConfig)
        except Malformed as error:
            raise ConfigError("the configuration of a network of others is malformed", got=error) from error
        if not 1 <= len(config.name) <= _LONGEST_NAME:
            raise ConfigError("not the name of a factory", got=quoted(config.name))
        return config

    def network(self, config: Mapping[str, Any]) -> Network:
        self._refuse(config)

    def oracle(self, windows: NDArray[Any], state: Mapping[str, NDArray[Any]], config: Any) -> NoReturn:
        self._refuse(config)

    def _refuse(self, config: Mapping[str, Any]) -> NoReturn:
        raise ConfigError(
            "the code of a network of others is not in its files, and no file makes this program run any",
            got=f"a network of the factory {quoted(config.get('name'))}",
            do="use its exported NAME.onnx; a checkpoint is exported by `mimamba-edge export CHECKPOINT "
            "--model package.module:factory`, which runs the code of the factory that you name there",
        )


FAMILY = _ForeignFamily()

"""Networks of others that got a contract at their export: only their files are known here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from numpy.typing import NDArray

from mimamba_edge.errors import ConfigError
from mimamba_edge.family import Family

if TYPE_CHECKING:
    from mimamba_edge.export.network import Network

__all__ = ["FAMILY"]


class _ForeignFamily(Family):
    name = "foreign"

    def config(self, raw: Any) -> NoReturn:
        raise ConfigError(
            "a network of others has no configuration, network or oracle here",
            do="use its exported files; to export it again: `mimamba-edge export --model`",
        )

    def network(self, config: Mapping[str, Any]) -> Network:
        self.config(config)

    def oracle(self, windows: NDArray[Any], state: Mapping[str, NDArray[Any]], config: Any) -> NoReturn:
        self.config(config)


FAMILY = _ForeignFamily()

"""Names given in pairs on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from mimamba_edge.errors import ConfigError

__all__ = ["read_map"]


def read_map(pairs: Sequence[str] | None) -> dict[str, str]:
    """Return the channel map of repeated ``--map MODEL=SOURCE`` options: model name to source name.

    Raises:
        ConfigError: A pair is not one, or a name stands twice.
    """
    names: dict[str, str] = {}
    for pair in pairs or ():
        model, sign, source = (part.strip() for part in pair.partition("="))
        if not (sign and model and source):
            raise ConfigError("--map cannot be read", got=repr(pair), expected="MODEL=SOURCE, as TP9=Fz")
        if model in names or source in names.values():
            raise ConfigError("--map names a channel twice", got=", ".join(map(repr, pairs or ())))
        names[model] = source
    return names

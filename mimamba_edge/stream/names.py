"""Names of channels that a source calls otherwise than the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mimamba_edge.errors import ConfigError

__all__ = ["check_map", "map_for", "parse_map"]


def parse_map(entries: Sequence[str]) -> dict[str, str]:
    """Read entries ``MODEL=SOURCE``.

    Raises:
        ConfigError: One is not of that form, or a channel of the model is named twice.
    """
    out: dict[str, str] = {}
    for entry in entries:
        model, equals, source = (part.strip() for part in entry.partition("="))
        if not (model and equals and source):
            raise ConfigError("--map is not valid", got=entry, expected="MODEL=SOURCE, as in TP9=Fz")
        if model in out:
            raise ConfigError("--map names a channel of the model twice", got=model)
        out[model] = source
    return out


def check_map(channel_map: Mapping[str, str], wanted: Sequence[str]) -> None:
    """Check that a map is of the model's channels.

    Raises:
        ConfigError: It names others.
    """
    unknown = [name for name in channel_map if name not in wanted]
    if unknown:
        raise ConfigError(
            "--map names channels that the model does not have",
            got=", ".join(unknown),
            expected=", ".join(wanted),
        )


def map_for(found: Sequence[str], channel_map: Mapping[str, str], *, strict: bool) -> dict[str, str]:
    """Return the part of a map that is for one source.

    Args:
        found: The source's channels.
        channel_map: Model's channel name to source's.
        strict: All of it is; otherwise a source that has the model's own name and not the other keeps it.
    """
    return {
        model: source
        for model, source in channel_map.items()
        if strict or source in found or model not in found
    }

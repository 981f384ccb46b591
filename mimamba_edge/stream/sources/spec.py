"""From what follows ``--source`` to a source. The one place that knows every kind."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sources.base import Source

__all__ = ["EXAMPLES", "open_source"]

_SCHEMES = {
    "brainflow": "mimamba_edge.stream.sources.brainflow",
    "lsl": "mimamba_edge.stream.sources.lsl",
    "stdin": "mimamba_edge.stream.sources.stdin",
}
"""Each module has ``open_spec(rest, parameters) -> Source``."""
EXAMPLES = (
    "a recording, brainflow:synthetic, brainflow:muse_2?mac_address=…, lsl:name=Muse, lsl:type=EEG, or stdin:"
)


def open_source(spec: str, *, speed: str = "realtime") -> Source:
    """Open a source.

    Args:
        spec: ``SCHEME:REST`` or ``SCHEME:REST?KEY=VALUE&…`` with a scheme of ``brainflow``, ``lsl``,
            ``stdin``; everything else is the path of a recording.
        speed: How recordings are replayed; other sources do not heed it.

    Raises:
        ConfigError: The text cannot be understood.
        DataError: A recording cannot be used.
        DependencyError: The source needs a package that is not installed.
        SourceError: The source is not there or refuses.
    """
    scheme, colon, rest = spec.partition(":")
    if colon and scheme in _SCHEMES:
        name, _, query = rest.partition("?")
        try:
            parameters = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        except ValueError as error:
            raise ConfigError(
                f"the parameters of {spec} cannot be read", got=query, expected="KEY=VALUE&KEY=VALUE"
            ) from error
        module: Any = importlib.import_module(_SCHEMES[scheme])
        source: Source = module.open_spec(name, parameters)
        return source
    if colon and not Path(spec).exists() and "/" not in scheme:
        raise ConfigError("unknown kind of source", got=spec, expected=EXAMPLES)
    from mimamba_edge.stream.sources.recording import FileSource

    return FileSource(Path(spec), speed=speed)

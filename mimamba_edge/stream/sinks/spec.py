"""From what follows ``--sink`` to a sink. The one place that knows every kind."""

from __future__ import annotations

import importlib
from typing import Any

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sinks.base import Sink

__all__ = ["EXAMPLES", "SINKS", "check_sink", "open_sink"]

SINKS = {
    "jsonl": "mimamba_edge.stream.sinks.jsonl",
    "lsl": "mimamba_edge.stream.sinks.lsl",
    "osc": "mimamba_edge.stream.sinks.osc",
    "page": "mimamba_edge.stream.sinks.page.server",
    "record": "mimamba_edge.stream.sinks.record",
    "terminal": "mimamba_edge.stream.sinks.terminal",
}
"""Module of each kind of sink; each has ``open_spec(rest) -> Sink``."""
EXAMPLES = (
    "jsonl:PATH, jsonl:- (stdout), lsl:NAME, osc:HOST:PORT, terminal:, page:HOST:PORT, or record:FOLDER"
)


def check_sink(spec: str) -> None:
    """Check the kind of a sink without opening it.

    Raises:
        ConfigError: There is no such kind.
    """
    scheme, colon, _ = spec.partition(":")
    if not colon or scheme not in SINKS:
        raise ConfigError("unknown kind of sink", got=spec, expected=EXAMPLES)


def open_sink(spec: str) -> Sink:
    """Open a sink.

    Args:
        spec: ``SCHEME:REST`` with a scheme of :data:`SINKS`.

    Raises:
        ConfigError: The text cannot be understood.
        DependencyError: The sink needs a package that is not installed.
        OutputError: Its file cannot be written.
    """
    check_sink(spec)
    scheme, _, rest = spec.partition(":")
    module: Any = importlib.import_module(SINKS[scheme])
    sink: Sink = module.open_spec(rest)
    return sink

"""From what follows ``--source`` to a source. The one place that knows every kind."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.data.recording import file_of
from mimamba_edge.data.spec_options import read_pairs
from mimamba_edge.errors import ConfigError, DataError, SignalError, SourceError
from mimamba_edge.load import RUNNERS
from mimamba_edge.signal.source_limits import check_claims
from mimamba_edge.stream.sources.base import Source

__all__ = ["EXAMPLES", "SOURCES", "check_source", "open_source", "read_rate"]

SOURCES = {
    "brainflow": "mimamba_edge.stream.sources.brainflow",
    "lsl": "mimamba_edge.stream.sources.lsl",
    "simulated": "mimamba_edge.stream.sources.simulated",
    "stdin": "mimamba_edge.stream.sources.stdin",
}
"""Module of each kind of source; each has ``open_spec(rest, parameters) -> Source``."""
_BOARDS = (
    *("muse_2", "muse_s", "muse_2016", "muse_s_athena", "cyton", "cyton_daisy", "ganglion"),
    *("ganglion_native", "crown", "unicorn", "synthetic"),
)
"""Boards of docs/jetson.md, to say what was meant without BrainFlow, which may not be installed."""
EXAMPLES = (
    "a recording, brainflow:synthetic, brainflow:muse_2?mac_address=…, lsl:name=Muse, lsl:type=EEG, "
    "stdin:?sfreq=256, or simulated:"
)


def read_rate(parameters: dict[str, str]) -> float | None:
    """Take ``sfreq`` out of a source's parameters; ``None`` where it does not stand there.

    Raises:
        ConfigError: It is no rate.
    """
    text = parameters.pop("sfreq", None)
    if text is None:
        return None
    try:
        sfreq = float(text)
        check_claims(sfreq, 1)
    except (ValueError, SignalError) as error:
        raise ConfigError(
            "sfreq of the source is not a rate", got=printable(text), expected="hertz, as in ?sfreq=256"
        ) from error
    return sfreq


def check_source(spec: str) -> None:
    """Check what can be told of a source without opening it: before a model, or torch, is loaded.

    Raises:
        ConfigError: There is no such kind, or it is a model.
        DataError: It is the path of a recording, and that is not there.
    """
    if spec.endswith(tuple(RUNNERS)):
        raise ConfigError(
            f"--source {spec} is a model, no signal",
            expected=EXAMPLES,
            do="did you swap MODEL and --source? As in: mimamba-edge stream eeg.onnx --source simulated:",
        )
    scheme, colon, _ = spec.partition(":")
    if (colon and scheme in SOURCES) or file_of(Path(spec)).exists():
        return
    if colon and "/" not in scheme:
        raise ConfigError("unknown kind of source", got=spec, expected=EXAMPLES)
    near = difflib.get_close_matches(spec.partition("?")[0].lower()[:100], _BOARDS, n=1)
    do = f"did you mean brainflow:{near[0]}?" if near else "check the path"
    raise DataError(f"the recording {spec} is not there", do=do)


def open_source(spec: str, *, speed: str = "realtime") -> Source:
    """Open a source.

    Args:
        spec: ``SCHEME:REST`` or ``SCHEME:REST?KEY=VALUE&…`` with a scheme of ``brainflow``, ``lsl``,
            ``simulated``, ``stdin``; everything else is the path of a recording, of an XDF file also
            ``FILE.xdf?stream=NAME``.
        speed: How recordings are replayed; other sources do not heed it.

    Raises:
        ConfigError: The text cannot be understood.
        DataError: A recording cannot be used.
        DependencyError: The source needs a package that is not installed.
        SourceError: The source is not there or refuses.
    """
    scheme, colon, rest = spec.partition(":")
    if colon and scheme in SOURCES:
        name, _, query = rest.partition("?")
        module: Any = importlib.import_module(SOURCES[scheme])
        source: Source = module.open_spec(name, read_pairs(query))
        try:
            check_claims(source.sfreq, len(source.ch_names), source.ch_names)
        except SignalError as error:
            source.close()
            raise SourceError(
                f"{printable(source.name)}: {error.what}", got=error.got, expected=error.expected
            ) from error
        return source
    check_source(spec)
    from mimamba_edge.stream.sources.recording import FileSource

    return FileSource(Path(spec), speed=speed)

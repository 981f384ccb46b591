"""What is on the lab streaming layer (LSL) network now."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.errors import ConfigError, DependencyError, SourceError, pip_install

__all__ = [
    "BUFFER_S",
    "KEYS",
    "OPEN_S",
    "WAIT_S",
    "check_named",
    "choose",
    "describe",
    "fits",
    "load_pylsl",
    "visible",
]

KEYS = ("name", "type", "source_id")
"""By what a stream is asked for."""
WAIT_S = 5.0
"""For a stream to be there, where nothing else is said."""
OPEN_S = 2.0
BUFFER_S = 60
OTHERS_S = 1.0
"""After a stream was found: how long another one that fits as well may take to show up."""
_CONFIGS = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
_QUIET = "[log]\nlevel = -3\n"
"""liblsl else tells on stderr what it loaded and what it lost, which is told here. A configuration of the
user's own has its own word about that."""


def load_pylsl() -> Any:
    """Return pylsl; nothing else may import it, or its library would talk on stderr.

    Raises:
        DependencyError: It or liblsl is missing.
    """
    try:
        pylsl = importlib.import_module("pylsl")
    except ImportError as error:
        raise DependencyError("LSL needs pylsl", do=pip_install("live")) from error
    except (RuntimeError, OSError) as error:
        raise DependencyError(
            "pylsl does not find the library of LSL",
            got=str(error).splitlines()[0],
            do="pip install --upgrade pylsl; where its wheels bring no library, as on aarch64: pip install "
            "--no-deps mne-lsl, and set PYLSL_LIB to the file mne_lsl/lsl/lib/liblsl.so.* in site-packages",
        ) from error
    if not any(Path(path).expanduser().is_file() for path in (os.environ.get("LSLAPICFG", ""), *_CONFIGS)):
        # Newer ones only; and they heed it before the first call only, so that once is as good as often.
        with contextlib.suppress(AttributeError, NotImplementedError):
            pylsl.set_config_content(_QUIET)
    return pylsl


def describe(info: Any) -> str:
    """Return one line about a stream, as a terminal may show it."""
    rate = info.nominal_srate()
    parts = [
        f"{info.channel_count()} channels",
        f"{rate:g} Hz" if rate else "irregular",
        f"on {printable(info.hostname())}",
    ]
    if info.source_id():
        parts.append(f"source_id={printable(info.source_id())}")
    return f"{printable(info.name())!r} of type {printable(info.type())!r} ({', '.join(parts)})"


def visible(seconds: float) -> list[Any]:
    """Return the descriptions of all streams that answer within some seconds.

    Raises:
        DependencyError: pylsl or its library is missing.
    """
    resolver = load_pylsl().ContinuousResolver()
    time.sleep(seconds)
    return sorted(resolver.results(), key=lambda info: (info.name(), info.source_id(), info.uid()))


def fits(info: Any, wanted: Mapping[str, str]) -> bool:
    """Return whether a stream has the wanted name, type and source_id."""
    return all(getattr(info, key)() == value for key, value in wanted.items())


def check_named(wanted: Mapping[str, str], text: str) -> None:
    """Check that a stream is asked for by :data:`KEYS` alone.

    Raises:
        ConfigError: It is not; the message shows ``text``.
    """
    if not wanted or not set(wanted) <= set(KEYS):
        raise ConfigError(
            "the LSL stream is not named",
            got=f"lsl:{printable(text)}",
            expected="lsl:name=NAME, lsl:type=EEG or lsl:source_id=ID, several joined by &; unit=uV or "
            "sfreq=256 after ?",
        )


def choose(wanted: Mapping[str, str], wait_s: float) -> Any:
    """Return the description of the one stream that fits.

    The comparison is made here, not by the network: names may hold anything, also quotes.

    Raises:
        DependencyError: pylsl or its library is missing.
        SourceError: No stream fits within ``wait_s``, or several do.
    """
    resolver = load_pylsl().ContinuousResolver()
    end = time.monotonic() + wait_s
    found: list[Any] = []
    all_there: list[Any] = []
    while time.monotonic() < end:
        time.sleep(0.02)
        all_there = resolver.results()
        fitting = [info for info in all_there if fits(info, wanted)]
        if fitting and not found:
            end = min(end, time.monotonic() + OTHERS_S)
        found = fitting or found
    text = "&".join(f"{key}={printable(value)}" for key, value in wanted.items())
    if not found:
        raise SourceError(
            f"no LSL stream with {text} was found within {wait_s:g} s",
            got="; ".join(describe(info) for info in all_there) or "no stream",
            expected="a stream on this network",
            do="start the stream; 'mimamba-edge sources' lists what is available; across networks LSL needs "
            "KnownPeers in lsl_api.cfg and open ports 16571 to 16604",
        )
    if len(found) > 1:
        raise SourceError(
            f"{len(found)} LSL streams have {text}",
            got="; ".join(describe(info) for info in found),
            expected="one",
            do="name one more exactly: lsl:name=…&source_id=…",
        )
    return found[0]

"""What could be a source here and now."""

from __future__ import annotations

import importlib.metadata
import os
import re
import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.console import printable
from mimamba_edge.errors import MimambaError
from mimamba_edge.stream.sources.boards import load_driver
from mimamba_edge.stream.sources.lsl_network import describe, visible
from mimamba_edge.stream.sources.simulated import SimulatedHeadset

__all__ = ["Found", "look"]

_SERIAL = "dev/serial/by-id"
_BLUETOOTH = "sys/class/bluetooth"
_DONGLES = (
    (
        re.compile("FT231X|OpenBCI", re.IGNORECASE),
        "cyton",
        "as OpenBCI's Cyton dongle; with Daisy cyton_daisy",
    ),
    (
        re.compile("Bluegiga|BLED112|Low_Energy_Dongle", re.IGNORECASE),
        "ganglion",
        "as a BLED112 dongle: ganglion, muse_2_bled, muse_s_bled, muse_2016_bled or brainbit_bled",
    ),
)


@dataclass(frozen=True)
class Found:
    """One thing that was found.

    Attributes:
        source: The text for ``--source``, for a program: a shell wants it quoted.
        kind: ``"LSL"``, ``"board"``, ``"serial port"``, ``"Bluetooth"`` or ``"simulated"``.
        what: One line for people.
        there: Whether it gives samples now; else it is a way that may lead to a device.
    """

    source: str
    kind: str
    what: str
    there: bool


def look(seconds: float, *, root: Path = Path("/")) -> dict[str, Any]:
    """Return what is there, JSON-ready: ``sources`` (see :class:`Found`) and ``packages``.

    Devices are not connected to, and no Bluetooth scan is made.

    Args:
        seconds: How long to wait for LSL streams to answer.
        root: Where ``/dev`` and ``/sys`` are.
    """
    streams, pylsl = _streams(seconds)
    boards, brainflow = _boards()
    found = streams + boards
    # Without BrainFlow ports and radios lead nowhere.
    if brainflow["works"]:
        found += _serial_ports(root) + _radios(root)
    found.append(_simulated())
    return {
        "sources": [asdict(one) for one in found],
        "packages": {"pylsl": pylsl, "brainflow": brainflow},
    }


def _simulated() -> Found:
    headset = SimulatedHeadset
    what = (
        f"made-up headset: {', '.join(headset.ch_names)}, {headset.sfreq:g} Hz; "
        f"{' and '.join(headset.states)} in turn, or as `record --cue` asks; needs no device"
    )
    return Found("simulated:", "simulated", what, True)


def _package(name: str, error: MimambaError | None) -> dict[str, Any]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    return {
        "version": version,
        "works": error is None,
        "problem": error and error.what,
        "do": error and error.do,
    }


def _streams(seconds: float) -> tuple[list[Found], dict[str, Any]]:
    try:
        infos = visible(seconds)
    except MimambaError as error:
        return [], _package("pylsl", error)
    names = Counter(info.name() for info in infos)
    found = []
    for info in infos:
        pairs = {"name": info.name()} if info.name() else {"type": info.type()}
        if names[info.name()] > 1 and info.source_id():
            pairs["source_id"] = info.source_id()
        source = "lsl:" + "&".join(f"{key}={quoted_spec(value)}" for key, value in pairs.items())
        signal = info.nominal_srate() > 0
        what = describe(info) + ("" if signal else ": markers or events; a signal needs ?sfreq=HZ")
        found.append(Found(source, "LSL", what, signal))
    return found, _package("pylsl", None)


def quoted_spec(text: str) -> str:
    """Return a text as a source's parameters have it, readable as far as it can be."""
    return "".join(
        "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "replace"))
        if c in "%&?" or (unicodedata.category(c)[0] in "CZ" and c != " ")
        else c
        for c in text
    )


def _boards() -> tuple[list[Found], dict[str, Any]]:
    try:
        board = load_driver().board("synthetic", {})
    except MimambaError as error:
        return [], _package("brainflow", error)
    what = f"made-up signal: {len(board.ch_names)} channels, {board.sfreq:g} Hz; needs no device"
    return [Found("brainflow:synthetic", "board", what, True)], _package("brainflow", None)


def _serial_ports(root: Path) -> list[Found]:
    folder = root / _SERIAL
    found = []
    for port in sorted(folder.iterdir()) if folder.is_dir() else ():
        board, what = next(
            ((board, what) for pattern, board, what in _DONGLES if pattern.search(port.name)),
            ("cyton", "unknown board: name it in --source"),
        )
        if not os.access(port, os.R_OK | os.W_OK):
            what += "; no permission to open it: sudo usermod -aG dialout $USER, then log in again"
        path = f"/{_SERIAL}/{port.name}"
        found.append(
            Found(
                f"brainflow:{board}?serial_port={quoted_spec(path)}",
                "serial port",
                f"{printable(port.name)} {what}",
                False,
            )
        )
    return found


def _radios(root: Path) -> list[Found]:
    folder = root / _BLUETOOTH
    radios = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    what = "the first Muse in range; or muse_s, muse_2016, ganglion_native; ?mac_address=… for one device"
    return [
        Found("brainflow:muse_2", "Bluetooth", f"{printable(name)}: {what}", False) for name in radios[:1]
    ]

"""Recordings: one form for all file formats, and the one door to them.

The readers stand in :mod:`mimamba_edge.data.formats`; each has ``read(path) -> Recording``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import DataError

__all__ = [
    "KINDS",
    "SESSION",
    "SIGNAL",
    "TIMESTAMPS",
    "Marker",
    "Recording",
    "is_recording",
    "known_rails_uv",
    "read_recording",
    "whole_lines",
]

TIMESTAMPS = "timestamps"
SESSION, SIGNAL = "session.json", "signal.csv"
"""Files of a session folder: what it is, and its signal."""
KINDS = "a CSV file as muselsl writes it, EDF or BDF, FIF, XDF, or a session folder"
_READERS = {
    ".csv": "muselsl",
    ".edf": "edf",
    ".bdf": "edf",
    ".fif": "fif",
    ".fif.gz": "fif",
    ".xdf": "xdf",
    ".xdf.gz": "xdf",
    ".xdfz": "xdf",
}
_MUSE = {"TP9", "AF7", "AF8", "TP10"}
_MUSE_RAILS_UV = (-1000.0, 999.5)
"""12 bits of 0.48828125 uV around the middle."""


@dataclass(frozen=True)
class Marker:
    """Something that was noted at a time: a stimulus, a key, an annotation.

    Attributes:
        text: What; from outside, so it may hold anything.
        sample: Number of samples before it.
        t_s: Seconds from the recording's first sample, by the recorded clock; it may lie outside of the
            signal.
    """

    text: str
    sample: int
    t_s: float


@dataclass(frozen=True)
class Recording:
    """One continuous recording, as it was recorded: nothing sorted, nothing filled.

    Attributes:
        path: The file.
        ch_names: Channels; what only triggers something is none of them but gives markers.
        sfreq: Nominal rate in Hz: the file's word, or where it has none the fitted rate, snapped to a usual
            one within 0.5 %.
        samples: Microvolts ``(n, c)``, NaN where the file has none; what is no voltage in its own unit.
        timestamps: Seconds ``(n,)``, jittered as recorded; ``n / sfreq`` where the file holds no times.
        markers: In the order of the file.
        rails_uv: Lowest and highest value the device gives, or ``None``.
        unit: Unit of the samples, always ``"uV"``.
        counted: Losses were found by the device's packet counter and are NaN.
    """

    path: Path
    ch_names: tuple[str, ...]
    sfreq: float
    samples: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    markers: tuple[Marker, ...] = ()
    rails_uv: tuple[float, float] | None = None
    unit: str = "uV"
    counted: bool = False

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last timestamp."""
        return float(self.timestamps[-1] - self.timestamps[0])


def read_recording(path: Path) -> Recording:
    """Read a recording of any kind.

    Args:
        path: A file, its kind told by its name (``.csv``, ``.edf``, ``.bdf``, ``.fif``, ``.fif.gz``,
            ``.xdf``, ``.xdf.gz``, ``.xdfz``), or a session folder.

    Raises:
        DataError: The file is not there, is not of that kind, or holds no samples.
        DependencyError: Its kind needs a package that is not installed.
    """
    path = Path(path)
    if path.is_dir() and (path / SESSION).is_file():
        path = path / SIGNAL
    if not os.path.lexists(path):
        raise DataError(f"the recording {path} is not there", do="check the path")
    name = _reader(path)
    if name is None or path.is_dir():
        raise DataError(
            f"cannot read the recording {path}",
            got="a folder" if path.is_dir() else f"a file whose name ends in {path.suffix!r}",
            expected=KINDS,
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise DataError(f"cannot read the recording {path}", got=error.strerror, expected=KINDS) from error
    if empty:
        raise DataError(f"the recording {path} is empty", expected=KINDS)
    reader: Any = importlib.import_module(f"mimamba_edge.data.formats.{name}")
    recording: Recording = reader.read(path)
    if not len(recording.samples):
        raise DataError(f"the recording {path} holds no samples", expected="a signal")
    return recording


def whole_lines(content: bytes) -> bytes:
    """Return the whole lines of a session's file, which only ever grew.

    What is torn is its end: a line without its line end was not written, and a power cut can leave NULs where
    data had not reached the disk.
    """
    nul = content.find(b"\0")
    content = content if nul < 0 else content[:nul]
    return content[: content.rfind(b"\n") + 1]


def is_recording(path: Path) -> bool:
    """Return whether a path goes by the name of a recording, or is a session folder."""
    return (path / SESSION).is_file() if path.is_dir() else _suffix(path) in _READERS


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in (".fif.gz", ".xdf.gz") if name.endswith(s)), Path(name).suffix)


def _reader(path: Path) -> str | None:
    if path.name == SIGNAL and (path.parent / SESSION).is_file():
        return "session"
    return _READERS.get(_suffix(path))


def known_rails_uv(ch_names: Iterable[str]) -> tuple[float, float] | None:
    """Return what a source rails at that is known by its channels alone: a Muse; else ``None``."""
    return _MUSE_RAILS_UV if set(ch_names) >= _MUSE else None

"""The format of a session folder: its file names, its ``session.json``, and what is whole in its files.

    DIR/ID/ (0700)      files 0600, all but the first only grow
      session.json      what it is: :class:`SessionInfo`, written first
      signal.csv        timestamps and microvolts of all channels, as muselsl writes a recording
      events.jsonl      {"kind", "text", "n", "sample", "t_s", "t_unix"}: gaps, markers, trials, and last
                        "ended", or "cut-off" where not all could be written
      decisions.jsonl   the decision lines of a stream
      labels.csv        one row per trial, see :mod:`mimamba_edge.data.labels`

:class:`mimamba_edge.sessions.folder.SessionWriter` writes it; :mod:`mimamba_edge.data.formats.session` reads
the signal, :mod:`mimamba_edge.sessions.store` lists and deletes.
"""

from __future__ import annotations

import csv
import dataclasses
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mimamba_edge.errors import DataError, quoted
from mimamba_edge.strict_json import Malformed, convert, read_json

__all__ = [
    "DECISIONS",
    "EVENTS",
    "FILES",
    "FORMAT",
    "INFO",
    "LABELS",
    "LONGEST_NAME",
    "SIGNAL",
    "SessionInfo",
    "SignalInfo",
    "cells_of",
    "info_and_problem",
    "is_session",
    "read_info",
    "session_folders",
    "signal_info",
    "whole_lines",
]

FORMAT = "mimamba.session.1"
INFO = "session.json"
SIGNAL = "signal.csv"
EVENTS = "events.jsonl"
DECISIONS = "decisions.jsonl"
LABELS = "labels.csv"
FILES = (SIGNAL, EVENTS, DECISIONS, LABELS, f".{INFO}.part", INFO)
"""Every file that a session folder can hold, in the order in which they are deleted."""
LONGEST_NAME = 64
"""Characters of a subject, a session or a run."""
_Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
_LATEST_UNIX = 253402300799.0
"""The end of the year 9999, the last that a calendar here can name."""


@dataclass(frozen=True)
class SessionInfo:
    """``session.json``, as it is written.

    Attributes:
        subject: Who, a pseudonym.
        session: On which occasion.
        run: Which run of it.
        ch_names: Channels, in the order of the columns.
        sfreq: Nominal rate in Hz.
        rails_uv: Lowest and highest value the device gives in microvolts, or ``None``.
        device: What is known of the device.
        source: What kind of source it was.
        contract_sha256: Of the model that decided meanwhile, or ``None``.
        model: Name of its file, or ``None``.
        model_sha256: Hash of its file, or ``None``.
        profile: Name of the personal profile, or ``None``.
        mains_hz: Where the notch stood, or ``None``.
        id: Name of the folder: random.
        started_unix: When it was begun.
    """

    subject: str
    session: str
    run: str
    ch_names: tuple[str, ...]
    sfreq: float
    rails_uv: tuple[float, float] | None = None
    device: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    contract_sha256: str | None = None
    model: str | None = None
    model_sha256: str | None = None
    profile: str | None = None
    mains_hz: float | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    started_unix: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"format": FORMAT, "id": self.id, **dataclasses.asdict(self), "unit": "uV"}


@dataclass(frozen=True)
class SignalInfo:
    """What of ``session.json`` the signal is read by; the rest may be damaged."""

    ch_names: tuple[str, ...]
    sfreq: float
    unit: str
    rails_uv: tuple[float, float] | None = None
    device: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        if not self.ch_names or not self.sfreq > 0 or self.unit != "uV":
            raise ValueError("channels, a rate above zero and the unit uV are needed")


@dataclass(frozen=True)
class _ListedInfo:
    """What of ``session.json`` is listed and counted."""

    subject: _Name
    session: _Name
    run: _Name
    ch_names: tuple[str, ...]
    sfreq: float
    started_unix: Annotated[float, msgspec.Meta(ge=0, le=_LATEST_UNIX)]
    id: _Name | None = None
    source: str | None = None
    model: str | None = None


def is_session(folder: Path) -> bool:
    """Return whether a folder says that it is a session."""
    return (folder / INFO).is_file()


def read_info(folder: Path) -> dict[str, Any]:
    """Return what ``session.json`` of a folder holds.

    Raises:
        DataError: It cannot be read, or has an unknown format.
    """
    path = folder / INFO
    try:
        raw = read_json(path, object)
    except (OSError, Malformed) as error:
        raise DataError(f"cannot read {path}", got=error) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else None
        raise DataError(f"{path} has an unknown format", got=quoted(found), expected=repr(FORMAT))
    return raw


def signal_info(folder: Path) -> SignalInfo:
    """Return what the signal of a session folder is read by.

    Raises:
        DataError: As :func:`read_info`, or it does not describe the recording.
    """
    try:
        return convert(read_info(folder), SignalInfo, closed=False)
    except Malformed as error:
        raise DataError(
            f"{folder / INFO} does not describe the recording",
            got=error,
            expected="ch_names, sfreq, unit uV and rails_uv",
        ) from error


def info_and_problem(folder: Path) -> tuple[dict[str, Any], str | None] | None:
    """Return what a folder's ``session.json`` holds, and what is wrong with it; ``None`` if it is no session.

    What is wrong is held by nothing else: the first part is empty then, or holds the format alone where the
    file says that it is a session. A link is not followed: neither the folder nor the file may be one.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode) or not stat.S_ISREG((folder / INFO).lstat().st_mode):
            return None
        raw = read_json(folder / INFO, object)
    except FileNotFoundError:
        return None
    except (OSError, Malformed) as error:
        return {}, f"{INFO} cannot be read: {error}"
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        return None
    try:
        convert(raw, _ListedInfo, closed=False)
    except Malformed as error:
        return {"format": FORMAT}, f"{INFO} is damaged: {error}"
    return raw, None


def session_folders(folder: Path) -> list[tuple[Path, dict[str, Any], str | None]]:
    """Return the session folders in a folder with what :func:`info_and_problem` gives, the oldest first."""
    found = [
        (path, *told)
        for path in sorted(Path(folder).iterdir())
        if (told := info_and_problem(path)) is not None
    ]
    return sorted(found, key=lambda one: float(one[1].get("started_unix", 0.0)))


def cells_of(line: str) -> list[str]:
    """Return the cells of a line with names of columns; none where it is no CSV."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # a line end of another kind inside, a cell of 128 KiB
        return []


def whole_lines(content: bytes) -> bytes:
    """Return the whole lines of a session's file, which only ever grew.

    What is torn is its end: a line without its line end was not written, and a power cut can leave NULs where
    data had not reached the disk.
    """
    nul = content.find(b"\0")
    content = content if nul < 0 else content[:nul]
    return content[: content.rfind(b"\n") + 1]

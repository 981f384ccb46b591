"""What a session folder says about itself: ``session.json``, names of its files, pseudonyms, run numbers."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimamba_edge.data.labels import LABELS
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.sessions.files import write_private_json, writing_failed

__all__ = [
    "DECISIONS",
    "EVENTS",
    "FORMAT",
    "INFO",
    "LABELS",
    "OURS",
    "SIGNAL",
    "SUBJECT",
    "SessionInfo",
    "check_pseudonym",
    "default_subject",
    "make_sessions_folder",
    "next_run",
    "read_info",
    "session_folders",
    "source_kind",
    "today",
]

FORMAT = "mimamba.session.1"
INFO = "session.json"
SIGNAL = "signal.csv"
EVENTS = "events.jsonl"
DECISIONS = "decisions.jsonl"
OURS = (SIGNAL, EVENTS, DECISIONS, LABELS, f".{INFO}.part", INFO)
"""Every file that a session folder of ours can hold, in the order in which they are deleted."""
SUBJECT = ".subject.json"
"""In the folder of sessions: who is recorded there unless another pseudonym is given."""
_LARGEST_INFO = 1 << 20
_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class SessionInfo:
    """``session.json``.

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


def check_pseudonym(text: str, what: str = "subject") -> str:
    """Return ``text`` if it can be a pseudonym.

    Raises:
        ConfigError: It holds other characters than letters, digits, ``-`` and ``_``.
    """
    if not _PSEUDONYM.fullmatch(text):
        raise ConfigError(
            f"not a pseudonym that a {what} can go by",
            got=repr(text),
            expected="1 to 64 letters (a to z, A to Z), digits, - and _, with a letter or digit first",
            do="use a code such as p01, never a person's name",
        )
    return text


def read_info(folder: Path) -> dict[str, Any] | None:
    """Return what a folder's ``session.json`` holds; ``None`` where it is none of ours.

    A link is not followed: neither the folder nor the file may be one.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return None
        handle = os.open(folder / INFO, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            raw = json.loads(file.read(_LARGEST_INFO))
    except (OSError, ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) and raw.get("format") == FORMAT else None


def session_folders(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the session folders in a folder with their ``session.json``, the oldest first."""
    found = []
    for path in sorted(Path(folder).iterdir()):
        if (info := read_info(path)) is not None:
            found.append((path, info))
    return sorted(found, key=lambda pair: _number(pair[1].get("started_unix")))


def source_kind(name: str) -> str:
    """Return what kind of source a name stands for, without what could lead to a person or a device.

    Parameters (addresses, serial numbers) and paths of recordings (which may bear names) are left off.
    """
    scheme, colon, rest = name.partition(":")
    if colon and scheme in ("brainflow", "lsl", "stdin"):
        return f"{scheme}:{rest.partition('?')[0]}"
    return "recording"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def default_subject(folder: Path) -> str:
    """Return the pseudonym of who is recorded in a folder; a random one is made and kept there.

    Raises:
        OutputError: It cannot be kept.
    """
    path = Path(folder) / SUBJECT
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["subject"]
        if isinstance(kept, str) and _PSEUDONYM.fullmatch(kept):
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass
    subject = f"p{secrets.token_hex(3)}"
    try:
        write_private_json(path, {"subject": subject})
    except OSError as error:
        raise writing_failed(path, error) from error
    return subject


def next_run(folder: Path, subject: str, session: str) -> str:
    """Return the number after the highest run of that subject and session: ``"01"`` for the first."""
    highest = 0
    for _, info in session_folders(folder):
        run = info.get("run")
        if (info.get("subject"), info.get("session")) == (subject, session) and isinstance(run, str):
            highest = max(highest, int(run) if run.isascii() and run.isdigit() else 0)
    return f"{highest + 1:02d}"


def today() -> str:
    """Return the name of a session that was given none: the day."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def make_sessions_folder(folder: Path) -> None:
    """Make the folder that sessions stand in, private where it is new.

    Raises:
        OutputError: It cannot be made.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}",
            got=error.strerror,
            expected="a folder that this user may write to",
            do="choose another folder",
        ) from error

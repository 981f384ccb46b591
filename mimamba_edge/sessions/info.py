"""What a session folder says about itself: ``session.json``, names of its files, pseudonyms, run numbers."""

from __future__ import annotations

import dataclasses
import re
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mimamba_edge.data.labels import LABELS
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.plain import Malformed, convert, read_json
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
_LONGEST = 64
_PSEUDONYM = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_LONGEST - 1}}}")
_Name = Annotated[str, msgspec.Meta(max_length=_LONGEST)]
_LATEST_UNIX = 253402300799.0
"""The end of the year 9999, the last that a calendar here can name."""


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


@dataclass(frozen=True)
class _Told:
    """What of ``session.json`` is shown and counted."""

    subject: _Name
    session: _Name
    run: _Name
    ch_names: tuple[str, ...]
    sfreq: float
    started_unix: Annotated[float, msgspec.Meta(ge=0, le=_LATEST_UNIX)]
    id: _Name | None = None
    source: str | None = None
    model: str | None = None


def read_info(folder: Path) -> tuple[dict[str, Any], str | None] | None:
    """Return what a folder's ``session.json`` holds, and what is wrong with it; ``None`` if it is not ours.

    What is wrong is held by nothing else: the first part is empty then, or holds the format alone where the
    file says that it is ours. A link is not followed: neither the folder nor the file may be one.
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
        convert(raw, _Told, closed=False)
    except Malformed as error:
        return {"format": FORMAT}, f"{INFO} is damaged: {error}"
    return raw, None


def session_folders(folder: Path) -> list[tuple[Path, dict[str, Any], str | None]]:
    """Return the session folders in a folder with what :func:`read_info` gives, the oldest first."""
    found = [
        (path, *told) for path in sorted(Path(folder).iterdir()) if (told := read_info(path)) is not None
    ]
    return sorted(found, key=lambda one: float(one[1].get("started_unix", 0.0)))


def source_kind(name: str) -> str:
    """Return what kind of source a name stands for, without what could lead to a person or a device.

    Parameters (addresses, serial numbers) and paths of recordings (which may bear names) are left off.
    """
    scheme, colon, rest = name.partition(":")
    if colon and scheme in ("brainflow", "lsl", "stdin"):
        return f"{scheme}:{rest.partition('?')[0]}"
    return "recording"


def default_subject(folder: Path) -> str:
    """Return the pseudonym of who is recorded in a folder; a random one is made and kept there.

    Raises:
        OutputError: It cannot be kept.
    """
    path = Path(folder) / SUBJECT
    try:
        kept = read_json(path, dict[str, str]).get("subject", "")
        if _PSEUDONYM.fullmatch(kept):
            return kept
    except (OSError, Malformed):
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
    for _, info, _ in session_folders(folder):
        if (info.get("subject"), info.get("session")) == (subject, session):
            run = info["run"]
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

"""Who is recorded, on which occasion, in which run: pseudonyms and numbers, never names."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path

from mimamba_edge.data.session_format import LONGEST_NAME, session_folders
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.files import write_json
from mimamba_edge.strict_json import Malformed, read_json

__all__ = [
    "SUBJECT",
    "check_pseudonym",
    "default_subject",
    "make_sessions_folder",
    "next_run",
    "source_kind",
    "today",
]

SUBJECT = ".subject.json"
"""In the folder of sessions: who is recorded there unless another pseudonym is given."""
_PSEUDONYM = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}")


def check_pseudonym(text: str, what: str = "subject") -> str:
    """Return ``text`` if it can be a pseudonym.

    Raises:
        ConfigError: It holds other characters than letters, digits, ``-`` and ``_``.
    """
    if not _PSEUDONYM.fullmatch(text):
        raise ConfigError(
            f"not a valid name for a {what}",
            got=repr(text),
            expected="1 to 64 letters (a to z, A to Z), digits, - and _, with a letter or digit first",
            do="use a code such as p01, never a person's name",
        )
    return text


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
    write_json(path, {"subject": subject}, private=True)
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

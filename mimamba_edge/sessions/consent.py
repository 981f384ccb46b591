"""What everybody who records must have been told: privacy, use, law. Asked once a user."""

from __future__ import annotations

import sys
from pathlib import Path

from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.files import make_private_folder, sha256_bytes, user_folder, write_json

__all__ = ["TEXT", "confirm_recording", "remembered_path"]

TEXT = """\
Before you record EEG

  - The recording stays on this device. Nothing is sent anywhere; there is no telemetry.
  - It is made only because you asked for it (--record or `record`). Tell the person, and ask.
  - Its files can be read by this user only (0600), under a random id and a pseudonym. Keep names out of
    labels and markers. EEG itself can identify a person: treat it as health data.
  - `mimamba-edge session list DIR` lists the sessions; `mimamba-edge session delete DIR/ID` deletes it.
  - This is not a medical device. Do not diagnose or treat with it.
  - In the EU, the AI Act (Regulation (EU) 2024/1689) prohibits inferring emotions of people at work or in
    education, but for medical or safety reasons (Article 5(1)(f)), and asks whoever uses emotion recognition
    elsewhere to inform the people concerned (Article 50(3)).
"""


def remembered_path() -> Path:
    """Return the file that remembers the confirmation: in ``$XDG_STATE_HOME``, else ``~/.local/state``."""
    do = "set XDG_STATE_HOME to a folder of this user, with its whole path"
    return user_folder("XDG_STATE_HOME", ".local/state", do=do) / "recording.json"


def confirm_recording(*, yes: bool = False) -> None:
    """See to it that the user has read :data:`TEXT` before the first recording.

    On a terminal it is shown, and asked for once; the answer is remembered until the text changes.

    Args:
        yes: For scripts: the text goes to stderr and nothing is asked.

    Raises:
        ConfigError: Not confirmed, or there is nobody to ask.
    """
    path, version = remembered_path(), sha256_bytes(TEXT.encode())
    try:
        if path.read_text(encoding="utf-8").find(version) >= 0:
            return
    except (OSError, UnicodeDecodeError):
        pass
    sys.stderr.write(TEXT + "\n")
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "recording must be confirmed once, and there is no terminal to ask on",
            expected="a person who has read the text above",
            do="run the command on a terminal once, or add --yes",
        )
    sys.stderr.write("Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("yes", "y"):
        raise ConfigError("not confirmed: nothing was recorded")
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.is_dir():
            make_private_folder(path.parent)
        write_json(path, {"confirmed": version}, private=True)
    except (OSError, OutputError) as error:
        # Asked again next time.
        why = error.got if isinstance(error, OutputError) else error.strerror
        sys.stderr.write(f"warning: the answer could not be saved at {path}: {why}\n")

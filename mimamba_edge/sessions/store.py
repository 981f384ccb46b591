"""What is in a folder of sessions, and how a session is deleted: only what is ours, never through a link."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.data.session_format import EVENTS, FILES, LABELS, SIGNAL, info_and_problem, session_folders
from mimamba_edge.errors import DataError, OutputError
from mimamba_edge.sessions.identity import SUBJECT

__all__ = ["Session", "delete_session", "find_session", "forget_subject", "list_sessions"]

_TAIL = 1 << 16
_LONGEST_S = 1e8
"""Three years: what says more, or is no number, is damage."""


@dataclass(frozen=True)
class Session:
    """Facts of a session folder.

    Attributes:
        folder: Where it is.
        info: Its ``session.json``.
        seconds: From the first to the last timestamp; ``None`` without two samples.
        size_bytes: Of all files in it.
        trials: Rows of its labels.
        ended: Whether it was ended in good order.
        recording: Whether a process is recording it now.
        foreign: Names in it that are none of ours.
        problem: Why ``session.json`` or the folder cannot be used; ``None`` if nothing is wrong.
    """

    folder: Path
    info: dict[str, Any]
    seconds: float | None
    size_bytes: int
    trials: int
    ended: bool
    recording: bool
    foreign: tuple[str, ...]
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        keys = ("id", "subject", "session", "run", "started_unix", "ch_names", "sfreq", "source", "model")
        return {
            "folder": str(self.folder),
            **{key: self.info.get(key) for key in keys},
            "seconds": self.seconds,
            "size_bytes": self.size_bytes,
            "trials": self.trials,
            "ended": self.ended,
            "recording": self.recording,
            "foreign": list(self.foreign),
            "problem": self.problem,
        }


def find_session(folder: Path) -> Session:
    """Return the facts of a session folder.

    Raises:
        DataError: It is none of ours, or a link, or its ``session.json`` does not say that it is ours.
    """
    folder = Path(folder)
    told = info_and_problem(folder)
    if told is not None and told[0]:
        return _facts(folder, *told)
    if told is None:
        got = "a link" if folder.is_symlink() else "no session.json of this tool in it"
        raise DataError(
            f"{folder} is not a session folder",
            got=got if folder.is_symlink() or folder.exists() else "no such folder",
            expected="a folder that `record` made",
            do="`mimamba-edge session list DIR` lists the sessions",
        )
    raise DataError(
        f"{folder} is not clearly a session",
        got=told[1],
        do="if you are sure that it is one, delete the folder by hand",
    )


def list_sessions(folder: Path) -> list[Session]:
    """Return the sessions in a folder, the oldest first; those that cannot be used have a ``problem``.

    Raises:
        DataError: The folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", expected="the folder that was given to `record -o`")
    return [_facts(path, info, problem) for path, info, problem in session_folders(folder)]


def delete_session(folder: Path) -> tuple[str, ...]:
    """Delete a session: each file of ours, then the folder if nothing else is in it.

    Returns:
        Names of what stays because it is none of ours.

    Raises:
        DataError: It is no session folder, or a link.
        OutputError: It is being recorded, or the system refuses.
    """
    folder = Path(folder)
    if find_session(folder).recording:
        raise OutputError(f"{folder} is being recorded", do="end the recording first")
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for name in FILES:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISREG(os.lstat(name, dir_fd=handle).st_mode):
                        os.unlink(name, dir_fd=handle)
            with os.scandir(handle) as entries:
                left = tuple(sorted(entry.name for entry in entries))
            os.fsync(handle)
        finally:
            os.close(handle)
        if not left:
            folder.rmdir()
    except OSError as error:
        raise OutputError(
            f"cannot delete {folder}",
            got=error.strerror,
            expected="a folder that this user may write to",
            do="delete again as the user who recorded it",
        ) from error
    return left


def forget_subject(folder: Path) -> None:
    """Delete the pseudonym that a folder keeps."""
    path = Path(folder) / SUBJECT
    if path.is_file() and not path.is_symlink():
        path.unlink()


def _facts(folder: Path, info: dict[str, Any], problem: str | None) -> Session:
    try:
        names = sorted(path.name for path in folder.iterdir())
        sizes = {name: _regular_size(folder / name) for name in names}
        return Session(
            folder=folder,
            info=info,
            seconds=_seconds(folder / SIGNAL) if sizes.get(SIGNAL) else None,
            size_bytes=sum(size or 0 for size in sizes.values()),
            trials=max(0, _lines(folder / LABELS) - 1) if sizes.get(LABELS) else 0,
            ended=b'"kind": "ended"' in _last_line(folder / EVENTS) if sizes.get(EVENTS) else False,
            recording=_locked(folder / SIGNAL) if sizes.get(SIGNAL) is not None else False,
            foreign=tuple(name for name in names if name not in FILES or sizes[name] is None),
            problem=problem,
        )
    except OSError as error:  # one folder that may not be read hides no other
        return Session(
            folder, info, None, 0, 0, False, False, (), problem or f"cannot be read: {error.strerror}"
        )


def _regular_size(path: Path) -> int | None:
    facts = path.lstat()
    return facts.st_size if stat.S_ISREG(facts.st_mode) else None


def _locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _last_line(path: Path) -> bytes:
    """Return the last whole line; empty where there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        lines = file.read(_TAIL).split(b"\n")
    return lines[-2] if len(lines) > 1 else b""


def _seconds(path: Path) -> float | None:
    with path.open("rb") as file:
        file.readline(_TAIL)
        first = file.readline(_TAIL)
    try:
        # Without its line end it is a torn row.
        begun = float(first.partition(b",")[0]) if first.endswith(b"\n") else None
        seconds = None if begun is None else float(_last_line(path).partition(b",")[0]) - begun
    except ValueError:
        return None
    return seconds if seconds is not None and abs(seconds) < _LONGEST_S else None

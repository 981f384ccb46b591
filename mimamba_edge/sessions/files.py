"""Files that only grow: private from their first moment, on the disk a second after they were written.

What :meth:`AppendFile.append` has returned from survives the end of the process, however it ends; what is a
second old survives the power. The caller never waits for the disk: a :class:`Syncer` does, in its thread.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from mimamba_edge.errors import OutputError

__all__ = [
    "AppendFile",
    "Syncer",
    "make_private_folder",
    "sync_folder",
    "write_private_json",
    "writing_failed",
]

SYNC_S = 1.0
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


def writing_failed(path: Path, error: OSError) -> OutputError:
    """Return what a write's failure means to people."""
    full = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}
    full[errno.EFBIG] = "the file has reached its size limit"
    if error.errno in full:
        return OutputError(
            f"{full[error.errno]}: the recording ends at {path}",
            got=error.strerror,
            do="free space or record elsewhere; what was recorded until then is kept",
        )
    return OutputError(
        f"cannot write {path}",
        got=error.strerror or str(error),
        expected="a folder that this user may write to",
        do="choose another folder; what was recorded until then is kept",
    )


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private_folder(folder: Path) -> None:
    """Make a folder with mode 0700, whatever the umask.

    Raises:
        FileExistsError: It is there.
    """
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)


def _create(path: Path) -> int:
    handle = os.open(path, _CREATE | os.O_APPEND, 0o600)
    # A umask takes bits away; these must be there.
    os.fchmod(handle, 0o600)
    return handle


def write_private_json(path: Path, value: Any) -> None:
    """Write a JSON file with mode 0600: whole, or not there.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    handle = _create(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write((json.dumps(value, indent=2, allow_nan=False, default=str) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


class AppendFile:
    """A file that is made here and only grows.

    Args:
        path: Must not exist.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = _create(path)
        self._size = 0
        self._dirty = True
        self._failure: OSError | None = None
        # Held while the disk is waited for: the handle stays open as long. append() does not take it.
        self._disk = threading.Lock()
        self._open = True
        sync_folder(path.parent)

    def fileno(self) -> int:
        """Return the handle, for locks."""
        return self._handle

    def append(self, data: bytes) -> None:
        """Write ``data`` behind what is there; it is in the system's hands when this returns.

        Raises:
            OutputError: The disk is full or failed. What was not written whole is taken back.
        """
        if self._failure is not None:
            raise writing_failed(self.path, self._failure) from self._failure
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            self._failure = error
            raise writing_failed(self.path, error) from error
        self._size += len(data)
        self._dirty = True

    def sync(self) -> None:
        """Wait until all that was written is on the disk; a failure is told by the next :meth:`append`."""
        with self._disk:
            if not self._open or not self._dirty:
                return
            self._dirty = False
            try:
                os.fdatasync(self._handle)
            except OSError as error:
                self._failure = error

    def settle(self) -> None:
        """Wait until all is on the disk, and hear of a failure now.

        Raises:
            OutputError: The disk failed.
        """
        self.sync()
        self.append(b"")

    def close(self) -> None:
        """Put the rest on the disk and let go.

        Raises:
            OutputError: The disk failed since the last :meth:`append`.
        """
        if not self._open:
            return
        told = self._failure is not None
        self.sync()
        with self._disk:
            self._open = False
            os.close(self._handle)
        if self._failure is not None and not told:
            raise writing_failed(self.path, self._failure) from self._failure


class Syncer:
    """Puts files on the disk once a second, in a thread of its own.

    Args:
        interval_s: From the start of one round to the start of the next.
    """

    def __init__(self, interval_s: float = SYNC_S) -> None:
        self._interval_s = interval_s
        self._files: list[AppendFile] = []
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.slowest_s = 0.0
        """The longest round: more than a second means that a power cut may cost more than a second."""

    def add(self, file: AppendFile) -> None:
        """Look after a file from now on."""
        with self._guard:
            self._files.append(file)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
                self._thread.start()

    def remove(self, file: AppendFile) -> None:
        """Look after a file no longer."""
        with self._guard:
            self._files = [other for other in self._files if other is not file]

    def close(self) -> None:
        """End the thread; files are closed by those who opened them."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + self._interval_s
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            started = time.monotonic()
            with self._guard:
                files = list(self._files)
            for file in files:
                file.sync()
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            due = max(started + self._interval_s, time.monotonic())

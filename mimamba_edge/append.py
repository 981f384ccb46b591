"""Files that only grow: private from their first moment, on the disk a second after they were written.

What :meth:`AppendFile.append` has returned from survives the end of the process, however it ends; what is a
second old survives the power. The caller never waits for the disk: a :class:`Syncer` does, in its thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from pathlib import Path

from mimamba_edge.errors import OutputError
from mimamba_edge.files import sync_folder, writing_failed

__all__ = ["SYNC_S", "AppendFile", "Syncer", "cannot_append"]

SYNC_S = 1.0
_BLOCK = 1 << 16
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


def _create(path: Path) -> int:
    handle = os.open(path, _CREATE | os.O_APPEND, 0o600)
    # A umask takes bits away; these must be there.
    os.fchmod(handle, 0o600)
    return handle


def cannot_append(path: Path, error: OSError) -> OutputError:
    """Return what a failure means for a file that only grows."""
    what, kept = "ends here", "what was written until then is kept"
    return writing_failed(path, error, what=what, kept=kept)


class AppendFile:
    """A file that only grows.

    Args:
        path: Must not exist, but for what follows.
        continues: What a file that is there must begin with to be continued; what a power cut left of its
            last line is cut off first. A pipe or a device is written as it is.

    Raises:
        OSError: It cannot be made or opened.
        OutputError: It is there and holds something else, or another process writes it.
    """

    def __init__(self, path: Path, *, continues: bytes | None = None) -> None:
        self.path = path
        self._handle = _create(path) if continues is None else _open(path)
        self._regular = stat.S_ISREG(os.fstat(self._handle).st_mode)
        self._size = 0
        if continues is not None and self._regular:
            try:
                self._size = _take_over(self._handle, path, continues)
            except BaseException:
                os.close(self._handle)
                raise
        self._dirty = self._regular
        self._failure: OSError | None = None
        # Held while the disk is waited for: the handle stays open as long. append() does not take it.
        self._disk = threading.Lock()
        self._open = True
        sync_folder(path.parent)

    def fileno(self) -> int:
        """Return the handle, for locks."""
        return self._handle

    def moved(self) -> bool:
        """Return whether the path names another file now, or none: a rotation renamed this one."""
        if not self._regular:
            return False
        try:
            there = self.path.stat()
        except OSError as error:
            return isinstance(error, FileNotFoundError)
        return not os.path.samestat(there, os.fstat(self._handle))

    def append(self, data: bytes) -> None:
        """Write ``data`` behind what is there; it is in the system's hands when this returns.

        Raises:
            BrokenPipeError: Nobody reads the pipe any more.
            OutputError: The disk is full or failed. What was not written whole is taken back.
        """
        if self._failure is not None:
            raise cannot_append(self.path, self._failure) from self._failure
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            self._failure = error
            raise cannot_append(self.path, error) from error
        self._size += len(data)
        self._dirty = self._regular

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
            raise cannot_append(self.path, self._failure) from self._failure


def _open(path: Path) -> int:
    # To read what is there, too; of a pipe that would not wait for its reader.
    flags = os.O_WRONLY if path.is_fifo() else os.O_RDWR
    return os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take_over(handle: int, path: Path, begins: bytes) -> int:
    """Make a file ours alone and ready for another line; return its size."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{path} is being written by another stream", do="choose another path") from error
    size = os.fstat(handle).st_size
    head = os.pread(handle, len(begins), 0)
    if head != begins[: len(head)]:
        raise OutputError(
            f"{path} exists and holds something other than decisions",
            got=repr(head.decode(errors="replace")),
            expected="a new or empty file, or earlier decisions, which are continued",
            do="choose another path, or remove the file",
        )
    end = _whole_lines(handle, size)
    if end < size:
        os.ftruncate(handle, end)
    return end


def _whole_lines(handle: int, size: int) -> int:
    """Return where the last whole line of a file ends."""
    while size:
        start = max(0, size - _BLOCK)
        newline = os.pread(handle, size - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        size = start
    return 0


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

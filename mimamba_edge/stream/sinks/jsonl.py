"""Decisions as JSON lines, in a file or on stdout."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mimamba_edge.artifact import check_writable
from mimamba_edge.errors import ConfigError, MimambaError, OutputError
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo

__all__ = ["LinesFile", "LinesOnStdout", "open_spec"]

_SYNC_S = 1.0
_BLOCK = 1 << 16
_OURS = b'{"schema": "mimamba.decision.'


def open_spec(rest: str) -> Sink:
    """Open ``jsonl:PATH``, or ``jsonl:-`` for stdout.

    Raises:
        ConfigError: There is no path.
        OutputError: The file cannot be written.
    """
    if not rest:
        raise ConfigError("jsonl: needs a path", got="jsonl:", expected="jsonl:PATH, or jsonl:-")
    if rest == "-":
        return LinesOnStdout()
    check_writable(Path(rest))
    return LinesFile(Path(rest))


class LinesOnStdout(Sink):
    """Writes each decision to stdout at once.

    A reader that went away (``| head``) is the end of the stream, not an error: :meth:`decision` then raises
    BrokenPipeError.
    """

    name = "jsonl:-"
    lossless = True

    def decision(self, decision: Decision) -> None:
        """Write the line.

        Raises:
            BrokenPipeError: Nobody reads any more.
            OutputError: What stdout was sent to cannot be written.
        """
        try:
            sys.stdout.write(decision.to_json() + "\n")
            sys.stdout.flush()
            if getattr(sys.stdout, "reader_left", False):
                raise BrokenPipeError
        except OSError as error:
            with contextlib.suppress(OSError, ValueError):
                # The interpreter flushes stdout once more when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise _refused("stdout", error) from error


class LinesFile(Sink):
    """Writes each decision to a file at once, and to the disk once a second.

    A file that is there is continued if it holds decisions, because a service that starts again must not
    erase what it had; anything else is refused. What a power cut left of a last line is cut off first. A new
    file is for its owner only: what somebody felt is personal.

    Args:
        path: Where to; missing folders are made.
    """

    lossless = True

    def __init__(self, path: Path) -> None:
        self.name = f"jsonl:{path}"
        self._path = path
        self._file = -1
        self._regular = False
        self._unsynced = False
        self._synced = 0.0

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Open the file.

        Raises:
            OutputError: It cannot be written, holds something else, or another stream writes it.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # To read what is there, too; of a pipe that would not wait for its reader.
            pipe = self._path.is_fifo()
            flags = os.O_WRONLY if pipe else os.O_RDWR
            self._file = os.open(self._path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            if self._regular:
                self._take_over()
        except MimambaError:
            self._let_go()
            raise
        except OSError as error:
            self._let_go()
            raise _refused(str(self._path), error) from error
        self._synced = time.monotonic()

    def decision(self, decision: Decision) -> None:
        """Write the line.

        Raises:
            BrokenPipeError: Nobody reads the pipe any more.
            OutputError: The disk is full, or gone.
        """
        line = (decision.to_json() + "\n").encode()
        try:
            while line:
                line = line[os.write(self._file, line) :]
            self._unsynced = True
            self._sync()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _refused(str(self._path), error) from error

    def status(self, counters: dict[str, object]) -> None:
        """Bring to the disk what was written before a silence."""
        try:
            self._sync()
        except OSError as error:
            raise _refused(str(self._path), error) from error

    def close(self) -> None:
        """Bring everything to the disk and close the file."""
        try:
            if self._file >= 0 and self._regular and self._unsynced:
                os.fsync(self._file)
        except OSError as error:
            raise _refused(str(self._path), error) from error
        finally:
            self._let_go()

    def _sync(self) -> None:
        now = time.monotonic()
        if self._regular and self._unsynced and now - self._synced >= _SYNC_S:
            os.fsync(self._file)
            self._unsynced, self._synced = False, now

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _take_over(self) -> None:
        """Make the file ours alone and ready for another line."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{self._path} is being written by another stream", do="choose another path"
            ) from error
        size = os.fstat(self._file).st_size
        if not size:
            return
        head = os.pread(self._file, len(_OURS), 0)
        if head != _OURS[: len(head)]:
            raise OutputError(
                f"{self._path} exists and holds something other than decisions",
                got=repr(head.decode(errors="replace")),
                expected="a new or empty file, or earlier decisions, which are continued",
                do="choose another path, or remove the file",
            )
        end = _whole_lines(self._file, size)
        if end < size:
            os.ftruncate(self._file, end)


def _whole_lines(file: int, size: int) -> int:
    """Return where the last whole line of a file ends."""
    while size:
        start = max(0, size - _BLOCK)
        newline = os.pread(file, size - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        size = start
    return 0


def _refused(path: str, error: OSError) -> OutputError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return OutputError(
        f"the disk is full: {path}" if full else f"cannot write {path}",
        got=error.strerror or str(error),
        do="free some space; complete lines that were written are kept" if full else "choose another path",
    )

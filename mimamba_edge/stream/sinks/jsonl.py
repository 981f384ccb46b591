"""Decisions as JSON lines, in a file or on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mimamba_edge.append import AppendFile, Syncer, cannot_append
from mimamba_edge.errors import ConfigError
from mimamba_edge.files import check_writable, writing_failed
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo

__all__ = ["LinesFile", "LinesOnStdout", "open_spec"]

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
            raise writing_failed("stdout", error) from error


class LinesFile(Sink):
    """Writes each decision to a file at once, and to the disk once a second.

    A file that is there is continued if it holds decisions, because a service that starts again must not
    erase what it had; anything else is refused. A file that was renamed (by logrotate) is left, and a new one
    is begun under its old name. What a power cut left of a last line is cut off first. A new
    file is for its owner only: what somebody felt is personal.

    Args:
        path: Where to; missing folders are made.
    """

    lossless = True

    def __init__(self, path: Path) -> None:
        self.name = f"jsonl:{path}"
        self._path = path
        self._file: AppendFile | None = None
        self._syncer = Syncer()

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Open the file.

        Raises:
            OutputError: It cannot be written, holds something else, or another stream writes it.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_append(self._path, error) from error
        self._file = self._opened()

    def _opened(self) -> AppendFile:
        try:
            file = AppendFile(self._path, continues=_OURS)
        except OSError as error:
            raise cannot_append(self._path, error) from error
        self._syncer.add(file)
        return file

    def decision(self, decision: Decision) -> None:
        """Write the line.

        Raises:
            BrokenPipeError: Nobody reads the pipe any more.
            OutputError: The disk is full, or gone.
        """
        assert self._file is not None
        if self._file.moved():
            self._syncer.remove(self._file)
            self._file.close()
            self._file = self._opened()
        self._file.append((decision.to_json() + "\n").encode())

    def close(self) -> None:
        """Bring everything to the disk and close the file.

        Raises:
            OutputError: The disk failed since the last decision.
        """
        self._syncer.close()
        if self._file is not None:
            self._file.close()

"""Temporary files and folders of runs that were killed: known by the lock that nobody holds any more."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["in_use", "remove_leftovers", "removed_if_killed"]

_AGE_S = 60
"""A file this new may not be locked yet."""


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Hold a lock on a file or folder, which the system lets go however this process ends."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def removed_if_killed(pattern: str) -> Iterator[None]:
    """Have files removed should this process be killed within the block, also with its whole process group.

    A shell in a session of its own waits for the end of a pipe that this process alone holds. It gives
    others three seconds to remove what is theirs.
    """
    script = "IFS=; read -r end; sleep 3; rm -rf $1"
    null = subprocess.DEVNULL
    waiting = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", pattern],
        stdin=subprocess.PIPE,
        stdout=null,
        stderr=null,
        cwd="/",
        start_new_session=True,
    )
    try:
        yield
    finally:
        waiting.kill()
        waiting.communicate()


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove those that nobody uses any more."""
    for path in paths:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _AGE_S:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(handle)

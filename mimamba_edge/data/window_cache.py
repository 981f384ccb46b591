"""Upkeep of the cache of windows: what there is, what goes, what is in use.

What was used longest ago goes when new windows were made and all take more than :data:`LIMIT_BYTES`. An entry
that a process has mapped is never removed: the process holds a lock on its index until it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INDEX", "LIMIT_BYTES", "WINDOWS", "Entry", "entries", "hold", "let_go", "remove", "shrink"]

INDEX, WINDOWS = "index.jsonl", "windows.f8"
LIMIT_BYTES = 50e9
"""Of the entries of a folder: five sets of SEED's size with all its channels."""
_KEY = re.compile(r"[0-9a-f]{32}")
_held: dict[Path, int] = {}


@dataclass(frozen=True)
class Entry:
    """The windows of a data set, cut for one signal path.

    Attributes:
        folder: Where they are.
        size_bytes: What they take.
        used: When they were last used, Unix seconds.
    """

    folder: Path
    size_bytes: int
    used: float


def entries(cache: Path) -> list[Entry]:
    """Return the entries of a cache, what was used longest ago first; nothing else in the folder counts."""
    found = []
    with contextlib.suppress(OSError):
        for folder in cache.iterdir():
            if not _KEY.fullmatch(folder.name) or folder.is_symlink():
                continue
            with contextlib.suppress(OSError):
                index = (folder / INDEX).stat()
                size = sum(path.stat().st_size for path in folder.iterdir())
                found.append(Entry(folder, size, index.st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def hold(folder: Path) -> None:
    """Note that an entry is used now, and keep it from being removed until this process ends."""
    with contextlib.suppress(OSError):  # a cache that this user may read only
        os.utime(folder / INDEX)
    with contextlib.suppress(OSError):
        handle = os.open(folder / INDEX, os.O_RDONLY | os.O_CLOEXEC)
        let_go(folder)
        _held[folder] = handle
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def let_go(folder: Path) -> None:
    """End what :func:`hold` began."""
    if (handle := _held.pop(folder, None)) is not None:
        os.close(handle)


def remove(entry: Entry) -> bool:
    """Remove an entry; return whether it is gone, which one in use is not."""
    try:
        with (entry.folder / INDEX).open("rb") as index:
            fcntl.flock(index, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The index first: what it does not tell of is made again.
            for name in (INDEX, WINDOWS):
                (entry.folder / name).unlink(missing_ok=True)
    except OSError:  # in use, or the folder of somebody else
        return False
    with contextlib.suppress(OSError):  # something else in it
        entry.folder.rmdir()
    return True


def shrink(cache: Path, limit_bytes: float, keep: Collection[Path] = ()) -> list[Entry]:
    """Remove what was used longest ago until the rest takes no more than a limit; return what went.

    Args:
        cache: A folder of entries.
        limit_bytes: What may stay.
        keep: Entries that stay.
    """
    there, gone = entries(cache), list[Entry]()
    total = sum(entry.size_bytes for entry in there)
    for entry in there:
        if total > limit_bytes and entry.folder not in keep and remove(entry):
            total -= entry.size_bytes
            gone.append(entry)
    return gone

"""The tags of a FIF file, looked at before MNE-Python reads it: MNE follows them wherever they lead.

Kinds and values are those of MNE's ``mne.io.constants.FIFF`` (fiff_file.h).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mimamba_edge.data.bounds import unpacked
from mimamba_edge.errors import DataError

__all__ = ["check_tags"]

_HEAD = struct.Struct(">iIii")
"""Kind, type, size, where the next tag is (0: behind this one, below 0: nowhere)."""
_ENTRY = struct.Struct(">iIii")
"""Of a directory: kind, type, size, where the tag is."""
_DIRECTORY_AT = 36
"""Behind the file's identity of 20 bytes there must be a pointer to the directory."""
_ROLE, _NUMBER, _NAME, _NEXT_FILE = 115, 117, 118, 2
_MOST_TAGS = 1_000_000
"""A file of the largest size, 2 GB, has some ten thousands."""


def check_tags(path: Path) -> None:
    """Check that the tags of a file, and of its further parts where it was split, come to an end.

    Raises:
        DataError: They do not.
        OSError: A part cannot be read.
    """
    seen: set[Path] = set()
    part: Path | None = path
    while part is not None and part.is_file():
        if part.resolve() in seen:
            raise DataError(
                f"{path} is not raw data in a FIF file", got="parts that lead back to one of them"
            )
        seen.add(part.resolve())
        if part.suffix.lower() == ".gz":
            part = _next_part(part, io.BytesIO(unpacked(part)))
        else:
            with part.open("rb") as file:
                part = _next_part(part, file)


def _next_part(path: Path, file: IO[bytes]) -> Path | None:
    """Return the file that a split file goes on in, as MNE finds it."""
    tags = list(_chain(path, file))
    file.seek(_DIRECTORY_AT + _HEAD.size)
    (directory,) = struct.unpack(">i", file.read(4).rjust(4, b"\0"))
    if directory > 0:
        file.seek(directory)
        size = _HEAD.unpack(file.read(_HEAD.size))[2] if directory < file.seek(0, io.SEEK_END) else 0
        file.seek(directory + _HEAD.size)
        held = file.read(min(max(0, size), _MOST_TAGS * _ENTRY.size))
        tags = [(e[0], e[3]) for e in _ENTRY.iter_unpack(held[: len(held) // _ENTRY.size * _ENTRY.size])]
    role, named = 0, None
    for kind, position in tags:
        if kind not in (_ROLE, _NUMBER, _NAME):
            continue
        file.seek(position)
        size = _HEAD.unpack(file.read(_HEAD.size))[2]
        data = file.read(min(max(0, size), 4096))
        if kind == _ROLE:
            (role,) = struct.unpack(">i", data[:4])
        elif role == _NEXT_FILE and kind == _NAME:
            return path.parent / data.decode("latin-1")
        elif role == _NEXT_FILE and named is None:
            stem, _, rest = path.name.partition(".")
            first, _, number = stem.rpartition("-")
            stem = first if first and number.isdigit() else stem
            named = path.with_name(f"{stem}-{struct.unpack('>i', data[:4])[0]}.{rest}")
    return named


def _chain(path: Path, file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Yield kind and position of each tag."""
    most = min(_MOST_TAGS, file.seek(0, io.SEEK_END) // _HEAD.size)
    position = 0
    for _ in range(most + 1):
        file.seek(position)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        kind, _, size, following = _HEAD.unpack(head)
        yield kind, position
        if following < 0:
            return
        position = following or position + _HEAD.size + size
    raise DataError(f"{path} is not raw data in a FIF file", got="a chain of tags without an end")

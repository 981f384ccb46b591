"""MAT files of version 5, walked through without holding them: for one variable larger than the memory.

Format: MathWorks, "MAT-File Format" (version 5). SciPy's ``loadmat`` reads a variable whole, which is right
for files of many variables; DREAMER is one variable of 2 GB when it is unpacked. Here its parts are
visited one after the other, and a place in it can be kept and returned to: of packed data the state of zlib
at that place, 40 kB.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import check_regular
from mimamba_edge.errors import DataError, quoted

__all__ = ["Leaf", "MatVariable"]

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMBERS = 1, 2, 4, range(6, 16)
_COMPLEX = 0x08
_CHUNK = 1 << 18
_MOST_PARTS, _MOST_DEPTH, _MOST_BYTES = 100_000, 12, 1 << 30


class _Damaged(Exception):
    """The file does not say what the format asks for."""


@dataclass(frozen=True)
class _Place:
    at: int
    file_at: int
    rest: bytes
    packed: Any


class _Stream:
    """The bytes of a variable, unpacked as they are read."""

    def __init__(self, path: Path, start: int, size: int, *, packed: bool) -> None:
        with path.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._next, self._stop = start, min(start + size, len(self._content))
        self._packed: Any = zlib.decompressobj() if packed else None
        self._rest = b""
        self.at = 0

    def read(self, n: int) -> bytes:
        parts = bytearray()
        while len(parts) < n:
            part = self._part(min(n - len(parts), _CHUNK))
            if not part:
                raise _Damaged("it ends too early")
            parts += part
        self.at += n
        return bytes(parts)

    def skip(self, n: int) -> None:
        if self._packed is None:
            self._next += n
            self.at += n
            return
        while n > 0:
            n -= len(self.read(min(n, _CHUNK)))

    def _part(self, most: int) -> bytes:
        if self._packed is None:
            return self._taken(most)
        while not self._packed.eof:
            if not self._rest:
                self._rest = self._taken(_CHUNK)
                if not self._rest:
                    return b""
            found: bytes = self._packed.decompress(self._rest, most)
            self._rest = self._packed.unconsumed_tail
            if found:
                return found
        return b""

    def _taken(self, most: int) -> bytes:
        at, self._next = self._next, max(self._next, min(self._next + most, self._stop))
        return self._content[at : self._next]

    def place(self) -> _Place:
        return _Place(self.at, self._next, self._rest, self._packed and self._packed.copy())

    def back(self, place: _Place) -> None:
        self.at, self._next, self._rest = place.at, place.file_at, place.rest
        self._packed = place.packed and place.packed.copy()


@dataclass(frozen=True)
class Leaf:
    """An array of numbers somewhere in a variable.

    Attributes:
        path: Names of fields and numbers of elements, from 0, that lead to it; an array of one element adds
            no number.
        shape: Its sizes.
        place: Where it stands, for :meth:`MatVariable.values`.
    """

    path: tuple[str | int, ...]
    shape: tuple[int, ...]
    place: _Place


class MatVariable:
    """The first variable of a MAT file.

    Args:
        path: The file.

    Raises:
        DataError: It is no such file.
    """

    def __init__(self, path: Path) -> None:
        check_regular(path)
        self.path = path
        self._order, self._left = "<", _MOST_PARTS
        try:
            with path.open("rb") as file:
                head = file.read(128)
                self._order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
                if not self._order or head[125 if self._order == "<" else 124] != 1:
                    raise _Damaged("it is no MAT file of version 5")
                kind, size = self._unpacked("II", file.read(8))
            if kind not in (_MATRIX, _COMPRESSED):
                raise _Damaged(f"its first part is of the type {kind}")
            packed = kind == _COMPRESSED
            self._stream = _Stream(path, 136 if packed else 128, size + 8 * (not packed), packed=packed)
        except (OSError, struct.error, _Damaged) as error:
            raise DataError(f"cannot read {path}", got=error, expected="a MAT file of version 5") from error

    def walk(self, visit: Callable[[Leaf], object]) -> None:
        """Go through the variable once and call ``visit`` for each array of numbers.

        Raises:
            DataError: The file is damaged or cut off.
        """
        try:
            self._matrix((), visit, 0)
        except (_Damaged, zlib.error, struct.error, ValueError, OverflowError) as error:
            raise DataError(f"{self.path} is damaged or cut off", got=error) from error

    def values(self, leaf: Leaf) -> NDArray[np.float64]:
        """Return the numbers of a leaf.

        Raises:
            DataError: The file is damaged or cut off.
        """
        stream = self._stream
        here = stream.place()
        try:
            stream.back(leaf.place)
            kind, size, rest = self._tag()
            dtype = np.dtype(self._order + _TYPES[kind])
            if size != math.prod(leaf.shape) * dtype.itemsize:
                raise _Damaged(f"an array of {size} bytes for {leaf.shape}")
            found = np.frombuffer(rest if rest is not None else stream.read(size), dtype)
            return found.astype(np.float64).reshape(leaf.shape, order="F")
        except (_Damaged, KeyError, zlib.error, struct.error) as error:
            raise DataError(f"{self.path} is damaged or cut off", got=error) from error
        finally:
            stream.back(here)

    def _unpacked(self, form: str, data: bytes) -> tuple[Any, ...]:
        return struct.unpack(self._order + form, data)

    def _tag(self) -> tuple[int, int, bytes | None]:
        """Return type and size of the next element, and its bytes where they stand in the tag."""
        head = self._stream.read(8)
        kind, size = self._unpacked("II", head)
        if kind >> 16:
            small = kind >> 16
            if small > 4:
                raise _Damaged(f"a small element of {small} bytes")
            return kind & 0xFFFF, small, head[4 : 4 + small]
        if size > _MOST_BYTES and kind != _MATRIX:
            raise _Damaged(f"an element of {size:,} bytes")
        return kind, size, None

    def _element(self) -> tuple[int, bytes]:
        kind, size, rest = self._tag()
        if rest is not None:
            return kind, rest
        if size > 1 << 20:
            raise _Damaged(f"a name or a list of sizes of {size:,} bytes")
        data = self._stream.read(size)
        self._stream.skip(-size % 8)
        return kind, data

    def _matrix(self, path: tuple[str | int, ...], visit: Callable[[Leaf], object], depth: int) -> None:
        self._left -= 1
        kind, size, rest = self._tag()
        if kind != _MATRIX or rest is not None or depth > _MOST_DEPTH or self._left < 0:
            raise _Damaged(f"an element of the type {kind} where an array should be, at {quoted(path)}")
        stop = self._stream.at + size
        if size:
            _, flags = self._element()
            (word,) = self._unpacked("I", flags[:4])
            _, sizes = self._element()
            shape = self._unpacked(f"{len(sizes) // 4}i", sizes)
            self._element()  # its name
            count = math.prod(shape)
            if len(shape) < 2 or min(shape) < 0:
                raise _Damaged(f"an array of the shape {quoted(shape)}")
            self._content(path, (word & 0xFF, word >> 8), shape, visit, depth) if count else None
        left = stop - self._stream.at
        if left < 0:
            raise _Damaged(f"an array that is longer than it says, at {quoted(path)}")
        self._stream.skip(left)

    def _content(
        self,
        path: tuple[str | int, ...],
        kind: tuple[int, int],
        shape: tuple[int, ...],
        visit: Callable[[Leaf], object],
        depth: int,
    ) -> None:
        count = math.prod(shape)
        if kind[0] in _NUMBERS and not kind[1] & _COMPLEX:
            visit(Leaf(path, shape, self._stream.place()))
        elif kind[0] in (_CELL, _STRUCT):
            names: list[str | None] = [None]
            if kind[0] == _STRUCT:
                _, length = self._element()
                (width,) = self._unpacked("i", length[:4])
                _, text = self._element()
                if not 1 <= width <= 1024:
                    raise _Damaged(f"names of fields of {width} bytes")
                cut = (text[k : k + width] for k in range(0, len(text), width))
                names = [one.partition(b"\0")[0].decode("latin-1") for one in cut]
            if count * len(names) > self._left:
                raise _Damaged(f"{count:,} elements at {quoted(path)}")
            for number in range(count):
                for name in names:
                    here = path if kind[0] == _STRUCT and count == 1 else (*path, number)
                    self._matrix(here if name is None else (*here, name), visit, depth + 1)

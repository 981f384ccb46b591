"""MAT files of version 5, walked through without holding them: for one variable larger than the memory.

Format: MathWorks, "MAT-File Format" (version 5). SciPy's ``loadmat`` (1.17) reads a variable whole, and ends
the process by a segmentation fault on some damaged files. DREAMER is one variable of 2 GB when it is
unpacked. Here its parts are visited one after the other, and a place in it can be kept and returned to: of
packed data the state of zlib at that place, 40 kB.
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

__all__ = ["Leaf", "MatVariable", "mat_variables"]

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMBERS = 1, 2, 4, range(6, 16)
_WALKED = {_CELL, _STRUCT, _CHAR, *_NUMBERS}
_TEXTS = (1, 2, 4, 16, 17, 18)
_COMPLEX = 0x08
_CHUNK = 1 << 18
_MOST_PARTS, _MOST_DEPTH, _MOST_BYTES, _MOST_VARIABLES = 100_000, 12, 1 << 30, 1000


class _Damaged(Exception):
    """The file does not say what the format asks for."""


_FAILURES = (_Damaged, zlib.error, struct.error, ValueError, OverflowError)


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

    def finish(self) -> None:
        """Go to the end of packed data, where zlib compares its checksum."""
        if self._packed is not None:
            while self._part(_CHUNK):
                pass
            if not self._packed.eof:
                raise _Damaged("it ends too early")

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


def mat_variables(path: Path) -> list[MatVariable]:
    """Return the variables of a MAT file, in its order; what they hold is not read.

    Raises:
        DataError: It is no such file, or is cut off.
    """
    check_regular(path)
    found: list[MatVariable] = []
    try:
        with path.open("rb") as file:
            head, end = file.read(128), path.stat().st_size
            order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
            if not order or head[125 if order == "<" else 124] != 1:
                raise _Damaged("it is no MAT file of version 5")
            at = 128
            while at < end and len(found) < _MOST_VARIABLES:
                file.seek(at)
                kind, size = struct.unpack(order + "II", file.read(8))
                if kind not in (_MATRIX, _COMPRESSED):
                    raise _Damaged(f"a part of the type {kind}")
                if at + 8 + size > end:
                    raise _Damaged(f"it ends at {end:,} bytes, within a variable")
                packed = kind == _COMPRESSED
                place = (at + 8, size) if packed else (at, size + 8)
                found.append(MatVariable(path, order, _Stream(path, *place, packed=packed)))
                at += 8 + size
    except (OSError, struct.error, _Damaged) as error:
        raise DataError(f"cannot read {path}", got=error, expected="a MAT file of version 5") from error
    if not found:
        raise DataError(f"{path} holds no variable", expected="a MAT file of version 5")
    return found


class MatVariable:
    """A variable of a MAT file, see :func:`mat_variables`."""

    def __init__(self, path: Path, order: str, stream: _Stream) -> None:
        self.path, self._order, self._stream = path, order, stream
        self._left = _MOST_PARTS
        self._start = stream.place()

    def head(self) -> tuple[str, tuple[int, ...]]:
        """Return its name and its shape.

        Raises:
            DataError: The file is damaged or cut off.
        """
        try:
            self._stream.back(self._start)
            kind, _, rest = self._tag()
            if kind != _MATRIX or rest is not None:
                raise _Damaged(f"an element of the type {kind} where an array should be")
            self._element()
            shape = self._shape()
            return self._element()[1].decode("latin-1"), shape
        except _FAILURES as error:
            raise DataError(f"{self.path} is damaged or cut off", got=error) from error
        finally:
            self._stream.back(self._start)

    def walk(self, visit: Callable[[Leaf], object]) -> None:
        """Go through the variable once and call ``visit`` for each array of numbers.

        Raises:
            DataError: The file is damaged or cut off.
        """
        try:
            self._left = _MOST_PARTS
            self._stream.back(self._start)
            self._matrix((), visit, 0)
            self._stream.finish()
        except _FAILURES as error:
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
            size, dtype, rest = self._numbers(leaf.shape)
            found = np.frombuffer(rest if rest is not None else stream.read(size), dtype)
            return found.astype(np.float64).reshape(leaf.shape, order="F")
        except _FAILURES as error:
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

    def _numbers(self, shape: tuple[int, ...]) -> tuple[int, np.dtype[Any], bytes | None]:
        """Return bytes, type and, where they stand in it, values of the tag of an array of numbers."""
        kind, size, rest = self._tag()
        if kind not in _TYPES:
            raise _Damaged(f"numbers of the type {kind}")
        dtype = np.dtype(self._order + _TYPES[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise _Damaged(f"an array of {size:,} bytes for {quoted(shape)}")
        return size, dtype, rest

    def _shape(self) -> tuple[int, ...]:
        _, sizes = self._element()
        shape: tuple[int, ...] = self._unpacked(f"{len(sizes) // 4}i", sizes)
        if not 2 <= len(shape) <= _MOST_DEPTH or min(shape) < 0:
            raise _Damaged(f"an array of the shape {quoted(shape)}")
        return shape

    def _matrix(self, path: tuple[str | int, ...], visit: Callable[[Leaf], object], depth: int) -> None:
        self._left -= 1
        kind, size, rest = self._tag()
        if kind != _MATRIX or rest is not None or depth > _MOST_DEPTH or self._left < 0:
            raise _Damaged(f"an element of the type {kind} where an array should be, at {quoted(path)}")
        stop = self._stream.at + size
        if size:
            _, flags = self._element()
            (word,) = self._unpacked("I", flags[:4])
            if word & 0xFF not in _WALKED:
                raise _Damaged(f"an object, a function or a sparse array at {quoted(path)}")
            shape = self._shape()
            self._element()  # its name
            if math.prod(shape):
                self._content(path, (word & 0xFF, word >> 8), shape, visit, depth)
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
            self._numbers(shape)
        elif kind[0] == _CHAR:
            if (text_kind := self._tag()[0]) not in _TEXTS:
                raise _Damaged(f"a text of the type {text_kind}")
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

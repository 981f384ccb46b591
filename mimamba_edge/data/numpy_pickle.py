"""Pickles that hold NumPy arrays and nothing else.

A pickle is a program: it may call whatever it names. Here it can name what makes a NumPy array, and even that
is not NumPy's but a stand-in that only keeps what it is given. Arrays are made of that afterwards, over the
mapped file where it holds their bytes as they are: nothing of the signal is read before it is used.

The opcodes are those of Python's own unpickler in its form in Python, whose memory grows with what it reads;
the one in C can be made to ask for gigabytes by a few bytes (CPython issue 115952).
"""

from __future__ import annotations

import mmap
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import check_regular
from mimamba_edge.errors import DataError, quoted

__all__ = ["read_arrays"]

_CODES = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} - {"f1"} | {"b1"}
_TEXT = 64


class _Refused(Exception):
    """The pickle names something that is no part of an array."""


class _Type:
    """What a pickle says of a ``dtype``."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = _text(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        if self.code not in _CODES or self.order not in ("<", ">", "|", "="):
            raise _Refused(f"an array of the type {quoted(self.order + self.code)}")
        return np.dtype(self.order + self.code)


class _Array:
    """What a pickle says of an ``ndarray``."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise _Refused("an array without content")
        _, shape, kind, fortran, content = self.state
        return _made(content, kind, shape, "F" if fortran else "C").array()


class _Made(_Array):
    """An array of protocol 5, whose parts come in one call."""

    def __init__(self, content: Any, kind: Any, shape: Any, order: Any) -> None:
        self.parts = content, kind, shape, order

    def array(self) -> NDArray[Any]:
        content, kind, shape, order = self.parts
        if not isinstance(kind, _Type) or not isinstance(shape, tuple):
            raise _Refused("an array without a type or a shape")
        if not all(isinstance(size, int) and size >= 0 for size in shape) or order not in ("C", "F"):
            raise _Refused(f"an array of the shape {quoted(shape)}")
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise _Refused(f"an array whose content is of the type {type(content).__name__}")
        found = np.frombuffer(content, kind.dtype())
        return found.reshape(shape, order="F" if order == "F" else "C")


def _made(content: Any, kind: Any, shape: Any, order: Any) -> _Made:
    return _Made(content, kind, shape, order)


def _encoded(text: Any, encoding: Any) -> bytes:
    """Stand in for ``_codecs.encode``, which Python 3 writes bytes with in old protocols."""
    if not isinstance(text, str) or _text(encoding) != "latin1":
        raise _Refused("a text that holds no bytes")
    return text.encode("latin1")


def _text(value: Any) -> str:
    if isinstance(value, memoryview):
        value = bytes(value[:_TEXT])
    return value[:_TEXT].decode("latin1") if isinstance(value, bytes) else str(value)[:_TEXT]


_NUMPY = ("numpy.core", "numpy._core")
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encoded,
    **{(f"{core}.multiarray", "_reconstruct"): _Array for core in _NUMPY},
    **{(f"{core}.numeric", "_frombuffer"): _made for core in _NUMPY},
}


class _Mapped:
    """A mapped file as the unpickler reads it: long parts as views, short ones as bytes."""

    _LONG = 4096

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._at = content, 0

    def read(self, n: int) -> Any:
        at = self._at
        self._at = stop = min(at + n, len(self._content))
        if n < self._LONG:
            return self._content[at:stop]
        return memoryview(self._content)[at:stop]

    def readline(self) -> bytes:
        at = self._at
        end = self._content.find(b"\n", at)
        self._at = len(self._content) if end < 0 else end + 1
        return self._content[at : self._at]


class _Unpickler(pickle._Unpickler):  # the form in Python; see above
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"it names {quoted(f'{module}.{name}')}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("it names something outside of it")

    def _build(self) -> None:
        stack: list[Any] = self.__dict__["stack"]
        state, made = stack.pop(), stack[-1]
        if not isinstance(made, (_Array, _Type)):
            raise _Refused("it sets attributes of something that is no array")
        made.__setstate__(state)

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: _build}


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a pickled dictionary by their names; read-only, the file stays mapped.

    Raises:
        DataError: It is no such pickle, is cut off, or holds anything else, such as a call.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = _Unpickler(_Mapped(content), encoding="bytes").load()
        if not isinstance(found, dict):
            raise _Refused(f"it is of the type {type(found).__name__}")
        return {_text(name): _array_of(value) for name, value in found.items()}
    except _Refused as error:
        raise DataError(
            f"{path} holds something else than NumPy arrays",
            got=error,
            expected="a dictionary of NumPy arrays",
            do="do not open it with anything else either: a pickle can run any program",
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror) from error
    except Exception as error:  # whatever a damaged pickle sets off
        raise DataError(
            f"{path} is damaged or cut off",
            got=_why(error),
            expected="a pickled dictionary of NumPy arrays",
        ) from error


def _why(error: Exception) -> str:
    """Return in words what a damaged pickle sets off."""
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, KeyError):
        return f"the byte {error} where a command of a pickle should stand"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _array_of(value: Any) -> NDArray[Any]:
    if not isinstance(value, _Array):
        raise _Refused(f"a value of the type {type(value).__name__}")
    return value.array()

"""JSON from outside, and the plain part of a checkpoint: bounded and typed before anybody works with it.

All that is read here may have been written by a stranger. Bounds come first (bytes, depth, number of values,
length of texts, numbers that are finite and fit 64 bits), types second; an error names the field by its path.
"""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mimamba_edge.errors import quoted, shorten

__all__ = ["Malformed", "check_bounds", "convert", "decode", "read_json", "read_regular"]

_T = TypeVar("_T")
_MOST_BYTES = 4 << 20
_MOST_DEPTH = 32
_MOST_VALUES = 200_000
_MOST_TEXT = 20_000
_WHOLE = (-(2**63), 2**63 - 1)
_AT = re.compile(r"(.*) - at (?:`key` in )?`\$\.?(.*)`")


class Malformed(ValueError):
    """A value from outside that is not what it should be; the text is short and names the field."""


def read_regular(path: Path, most_bytes: int = _MOST_BYTES) -> bytes:
    """Return a file's bytes, if it is a regular file of no more than ``most_bytes``.

    Raises:
        Malformed: It is none (a pipe or a device would never end), or it is larger.
        OSError: It cannot be opened.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Malformed("not a regular file")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise Malformed(f"more than {most_bytes:,} bytes")
    return data


def read_json(path: Path, kind: type[_T], *, closed: bool = True, times: int = 1) -> _T:
    """Read a JSON file as a ``kind``.

    Raises:
        Malformed: See :func:`decode`, whose arguments these are, and :func:`read_regular`.
        OSError: It cannot be opened.
    """
    return decode(read_regular(path, times * _MOST_BYTES), kind, closed=closed, times=times)


def decode(data: bytes | str, kind: type[_T], *, closed: bool = True, times: int = 1) -> _T:
    """Read JSON (RFC 8259: no NaN, no infinity) as a ``kind``.

    Args:
        data: The text.
        kind: Dataclass, or a type of plain values such as ``dict[str, Any]``.
        closed: Refuse fields that a dataclass does not have.
        times: How many times the usual number of bytes and values there may be.

    Raises:
        Malformed: It is not JSON, beyond a bound, or of other types.
    """
    if len(data) > times * _MOST_BYTES:
        raise Malformed(f"more than {times * _MOST_BYTES:,} bytes")
    # Before they are made: an empty list is three bytes here and sixty-four in memory.
    if (data.count(",") if isinstance(data, str) else data.count(b",")) > 2 * times * _MOST_VALUES:
        raise Malformed(f"the whole: more than {times * _MOST_VALUES:,} values")
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise Malformed(f"nested more than {_MOST_DEPTH} deep") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Malformed(f"not JSON: {shorten(str(error), 200)}") from None
    return convert(value, kind, closed=closed, times=times)


def convert(value: object, kind: type[_T], *, closed: bool = True, times: int = 1) -> _T:
    """Return plain values (JSON's, with tuples) as a ``kind``; the arguments are those of :func:`decode`.

    Raises:
        Malformed: The values are not plain, beyond a bound, or of other types.
        MimambaError: What the dataclass itself raises.
    """
    check_bounds(value, times=times)
    try:
        made = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = _AT.fullmatch(str(error))
        text = f"{found[2]}: {found[1]}" if found and found[2] else str(error)
        raise Malformed(shorten(text.replace("`", ""), 300)) from None
    if closed and (unknown := _left_out(value, msgspec.to_builtins(made), "")):
        raise Malformed(f"unknown fields: {shorten(', '.join(unknown), 300)}")
    return made


def check_bounds(value: object, name: str = "", *, times: int = 1) -> None:
    """Refuse what is not plain or is beyond a bound. Not recursive: what refers to itself has no end.

    Args:
        value: Any value.
        name: What to call it in the error.
        times: How many times the usual number of values there may be.

    Raises:
        Malformed: See :func:`convert`.
    """
    open_values: list[tuple[object, str, int]] = [(value, name, 0)]
    count, most = 0, times * _MOST_VALUES
    while open_values:
        one, path, depth = open_values.pop()
        count += 1
        if count > most:
            raise Malformed(f"{path or 'the whole'}: more than {most:,} values")
        if problem := _problem(one, depth):
            raise Malformed(f"{path or 'the whole'}: {problem}")
        if isinstance(one, dict):
            for name, held in one.items():
                if not isinstance(name, str):
                    raise Malformed(f"{path or 'the whole'}: the key {quoted(name)} is not text")
                open_values.append(
                    (held, f"{path}.{shorten(name, 60)}" if path else shorten(name, 60), depth + 1)
                )
        elif isinstance(one, (list, tuple)):
            if count + len(open_values) + len(one) > most:
                raise Malformed(f"{path or 'the whole'}: more than {most:,} values")
            open_values.extend((held, f"{path}[{index}]", depth + 1) for index, held in enumerate(one))


def _problem(value: object, depth: int) -> str | None:
    if depth > _MOST_DEPTH:
        return f"nested more than {_MOST_DEPTH} deep"
    if isinstance(value, str):
        return f"a text of {len(value):,} characters" if len(value) > _MOST_TEXT else None
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return None if _WHOLE[0] <= value <= _WHOLE[1] else "a whole number beyond 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a finite number"
    if isinstance(value, (dict, list, tuple)):
        return None
    return f"a value of type {type(value).__name__}"


def _left_out(given: Any, kept: Any, path: str) -> list[str]:
    """Return the fields that a conversion passed over."""
    if isinstance(given, dict) and isinstance(kept, dict):
        unknown = [f"{path}{shorten(name, 60)}" for name in given if name not in kept]
        inner = ((given[name], kept[name], f"{path}{shorten(name, 60)}.") for name in given if name in kept)
    elif isinstance(given, (list, tuple)) and isinstance(kept, (list, tuple)):
        unknown = []
        inner = ((one, other, f"{path}{i}.") for i, (one, other) in enumerate(zip(given, kept, strict=True)))
    else:
        return []
    return unknown + [name for one, other, where in inner for name in _left_out(one, other, where)]

"""Spoils good files: edits of bytes, of numbers in texts, of JSON values, inside zip and gzip too.

An :class:`Edit` is plain data, so that Hypothesis can draw and shrink lists of them; a long run draws them
from a seed. The same edits of the same seed give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["KINDS", "Edit", "apply", "draw_edits"]

KINDS = (
    "flip",
    "byte",
    "delete",
    "repeat",
    "cut",
    "insert",
    "integer",
    "number",
    "number",
    "json",
    "json",
    "splice",
    "line",
)
_BYTES = (0, 1, 9, 10, 13, 32, 34, 44, 45, 46, 91, 92, 123, 127, 128, 0xC0, 0xFE, 0xFF)
_INTEGERS = (0, 1, -1, 255, 256, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**62, 2**63 - 1)
_NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e300",
    "-1e308",
    "1e400",
    "5e-324",
    "0",
    "-1",
    "-0.0",
    "1e7",
    "4294967296",
    "9" * 400,
    "9" * 5001,
    "x",
    "",
)
_JSON = (
    "NaN",
    "1e400",
    "1e300",
    "-1",
    "0",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"x"',
    '"\\ud800"',
    '"\\u001b[2J"',
    "9" * 400,
    "9" * 5001,
    "[" * 5000,
    "[" * 900 + "]" * 900,
    '{"a":' * 900 + "1" + "}" * 900,
    '"' + "n" * 20_000 + '"',
    "[" + "1," * 5000 + "1]",
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_MARK = "@edited@"
_LONGEST = 4 << 20
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Edit:
    """One edit: its kind, where (0 to 1), how much, which of the values; ``inside`` opens zip and gzip."""

    kind: str
    at: float
    size: int
    value: int
    inside: bool = True


def draw_edits(rng: random.Random) -> list[Edit]:
    """Return one to six edits."""
    return [
        Edit(
            rng.choice(KINDS),
            rng.random(),
            rng.choice((1, 1, 2, 4, 16, 300)),
            rng.randrange(64),
            rng.random() < 0.7,
        )
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6)))
    ]


def apply(data: bytes, edits: Sequence[Edit], others: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` after all edits; ``others`` are files of the same kind, to splice."""
    for edit in edits:
        data = (_inside(data, edit, others) if edit.inside else _edited(data, edit, others))[:_LONGEST]
    return data


def _inside(data: bytes, edit: Edit, others: Sequence[bytes]) -> bytes:
    if data[:2] == b"\x1f\x8b":
        try:
            return gzip.compress(_edited(gzip.decompress(data), edit, others), 1, mtime=0)
        except (OSError, EOFError, ValueError, zlib.error):
            return _edited(data, edit, others)
    if data[:2] == b"PK":
        return _in_zip(data, edit, others)
    if len(data) > 8 and data[8:9] == b"{":
        # safetensors: the length of a JSON text, the text, the tensors.
        (n,) = struct.unpack("<Q", data[:8])
        if n < len(data):
            text = _in_strings(data[8 : 8 + n], edit, others)
            return struct.pack("<Q", len(text)) + text + data[8 + n :]
    return _edited(data, edit, others)


def _in_zip(data: bytes, edit: Edit, others: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            names = old.namelist()
            spoilt = next((n for n in names if n.endswith("data.pkl")), names[0])
            if edit.value % 4 == 0:
                spoilt = names[int(edit.at * len(names)) % len(names)]
            for name in names:
                held = old.read(name)
                new.writestr(
                    zipfile.ZipInfo(name, _ZIP_TIME), _edited(held, edit, others) if name == spoilt else held
                )
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, IndexError, RuntimeError, EOFError):
        return _edited(data, edit, others)
    return out.getvalue()


def _in_strings(text: bytes, edit: Edit, others: Sequence[bytes]) -> bytes:
    """Edit a JSON text, or one of the JSON texts in its ``__metadata__``."""
    try:
        held = json.loads(text)
        inner = held["__metadata__"]
        name = sorted(inner)[edit.value % len(inner)]
        inner[name] = _edited(inner[name].encode(), edit, others).decode("utf-8", "replace")
        return json.dumps(held).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ZeroDivisionError):
        return _edited(text, edit, others)


def _edited(data: bytes, edit: Edit, others: Sequence[bytes]) -> bytes:
    at = min(int(edit.at * len(data)), max(0, len(data) - 1))
    size, value = edit.size, edit.value
    if edit.kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :]
    if edit.kind == "byte":
        return data[:at] + bytes([_BYTES[value % len(_BYTES)]]) * size + data[at + size :]
    if edit.kind == "delete":
        return data[:at] + data[at + size :]
    if edit.kind == "repeat":
        return data[:at] + data[at : at + size] * (value + 2) + data[at + size :]
    if edit.kind == "cut":
        return data[:at]
    if edit.kind == "insert":
        return data[:at] + bytes([_BYTES[value % len(_BYTES)]]) * size + data[at:]
    if edit.kind == "integer":
        form = ("<H", ">H", "<I", ">I", "<Q", ">Q")[value % 6]
        wide = struct.calcsize(form)
        number = _INTEGERS[(value // 6 + size) % len(_INTEGERS)] % (1 << 8 * wide)
        return data[:at] + struct.pack(form, number) + data[at + wide :]
    if edit.kind == "number":
        return _with_number(data, at, _NUMBERS[value % len(_NUMBERS)].encode())
    if edit.kind == "json":
        return _with_json(data, edit)
    if edit.kind == "splice" and others:
        other = others[value % len(others)]
        return data[:at] + other[int(edit.at * len(other)) :]
    if edit.kind == "line":
        lines = data.split(b"\n")
        i = min(int(edit.at * len(lines)), len(lines) - 1)
        return b"\n".join(lines[:i] + [lines[i]] * (value % 4) + lines[i + 1 :])
    return data


def _with_number(data: bytes, at: int, text: bytes) -> bytes:
    """Put another text in place of the first number after ``at``, of a file that may be padded to a width."""
    found = _NUMBER.search(data, at) or _NUMBER.search(data)
    if found is None:
        return data
    padding = len(found[0]) - len(text)
    after = data[found.end() :]
    # Fields of a fixed width (EDF) keep theirs where spaces follow.
    spare = len(after) - len(after.lstrip(b" "))
    if padding >= 0 and spare:
        return data[: found.start()] + text + b" " * padding + after
    return data[: found.start()] + text + (after[min(spare, -padding) :] if spare else after)


def _with_json(data: bytes, edit: Edit) -> bytes:
    """Put another value in place of one in a JSON text, or in one of its lines."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        lines = data.split(b"\n")
        i = min(int(edit.at * len(lines)), len(lines) - 1)
        if len(lines) > 1 and lines[i][:1] == b"{":
            lines[i] = _with_json(lines[i], edit)
            return b"\n".join(lines)
        return _with_number(data, int(edit.at * len(data)), _NUMBERS[edit.value % len(_NUMBERS)].encode())
    places: list[tuple[dict[str, object] | list[object], str | int]] = []

    def walk(held: object) -> None:
        pairs: Sequence[tuple[str | int, object]] = ()
        if isinstance(held, dict):
            pairs = list(held.items())
        elif isinstance(held, list):
            pairs = list(enumerate(held[:50]))
        else:
            return
        for key, one in pairs:
            places.append((held, key))
            walk(one)

    try:
        walk(whole)
        if not places:
            return _JSON[edit.value % len(_JSON)].encode()
        held, key = places[min(int(edit.at * len(places)), len(places) - 1)]
        if edit.size == 2 and isinstance(held, dict):
            held[f"{key}-more" * (edit.value + 1)] = held.pop(str(key))
            return json.dumps(whole).encode()
        held[key] = _MARK  # type: ignore[call-overload, index]
        return json.dumps(whole).replace(f'"{_MARK}"', _JSON[edit.value % len(_JSON)]).encode()
    except RecursionError:
        return data

"""What comes from outside as JSON: bounds first, types second, the field named, the text short."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.errors import MimambaError, listed, quoted, shorten
from mimamba_edge.strict_json import Malformed, convert, decode, read_json


@dataclass(frozen=True)
class _Inner:
    order: int = 1


@dataclass(frozen=True)
class _Outer:
    names: tuple[str, ...]
    rate: float
    inner: tuple[_Inner, ...] = ()
    free: dict[str, Any] = field(default_factory=dict)


_GOOD = '"names": ["a"], "rate": 2'


def test_a_whole_document_becomes_its_type() -> None:
    got = decode(
        '{"names": ["a", "b"], "rate": 2, "inner": [{"order": 3}], "free": {"x": [1, null]}}', _Outer
    )
    assert got == _Outer(("a", "b"), 2.0, (_Inner(3),), {"x": [1, None]})
    assert decode('{"names": ["a"], "rate": 1, "more": 1}', _Outer, closed=False).names == ("a",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'"\xff"', "not JSON"),
        ("[" * 100_000, "nested more than 32 deep"),
        ("[" * 100 + "]" * 100, "nested more than 32 deep"),
        ('{"a":' * 100_000, "nested more than 32 deep"),
        ('{"free": ' + "[" * 40 + "]" * 40 + f", {_GOOD}}}", "nested more than 32 deep"),
        ('{"names": ["a"], "rate": NaN}', "not JSON"),
        ('{"names": ["a"], "rate": -Infinity}', "not JSON"),
        ('{"names": ["a"], "rate": 1e999}', "rate|out of range"),
        ('{"names": ["a"], "rate": 1' + "0" * 400 + "}", "beyond 64 bits"),
        ('{"names": ["a"], "rate": 1' + "0" * 5000 + "}", "out of range"),
        (f'{{{_GOOD}, "free": {{"x": [9223372036854775808]}}}}', r"free\.x\[0\]: a whole number beyond 64"),
        ('{"names": ["a", 7], "rate": 1}', r"names\[1\]: Expected str, got int"),
        ('{"names": "ab", "rate": 1}', "names: Expected array, got str"),
        ('{"names": ["a"], "rate": true}', "rate: Expected float, got bool"),
        ('{"names": ["a"]}', "missing required field rate"),
        (f'{{{_GOOD}, "colour": 1}}', "unknown fields: colour"),
        (f'{{{_GOOD}, "inner": [{{"depth": 1}}]}}', r"unknown fields: inner\.0\.depth"),
        (
            f'{{{_GOOD}, "inner": [{{"order": "{"x" * 15_000}"}}]}}',
            r"inner\[0\].order: Expected int, got str",
        ),
        ('{"names": ["' + "x" * 30_000 + '"], "rate": 1}', r"names\[0\]: a text of 30,000 characters"),
        ("[" + "1," * 300_000 + "1]", "more than 200,000 values"),
        (" " * 5_000_000, "more than 4,194,304 bytes"),
        ('{"' + "k" * 15_000 + '": NaN}', "not JSON"),
    ],
    ids=itertools.count(),
)
def test_hostile_text_is_refused_in_a_line(text: str | bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says) as caught:
        decode(text, _Outer)
    assert len(str(caught.value)) < 500


class _Foreign:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def _endless() -> list[Any]:
    held: list[Any] = []
    held.append(held)
    return held


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"names": ["a"], "rate": _Foreign()}, "rate: a value of type _Foreign"),
        ({"names": ["a"], "rate": float("nan")}, "rate: nan is not a finite number"),
        ({"names": ["a"], "rate": 10**400}, "rate: a whole number beyond 64 bits"),
        ({"names": ["a"], "rate": 1, (1, 2): 3}, r"the key \(1, 2\) is not text"),
        ({"names": ["a"], "rate": 1, _Foreign(): 3}, "cannot be shown is not text"),
        ({"names": ["a"], "rate": 1, "free": {"x": _endless()}}, "nested more than 32 deep"),
        ({"names": ["a"], "rate": 1, "free": {"x": b"bytes"}}, "free.x: a value of type bytes"),
        ({"names": ["a"], "rate": 1, "free": {"x": [0] * 10**6}}, "free.x: more than 200,000 values"),
    ],
    ids=itertools.count(),
)
def test_what_is_not_plain_is_refused(value: object, says: str) -> None:
    with pytest.raises(Malformed, match=says) as caught:
        convert(value, _Outer)
    assert len(str(caught.value)) < 500


def test_a_pipe_and_a_large_file_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Malformed, match="not a regular file"):
        read_json(tmp_path / "pipe", object)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Malformed, match="more than 400,000 values"):
        convert([0] * 500_000, list[int], times=2)
    with pytest.raises(Malformed, match="more than 4,194,304 bytes"):
        read_json(tmp_path / "sparse", object)
    (tmp_path / "good").write_text(json.dumps({"a": 1}))
    assert read_json(tmp_path / "good", dict[str, int]) == {"a": 1}


@pytest.mark.parametrize(
    "value",
    ["x" * 10**7, "\x1b" * 10**6, "é" * 10**6, 10**5000, _Foreign(), [["y" * 10**6]] * 3, "a\n" * 10**6],
    ids=itertools.count(),
)
def test_no_error_is_longer_than_4_kb(value: object) -> None:
    text = str(MimambaError(f"{'p' * 10**6} is wrong", got=value, expected=value, do="again " * 10**5))
    shown = text.replace("\x1b", "\N{REPLACEMENT CHARACTER}")  # as printable_lines shows it
    assert len(shown.encode()) < 4096
    assert "is wrong" in text
    assert len(quoted(value).encode()) < 200
    assert len(listed([quoted(value)] * 10**5).encode()) < 4096
    assert "and 99,980 more" in listed(["x"] * 10**5)


def test_short_texts_stay_as_they_are() -> None:
    for text in ("", "short", "Ω" * 20, "x" * 100):
        assert shorten(text, 100) == text
    cut = shorten("a" * 500 + "b" * 500, 100)
    assert cut.startswith("a" * 60)
    assert cut.endswith("b" * 30)
    assert "900 characters left out" in cut

"""Decisions as OSC over real UDP; the bytes are read by hand, after the text of OSC 1.0."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sinks import osc
from mimamba_edge.stream.sinks.spec import open_sink
from tests.stream.sinks.made import decision, stream_info

pytest.importorskip("pythonosc", reason="needs python-osc: pip install 'mimamba-edge[live]'")


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(10)
        yield opened


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    after = at + (end - at) // 4 * 4 + 4
    assert data[end:after] == b"\0" * (after - end)
    return data[at:end].decode("ascii"), after


def _messages(data: bytes) -> list[tuple[str, Any]]:
    """Take a bundle apart: 8 bytes of name, 8 of time, then sizes and messages."""
    assert data[:8] == b"#bundle\0"
    assert data[8:16] == b"\0" * 7 + b"\1", "at once"
    at, found = 16, []
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        message = data[at + 4 : at + 4 + size]
        assert size % 4 == 0
        assert len(message) == size
        address, part = _text(message, 0)
        tags, part = _text(message, part)
        if tags == ",s":
            value: Any = _text(message, part)[0]
        else:
            (value,) = struct.unpack_from({",i": ">i", ",f": ">f"}[tags], message, part)
        found.append((address, value))
        at += 4 + size
    return found


def test_a_decision_is_one_bundle(receiver: socket.socket) -> None:
    sink = open_sink(f"osc:127.0.0.1:{receiver.getsockname()[1]}")
    assert not sink.lossless
    sink.begin([stream_info()])
    sink.decision(decision("happy"))
    sink.decision(decision(None, 1))
    sink.close()
    assert _messages(receiver.recv(65536)) == [
        ("/mimamba/decision", "happy"),
        ("/mimamba/valid", 1),
        ("/mimamba/reason", ""),
        ("/mimamba/t_s", 2.0),
        ("/mimamba/probs/calm", 0.25),
        ("/mimamba/probs/happy", 0.75),
    ]
    assert _messages(receiver.recv(65536)) == [
        ("/mimamba/decision", ""),
        ("/mimamba/valid", 0),
        ("/mimamba/reason", "gap"),
        ("/mimamba/t_s", 2.25),
    ]


def test_several_streams_have_addresses_of_their_own(receiver: socket.socket) -> None:
    names = ("brainflow:muse_2?mac_address=00:11", "brainflow:muse_2?mac_address=00:22", "a b/c")
    sink = open_sink(f"osc:localhost:{receiver.getsockname()[1]}")
    sink.begin([stream_info(name) for name in names])
    for name in names:
        sink.decision(decision(stream=name))
    sink.close()
    first = [_messages(receiver.recv(65536))[0][0] for _ in names]
    assert first == [
        "/mimamba/brainflow:muse_2/decision",
        "/mimamba/brainflow:muse_2_2/decision",
        "/mimamba/a_b_c/decision",
    ]


def test_hostile_names_make_whole_addresses(receiver: socket.socket) -> None:
    classes = ("a/b", "a b", "a*b", "#", "脳", "", "x" * 256, "\x1b[2J\0", "/../valid")
    sink = open_sink(f"osc:127.0.0.1:{receiver.getsockname()[1]}")
    sink.begin([stream_info(class_names=classes)])
    sink.decision(decision("\x1b[2J\0", class_names=classes))
    sink.close()
    told = _messages_utf8(receiver.recv(65536))
    addresses = [address for address, _ in told[4:]]
    assert addresses[:3] == ["/mimamba/probs/a_b", "/mimamba/probs/a_b_2", "/mimamba/probs/a_b_3"]
    assert len(set(addresses)) == len(classes)
    for address in addresses:
        part = address.removeprefix("/mimamba/probs/")
        assert 1 <= len(part) <= 70
        assert not set(part) & set("#*,/?[]{} ")
        assert part.isascii()
        assert part.isprintable()
    assert told[0] == ("/mimamba/decision", "�_2J�".replace("_", "["))


def _messages_utf8(data: bytes) -> list[tuple[str, Any]]:
    from pythonosc.osc_bundle import OscBundle

    return [(m.address, m.params[0]) for m in OscBundle(data)]


def test_a_host_that_is_not_there_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def nobody(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    now = 0.0
    monkeypatch.setattr(osc.socket, "getaddrinfo", nobody)
    monkeypatch.setattr(osc.time, "monotonic", lambda: now)
    sink = open_sink("osc:nobody.invalid:9000")
    sink.begin([stream_info()])
    for number in range(50):
        now = float(number)
        sink.decision(decision(number=number))
    sink.close()
    assert asked == ["nobody.invalid"] * 5
    told = capsys.readouterr().err
    assert told.count("cannot be reached (Name or service not known)") == 1


def test_nobody_listens_yet(receiver: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", 0))
        port = late.getsockname()[1]
    sink = open_sink(f"osc:127.0.0.1:{port}")
    sink.begin([stream_info()])
    for number in range(3):
        sink.decision(decision(number=number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind(("127.0.0.1", port))
        late.settimeout(10)
        # The first may still hear of the refusal before.
        for number in range(2):
            sink.decision(decision(number=number))
        assert _messages(late.recv(65536))[0] == ("/mimamba/decision", "happy")
    sink.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "rest", ["", "localhost", "localhost:", ":9000", "localhost:0", "localhost:65536", "::1:9"]
)
def test_wrong_targets(rest: str) -> None:
    with pytest.raises(ConfigError, match="host and a port"):
        open_sink(f"osc:{rest}")


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert open_sink("osc:[::1]:9000").name == "osc:[::1]:9000"

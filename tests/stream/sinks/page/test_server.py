"""The page's protocol and what it refuses, by plain sockets and a WebSocket client."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sinks.page.guard import HEADERS, Guard, read_static
from mimamba_edge.stream.sinks.page.server import MAX_PAGES, Page
from mimamba_edge.stream.sinks.page.state import PageState
from tests.stream.sinks.page.feeding import Player, counters, info, wave

pytest.importorskip("websockets", reason="needs websockets: pip install 'mimamba-edge[live]'")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect


@pytest.fixture
def page() -> Iterator[Page]:
    with _open(info()) as page:
        yield page


@contextlib.contextmanager
def _open(*infos: Any, host: str = "127.0.0.1") -> Iterator[Page]:
    page = Page(host=host, port=0)
    page.begin(infos)
    try:
        yield page
    finally:
        page.close()


def _ask(page: Page, request: str) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; return status, headers and body."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as raw:
        raw.sendall(request.encode("latin-1"))
        answer = b""
        while part := raw.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def _get(page: Page, path: str = "/", host: str | None = None, method: str = "GET", more: str = "") -> Any:
    host = f"127.0.0.1:{page.port}" if host is None else host
    return _ask(page, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")


@contextlib.contextmanager
def _join(
    page: Page, origin: str | None = None, host: str | None = None, hello: Any = None, buffer: int = 0
) -> Iterator[ClientConnection]:
    raw = socket.socket()
    if buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    raw.connect(("127.0.0.1", page.port))
    host = host or f"127.0.0.1:{page.port}"
    with connect(
        f"ws://{host}/live", sock=raw, origin=origin or f"http://{host}", compression=None
    ) as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(json.dumps({"token": None, "stream": 0} if hello is None else hello))
        yield client


def _next(client: ClientConnection, kind: str) -> Any:
    """Return the next message of a kind; ``"signal"``: its start and rows."""
    while True:
        message = client.recv(timeout=10)
        if isinstance(message, bytes) and kind == "signal":
            _, channels, start = struct.unpack_from("<IId", message)
            return int(start), np.frombuffer(message, "<f4", offset=16).reshape(-1, channels)
        if isinstance(message, str) and (told := json.loads(message))["type"] == kind:
            return told


def _closed(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        _next(client, "nothing of this kind")
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


# ---------- what it serves ----------


def test_a_browser_is_told_what_the_stream_is_and_gets_its_signal(page: Page) -> None:
    with _join(page) as client:
        hello = _next(client, "hello")
        assert (hello["streams"], hello["classes"], hello["sfreq"]) == (
            ["Muse"],
            ["calm", "excited", "bored"],
            128.0,
        )
        assert (hello["model"], hello["mains_hz"], hello["profile"]) == ("emotion.onnx", 50.0, None)
        Player(page).step(2, label=1)
        start, rows = _next(client, "signal")
        np.testing.assert_array_equal(rows, wave(start, len(rows)).astype(np.float32))
        assert _next(client, "decisions")["items"][0][3] == 1
        page.status(counters())
        while _next(client, "status")["counters"]["lost_samples"] != 3:
            pass


def test_the_stream_is_chosen_in_the_first_message() -> None:
    with _open(info("a"), info("b")) as page, _join(page, hello={"stream": 1}) as client:
        assert _next(client, "hello")["stream"] == 1
        Player(page, info("a"), several=True).step()
        Player(page, info("b"), several=True).step(label=2)
        assert _next(client, "decisions")["items"][0][3] == 2


def test_static_files_carry_the_headers_and_need_nothing_from_elsewhere(page: Page) -> None:
    for path, (kind, content) in read_static().items():
        status, headers, body = _get(page, path)
        assert (status, headers["Content-Type"], body) == (200, kind, content)
        assert HEADERS.items() <= headers.items()
        assert "Server" not in headers
        addresses = set(re.findall(rb"https?://[^\s\"'`)]+", content))
        assert addresses <= {b"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_the_page_has_no_inline_script_or_style_and_never_makes_markup_of_text() -> None:
    html = read_static()["/"][1].decode()
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html) == []
    scripts = [content.decode() for path, (_, content) in read_static().items() if path.endswith(".js")]
    assert len(scripts) >= 4
    for script in scripts:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script
        )


def test_the_end_is_told_and_closing_twice_is_no_harm(page: Page) -> None:
    with _join(page) as client:
        _next(client, "hello")
        page.close()
        assert _next(client, "end")
        assert _closed(client)[0] in (1000, 1001)
    page.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", page.port), timeout=5)
    assert not [t for t in threading.enumerate() if t.name == "page"]


def test_closing_does_not_wait_for_a_connection_that_says_nothing(page: Page) -> None:
    with (
        socket.create_connection(("127.0.0.1", page.port)),
        socket.create_connection(("127.0.0.1", page.port)) as raw,
    ):
        raw.sendall(b"GET / HT")
        time.sleep(0.1)
        page.close()
    assert not [t for t in threading.enumerate() if t.name == "page"]


def test_a_page_that_never_began_can_be_closed() -> None:
    Page().close()


def test_the_next_port_is_taken_where_one_is_in_use(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    other = Page(port=page.port)
    other.begin([info()])
    try:
        assert page.port < other.port <= page.port + 19
        assert other.url == f"http://127.0.0.1:{other.port}/"
        assert f"port {page.port} is taken; the page is at port {other.port}" in capsys.readouterr().err
        assert _get(other)[0] == 200
    finally:
        other.close()


@pytest.mark.parametrize("host", ["192.0.2.7", "no such host"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot use this address"):
        Page(host=host, port=0).begin([info()])


# ---------- what it refuses ----------


def test_it_listens_on_loopback_only(page: Page) -> None:
    assert page.url == f"http://127.0.0.1:{page.port}/"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", page.port), timeout=5):
        pass


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "192.168.1.5",
        "",
        "localhost@evil.example",
        "[::2]",
    ],
)
def test_another_host_header_is_refused(page: Page, host: str) -> None:
    status, headers, body = _get(page, host=host)
    assert status == 403
    assert b"<" not in body
    assert HEADERS.items() <= headers.items()


def test_no_host_and_two_hosts_are_refused(page: Page) -> None:
    assert _ask(page, "GET / HTTP/1.1\r\n\r\n")[0] == 403
    assert _get(page, more="Host: evil.example\r\n")[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]:8765"])
def test_loopback_by_other_names_and_through_a_tunnel_is_answered(page: Page, host: str) -> None:
    assert _get(page, host=host)[0] == 200
    with _join(page, origin=f"http://{host}", host=host) as client:
        assert _next(client, "hello")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1.evil.example", "null", "http://localhost:1", "file://"],
)
def test_a_websocket_of_another_origin_is_refused(page: Page, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, _join(page, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_a_websocket_without_origin_or_under_a_strange_name_is_refused(page: Page) -> None:
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{page.port}/live"):
        pass
    with pytest.raises(InvalidStatus), _join(page, origin="http://evil.example", host="evil.example"):
        pass


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/..%2f..%2fserver.py",
        "//etc/passwd",
        "/static/page.js",
        "/server.py",
        "/.",
        "/page.js/",
        "/%00",
        "/live/",
    ],
)
def test_other_paths_are_not_there(page: Page, path: str) -> None:
    status, _, body = _get(page, path)
    assert status == 404
    assert b"import" not in body


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT"])
def test_other_methods_are_refused(page: Page, method: str) -> None:
    status, _, body = _get(page, method=method)
    assert status in (400, 405)
    assert b"<html" not in body


def test_what_is_no_http_does_not_disturb_others(page: Page, capfd: pytest.CaptureFixture[str]) -> None:
    with _join(page) as client:
        for junk in (
            b"\x16\x03\x01\x02\x00\x01\r\n",
            b"GET /" + b"a" * 100_000,
            b"\r\n\r\n",
            b"GET / HTTP/9\r\n\r\n",
        ):
            with (
                socket.create_connection(("127.0.0.1", page.port), timeout=10) as raw,
                contextlib.suppress(OSError),
            ):
                raw.sendall(junk)
                raw.recv(4096)
        Player(page).step()
        assert _next(client, "decisions")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("more", ["x", b"\x00" * 64, '{"stream": 1}'])
def test_a_browser_has_no_second_word(page: Page, more: Any) -> None:
    with _join(page) as client:
        _next(client, "hello")
        client.send(more)
        assert _closed(client) == (1008, "this page is read-only")


def test_a_long_message_is_refused(page: Page) -> None:
    with _join(page, hello={"token": "x" * 2000}) as client:
        assert _closed(client)[0] == 1009


@pytest.mark.parametrize(
    "hello", [{"stream": 1}, {"stream": -1}, {"stream": True}, {"stream": "0"}, [], "[" * 900, 3]
)
def test_a_hello_that_makes_no_sense_is_refused(page: Page, hello: Any) -> None:
    with _join(page, hello=hello) as client:
        code, reason = _closed(client)
    assert (code, reason) == (1008, "no such stream")
    assert _get(page)[0] == 200


def test_no_more_pages_than_the_limit(page: Page) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_join(page)) for _ in range(MAX_PAGES)]
        for client in clients:
            _next(client, "hello")
        with _join(page) as late:
            assert _closed(late)[0] == 4429
        clients[0].close()
        for _ in range(100):
            with contextlib.suppress(ConnectionClosed), _join(page) as again:
                assert _next(again, "hello")
                return
            time.sleep(0.05)
    pytest.fail("the page that was closed still counts")


def test_idle_connections_are_limited(page: Page) -> None:
    with contextlib.ExitStack() as stack:
        raws = [
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=10))
            for _ in range(90)
        ]
        time.sleep(0.3)
        closed = 0
        for raw in raws:
            raw.setblocking(False)
            try:
                closed += raw.recv(1) == b""
            except ConnectionError:
                closed += 1
            except BlockingIOError:
                pass
    assert closed == 90 - 64


# ---------- beyond this machine ----------


def test_beyond_loopback_a_token_is_needed() -> None:
    with _open(info(), host="0.0.0.0") as page:
        token = page.url.partition("#token=")[2]
        assert len(token) >= 20
        assert _get(page, host=f"192.0.2.9:{page.port}")[0] == 200
        assert _get(page, host="evil.example")[0] == 403
        for wrong in (None, "", "x", token[:-1], token + "x", "ü" * 24, 7):
            with _join(page, hello={"token": wrong, "stream": 0}) as client:
                assert _closed(client) == (4401, "the token is missing or wrong")
        with _join(page, hello={"token": token, "stream": 0}) as client:
            assert _next(client, "hello")
    with _open(info(), host="0.0.0.0") as other:
        assert other.url.partition("#token=")[2] != token


def test_names_a_guard_knows() -> None:
    local, lan = Guard("127.0.0.1", "127.0.0.1"), Guard("jetson.lan", "192.168.1.5")
    assert local.knows("localhost:80")
    assert not local.knows("192.168.1.5:80")
    assert not local.knows(socket.gethostname() + ".evil.example")
    assert lan.knows("jetson.lan:80")
    assert lan.knows("192.168.1.5:80")
    assert lan.knows(socket.gethostname())
    assert not lan.knows("evil.example")
    assert Guard("::1", "::1").is_local


# ---------- slow browsers ----------


def test_a_browser_that_does_not_read_slows_nobody_and_goes_on_with_the_newest(page: Page) -> None:
    with _join(page, buffer=16384) as stalled, _join(page) as reading:
        _next(stalled, "hello")
        _next(reading, "hello")
        heard: list[int] = []

        def read() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    start, rows = _next(reading, "signal")
                    heard.append(start + len(rows))

        reader = threading.Thread(target=read)
        reader.start()
        rows, at = wave(0, 256), 0
        for _ in range(150):  # 300 s of signal, fifteen times what is kept.
            page.signal("Muse", rows, at)
            at += len(rows)
            time.sleep(0.01)
        end = time.monotonic() + 10
        while (not heard or heard[-1] < at) and time.monotonic() < end:
            time.sleep(0.02)
        assert heard[-1] == at
        got, last = 0, 0
        while last < at:
            start, rows = _next(stalled, "signal")
            got, last = got + len(rows), start + len(rows)
        # What it missed was dropped, not stored.
        assert got < 0.8 * at
        page.close()
        reader.join(timeout=10)
        assert not reader.is_alive()


def test_a_fault_of_the_page_itself_is_told(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(state: PageState, view: Any) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(PageState, "hello", broken)
    with _join(page) as client:
        assert _closed(client)[0] == 1011
    with pytest.raises(RuntimeError, match="broken"):
        page.status(counters())

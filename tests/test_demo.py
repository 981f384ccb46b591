"""The verb ``demo``: decisions at once, on the page and in the terminal, and nothing left behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from mimamba_edge.data.simulate import simulate_recording
from mimamba_edge.demo import NEXT, show_demo
from mimamba_edge.stream.sources.recording import FileSource

pytestmark = pytest.mark.ort


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working folder in which nothing may appear."""
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "home" / "cache"))
    return tmp_path


def _assert_empty(folder: Path) -> None:
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["home", "work"]


def _taken_before_a_free_one() -> tuple[socket.socket, int]:
    for _ in range(20):
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with contextlib.suppress(OSError, OverflowError), socket.create_server(("127.0.0.1", port + 1)):
            return taken, port
        taken.close()
    raise AssertionError("no two free ports in a row")


def _heard(address: str) -> list[dict[str, Any]]:
    """Return what a browser is told in words until there is a decision."""
    told = []
    with connect(f"ws://{address}/live", origin=Origin(f"http://{address}")) as page:
        page.send("{}")
        for message in page:
            if isinstance(message, str):
                told.append(json.loads(message))
                if told[-1]["type"] == "decisions" and any(row[4] for row in told[-1]["items"]):
                    break
    return told


def test_the_page_shows_decisions_until_ctrl_c(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken, port = _taken_before_a_free_one()
    seen: list[dict[str, Any]] = []

    def browse() -> None:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    seen[:] = _heard(f"127.0.0.1:{port + 1}")
                    return
                time.sleep(0.1)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=browse)
    thread.start()
    with taken:
        show_demo(port=port, seconds=60)
    thread.join()
    assert seen[0]["streams"] == ["simulated headset"]
    assert seen[0]["score"] == pytest.approx(0.854, abs=0.01)
    assert seen[-1]["type"] == "decisions"
    out, err = capsys.readouterr()
    assert f"port {port} is taken; the page is at port {port + 1}" in err
    assert f"http://127.0.0.1:{port + 1}/" in out
    assert f"ssh -L {port + 1}:127.0.0.1:{port + 1} " in out
    _assert_empty(nowhere)


def test_piped_it_prints_a_line_a_second_and_what_to_do_next(
    nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, _ = simulate_recording(["calm", "excited"], seed=1)
    opened: list[str] = []
    show_demo(port=0, source=FileSource(recording, speed="max"), open_page=opened.append)
    out = capsys.readouterr().out
    assert re.search(r"^ +\d+\.\d s  simulated -, no decision: filters are settling$", out, re.MULTILINE)
    assert "85 %" in out
    assert "nothing about emotion" in re.sub(r"\s+", " ", out)
    assert all(command in out for command, _ in NEXT)
    assert "\x1b" not in out
    assert opened == []
    _assert_empty(nowhere)


def test_it_ends_when_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.StringIO()
    gone.reader_left = True  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", gone)
    began = time.monotonic()
    show_demo(port=0, seconds=60)
    assert time.monotonic() - began < 30


def _without_size() -> dict[str, str]:
    """The size is that of the terminal: pytest's processes may hold another one, of readline's."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


def test_on_a_narrow_terminal_rows_stay_and_q_ends_it(nowhere: Path) -> None:
    browser = nowhere.parent / f"{nowhere.name}-browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {browser}.told\n')
    browser.chmod(0o755)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "mimamba_edge", "demo", "--seconds", "90"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**_without_size(), "TERM": "xterm", "NO_COLOR": "1", "BROWSER": str(browser)},
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    text, plain, pressed, end = "", "", False, time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([ours], [], [], 0.5)[0]:
            continue
        try:
            text += os.read(ours, 65536).decode(errors="replace")
        except OSError:
            break
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
        if not pressed and re.search(r"decided +(calm|excited)", plain) and Path(f"{browser}.told").exists():
            os.write(ours, b"q")
            pressed = True
    os.close(ours)
    if not pressed:
        process.kill()
    assert process.wait(30) == 0, text
    told = Path(f"{browser}.told").read_text().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", told)
    assert told in text
    assert "ssh -L" not in text
    assert "\x1b[1A" in text  # rows are drawn again where they were
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)  # NO_COLOR
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= 40
    _assert_empty(nowhere)

"""The page of `mimamba-edge demo` in Chromium: how soon it shows a decision, or a moving picture of it.

    python -m benchmarks demo-page [--runs 10] [--program PATH]
    python -m benchmarks demo-page --picture docs/page.webp

Chromium is running already, as it is where somebody sits; its time to open the page counts. Each run ends by
Ctrl-C, in an empty folder with an empty home, and must leave neither a file nor a server. For the picture,
which needs Pillow, what a demo told its page is kept and then shown at the same pace, frame by frame.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from websockets.sync.client import connect
from websockets.typing import Origin

from benchmarks.browser import Tab, find_chromium, open_browser
from benchmarks.record import write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.errors import DependencyError

__all__ = ["add_arguments", "run"]

_DECIDED = "document.getElementById('label').className === '' && document.getElementById('label').innerText"
_WIDTH, _HEIGHT, _SHOWN_WIDTH = 1020, 960, 800
_BEFORE_S, _PICTURE_S, _FRAME_S, _TICKS = 1.5, 14.0, 0.2, 6
_QUALITY, _FIRST = 60, 3
_PLAYED = """
  const waiting = [];
  let now = 0, socket = null;
  performance.now = () => now;
  window.requestAnimationFrame = (draw) => waiting.push(draw);
  window.WebSocket = class { constructor() { socket = this; } send() {} close() {} };
  window.played = () => socket?.onmessage;
  window.play = (messages, ticks) => {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
    for (const m of messages) socket.onmessage({ data: typeof m === "string" ? m : bytes(m[0]) });
    for (let i = 0; i < ticks; i++) {
      now += 1000 / 30;
      for (const draw of waiting.splice(0)) draw(now);
    }
  };
"""
"""Plays what the server said with a clock of its own: photographs take longer than a frame."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this benchmark takes."""
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--program", help="command to run in place of this Python's mimamba-edge")
    parser.add_argument("--picture", type=Path, help="write a moving picture (WebP) there instead")
    parser.add_argument("--output", type=Path, help="where the record goes")


def run(given: argparse.Namespace) -> int:
    """Measure, or make the picture."""
    executable = find_chromium()
    if executable is None:
        raise DependencyError("this needs Chromium", do="apt install chromium")
    program = [sys.executable, "-m", "mimamba_edge"] if given.program is None else shlex.split(given.program)
    with open_browser(executable) as new_tab:
        tab = new_tab()
        if given.picture is not None:
            return _make_picture(tab, program, given.picture)
        return _measure(tab, program, given)


def _measure(tab: Tab, program: list[str], given: argparse.Namespace) -> int:
    rows: list[dict[str, float]] = []
    left: list[str] = []
    tab.size(1200, 900)
    with progress("starting demo", total=given.runs) as bar:
        for _ in range(given.runs):
            now = os.getloadavg()[0]
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                began = time.perf_counter()
                with _running(program, folder) as url:
                    listening = time.perf_counter()
                    tab.go(url)
                    tab.until(_DECIDED, seconds=60)
                    decided = time.perf_counter()
                left += [str(path.relative_to(folder)) for path in folder.rglob("*")]
                with contextlib.suppress(OSError), socket.create_connection(_address(url), timeout=1):
                    left.append(url)
            row = {"address_s": listening - began, "decision_s": decided - began, "load": now}
            rows.append({key: round(value, 3) for key, value in row.items()})
            tab.go("about:blank")
            bar.advance()
    figures = {
        key: {"median": round(statistics.median(values), 3), "max": max(values)}
        for key in ("address_s", "decision_s", "load")
        if (values := [row[key] for row in rows])
    }
    show_table(
        "from the command to",
        ("", "median", "max"),
        [
            (what, f"{figures[key]['median']:.2f} s", f"{figures[key]['max']:.2f} s")
            for what, key in (("its address", "address_s"), ("a decision on the page", "decision_s"))
        ],
    )
    show_note(
        f"load average of the machine: {figures['load']['median']:.1f}, at most {figures['load']['max']:.1f}"
    )
    show_note(f"left behind: {', '.join(left) or 'nothing'}")
    write_record(given, {"runs": rows, **figures, "left": left}, verified=not left)
    return 1 if left else 0


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


@contextlib.contextmanager
def _running(program: list[str], folder: Path) -> Iterator[str]:
    """Run the demo during the block; give its address."""
    process = subprocess.Popen(
        [*program, "demo"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "MIMAMBA_CACHE": str(folder / "cache")},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[1]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0, process.returncode
    finally:
        process.kill()
        process.wait()


def _heard(url: str, seconds: float) -> list[tuple[float, str | list[str]]]:
    """Return what the demo tells a browser, each message with when it came; binary ones in base64."""
    host, port = _address(url)
    told: list[tuple[float, str | list[str]]] = []
    origin = Origin(f"http://{host}:{port}")
    with connect(f"ws://{host}:{port}/live", origin=origin, max_size=None, compression=None) as page:
        page.send("{}")
        began = time.monotonic()
        for message in page:
            at = time.monotonic() - began
            if at > seconds:
                break
            text = message if isinstance(message, str) else [base64.b64encode(message).decode()]
            told.append((at, text))
    return told


def _make_picture(tab: Tab, program: list[str], path: Path) -> int:
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyError("the picture needs the package Pillow", do="pip install pillow") from error
    tab.size(_WIDTH, _HEIGHT)
    tab.prefer(prefers_color_scheme="light")
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=_PLAYED)
    with tempfile.TemporaryDirectory() as name, _running(program, Path(name)) as url:
        told = _heard(url, _BEFORE_S + _PICTURE_S)
        tab.go(url)
        tab.until("played() && document.readyState === 'complete'")
        shots, at = [], _BEFORE_S
        while at < _BEFORE_S + _PICTURE_S:
            now = [message for when, message in told if when <= at]
            told = told[len(now) :]
            tab.js(f"play({json.dumps(now)}, {_TICKS})")
            shots.append(tab.picture())
            at += _FRAME_S
    # While the page takes its size, what was drawn is lost.
    shots = shots[_FIRST:]
    height = round(_HEIGHT * _SHOWN_WIDTH / _WIDTH)
    frames = [
        Image.open(io.BytesIO(png)).convert("RGB").resize((_SHOWN_WIDTH, height), Image.Resampling.LANCZOS)
        for png in shots
    ]
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=[round(1e3 * _FRAME_S)] * (len(frames) - 1) + [1500],
        loop=0,
        quality=_QUALITY,
        method=4,
        minimize_size=True,
    )
    show_note(f"{path}: {len(frames)} frames of {_FRAME_S:g} s, {path.stat().st_size / 1e6:.2f} MB")
    return 0

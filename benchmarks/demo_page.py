"""The page of `mimamba-edge demo` in Chromium: how soon it shows a decision, or a moving picture of it.

    python -m benchmarks demo-page [--runs 10] [--program PATH]
    python -m benchmarks demo-page --picture docs/page.webp

Chromium is running already, as it is where somebody sits; its time to open the page counts. Each run ends by
Ctrl-C, in an empty folder with an empty home, and must leave neither a file nor a server. The picture needs
Pillow; its times are the real ones.
"""

from __future__ import annotations

import argparse
import contextlib
import io
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

from benchmarks.browser import Tab, find_chromium, open_browser
from benchmarks.record import write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.errors import DependencyError

__all__ = ["add_arguments", "run"]

_DECIDED = "document.getElementById('label').className === '' && document.getElementById('label').innerText"
_WIDTH, _HEIGHT, _SHOWN_WIDTH = 1020, 960, 800
_WAIT_S, _PICTURE_S, _FRAME_S = 1.5, 15.0, 0.25
_QUALITY = 60


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


def _make_picture(tab: Tab, program: list[str], path: Path) -> int:
    try:
        from PIL import Image
    except ImportError as error:
        raise DependencyError("the picture needs the package Pillow", do="pip install pillow") from error
    tab.size(_WIDTH, _HEIGHT)
    tab.prefer(prefers_color_scheme="light")
    shots: list[tuple[float, bytes]] = []
    with tempfile.TemporaryDirectory() as name, _running(program, Path(name)) as url:
        tab.go(url)
        tab.until(_DECIDED, seconds=60)
        began = time.monotonic() + _WAIT_S
        while (now := time.monotonic()) < began + _PICTURE_S:
            time.sleep(max(0.0, began + len(shots) * _FRAME_S - now))
            shots.append((time.monotonic(), tab.picture()))
    height = round(_HEIGHT * _SHOWN_WIDTH / _WIDTH)
    frames = [
        Image.open(io.BytesIO(png)).convert("RGB").resize((_SHOWN_WIDTH, height), Image.Resampling.LANCZOS)
        for _, png in shots
    ]
    ends = [at for at, _ in shots[1:]] + [shots[-1][0] + 1.0]
    durations = [round(1e3 * (end - at)) for (at, _), end in zip(shots, ends, strict=True)]
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=_QUALITY,
        method=4,
        minimize_size=True,
    )
    show_note(
        f"{path}: {len(frames)} frames, {sum(durations) / 1e3:.1f} s, {path.stat().st_size / 1e6:.2f} MB"
    )
    return 0

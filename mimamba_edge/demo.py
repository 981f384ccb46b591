"""What ``demo`` shows: the built-in model on a simulated headset, on the page and in the terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import textwrap
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mimamba_edge.console import printable
from mimamba_edge.contract import Contract
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.reload import ModelFile
from mimamba_edge.stream.serve import stopped_by_signals
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sinks.page.server import Page
from mimamba_edge.stream.sinks.terminal import Terminal
from mimamba_edge.stream.sinks.terminal_view import Shown, draw_brief, tell_brief
from mimamba_edge.stream.sources.base import Notice, Source
from mimamba_edge.stream.sources.simulated import STATE_S, SimulatedHeadset

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["NEXT", "show_demo"]

NEXT = (
    ("mimamba-edge sources", "headsets in reach"),
    ("mimamba-edge bench", "time of a decision here"),
    ("mimamba-edge simulate eeg", "recordings to train on"),
)
"""What to do after it, and why."""
_SMOOTH_S = 0.5
"""Windows alone change their minds about once a second; so smoothed they do about once in four."""
_LINE_S = 1.0
_KEYS_S = 0.1
_WIDEST = 100


def show_demo(
    *,
    seconds: float | None = None,
    port: int = 8765,
    source: Source | None = None,
    open_page: Callable[[str], object] = webbrowser.open,
) -> None:
    """Show decisions until time is over, q is pressed or a signal comes. Writes no file.

    Args:
        seconds: Time, or of a source that is not live seconds of signal; ``None``: no end.
        port: Of the page; the next free one where it is taken.
        source: What decides; the simulated headset by default.
        open_page: Opens an address in a browser; called where somebody could see one.

    Raises:
        MimambaError: A package is missing, no port is free, or what shows it failed.
    """
    model = builtin_model()
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(load_model(model, threads=1))
        page, rows = Page(port=port), _rows()
        engine = StreamEngine(
            runner,
            [SimulatedHeadset() if source is None else source],
            sinks=[page, rows],
            options=StreamOptions(smooth_s=_SMOOTH_S),
            model=ModelFile(model),
            note=lambda text: print_lines(text, sys.stderr),
        )
        stack.enter_context(stopped_by_signals(engine))
        if isinstance(rows, _Lines):
            rows.left = engine.stop
        engine.begin()
        opened = _may_open()
        print_lines(_introduction(runner.contract, page, opened=opened))
        if opened:
            # Some browsers are waited for.
            threading.Thread(target=open_page, args=(page.url,), name="browser", daemon=True).start()
        stack.enter_context(_ended_by_key(engine.stop))
        engine.run(seconds)
        if engine.sink_failure is not None:
            raise engine.sink_failure
    print_lines("\n" + _what_next())


def print_lines(text: str, file: Any = None) -> None:
    """Print text, each line cut of what a terminal would obey."""
    stream = sys.stdout if file is None else file
    stream.write("\n".join(printable(line, 1000) for line in text.splitlines()) + "\n")
    stream.flush()


def _rows() -> Sink:
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    return _Rows(console) if sys.stdout.isatty() and not console.is_dumb_terminal else _Lines()


class _Rows(Terminal):
    """A few rows that stay where they are."""

    def _lines(self, width: int, height: int) -> list[Text]:
        return draw_brief(self._streams[0], width)


class _Lines(Sink):
    """A line a second, for a pipe, a file or a terminal that cannot be drawn on."""

    name = "lines"

    def __init__(self) -> None:
        self.left: Callable[[], None] = lambda: None
        self._next = 0.0

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        self._shown = Shown(streams[0])

    def notice(self, stream: str, notice: Notice) -> None:
        self._shown.hear(notice)

    def decision(self, decision: Decision) -> None:
        self._shown.decision = decision
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_S
        print_lines(tell_brief(self._shown))
        if getattr(sys.stdout, "reader_left", False):
            self.left()


def _may_open() -> bool:
    """Return whether somebody sits at a terminal here who would see a browser."""
    told = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.stdout.isatty() and (sys.platform == "darwin" or any(os.environ.get(name) for name in told))


def _introduction(contract: Contract, page: Page, *, opened: bool) -> str:
    score = (contract.training or {}).get("balanced_accuracy") or {}
    right = f"{100 * score['mean']:.0f} %" if "mean" in score else "an unknown share"
    states = " or ".join(contract.class_names)
    told = {
        "page": page.url + (" (opened in your browser)" if opened else ""),
        "remote": "" if opened else _way_from_elsewhere(page.port),
        "signal": f"a simulated headset in this process: {states} for {STATE_S:g} s each, with blinks; at "
        "times packets are lost or an electrode is loose, and there is no decision",
        "model": f"the built-in one, trained on such signals only: right on {right} of the trials held out "
        f"from its training (chance: {100 / contract.n_outputs:.0f} %). That says nothing about emotion.",
        "end": f"{'q or ' if sys.stdin.isatty() else ''}Ctrl-C; no file is written, nothing leaves "
        "this machine",
    }
    width = min(_WIDEST, max(30, shutil.get_terminal_size().columns))
    return "\n".join(
        textwrap.fill(
            f"{name:<8}{text}",
            width,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in told.items()
        if text
    )


def _way_from_elsewhere(port: int) -> str:
    server = os.environ.get("SSH_CONNECTION", "").split()
    host = printable(server[2] if len(server) == 4 else socket.gethostname())
    return f"ssh -L {port}:127.0.0.1:{port} {host} on your machine, then the same address there"


def _what_next() -> str:
    column = max(len(command) for command, _ in NEXT) + 2
    if shutil.get_terminal_size().columns < column + max(len(why) for _, why in NEXT) + 2:
        return "\n".join(["next", *(f"  {command}\n    {why}" for command, why in NEXT)])
    return "\n".join(["next", *(f"  {command:<{column}}{why}" for command, why in NEXT)])


@contextlib.contextmanager
def _ended_by_key(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` when q is pressed during the block, where this process owns a terminal."""
    from mimamba_edge.recorder.keys import pressed_keys

    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        # A job in the background would be stopped for touching the terminal.
        if sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():
            keys = stack.enter_context(pressed_keys())

            def watch() -> None:
                while not ended.wait(_KEYS_S):
                    if "q" in keys().lower():
                        stop()

            thread = threading.Thread(target=watch, name="keys", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(ended.set)
        yield

"""A calm live view on the terminal, drawn on stderr: stdout stays free for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mimamba_edge.console import printable
from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sources.base import Notice

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Terminal", "open_spec"]

_FRAME_S = 0.25
"""Between two drawings. Faster ones cannot be read, and cost a small device its time."""


def open_spec(rest: str) -> Sink:
    """Open ``terminal:``.

    Raises:
        ConfigError: Something follows, or stderr is no terminal that can be drawn on.
    """
    if rest:
        raise ConfigError(
            "terminal: takes no parameters", got=f"terminal:{printable(rest)}", expected="terminal:"
        )
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        raise ConfigError(
            "terminal: needs stderr to be a terminal",
            got="TERM=dumb" if sys.stderr.isatty() else "a file or a pipe",
            do="do not redirect stderr (stdout may go to a file), or choose another sink",
        )
    return Terminal(console)


class Terminal(Sink):
    """Draws all streams again and again in the same lines.

    Args:
        console: A rich console on a terminal.
    """

    name = "terminal:"

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None
        self._shown: dict[str | None, Any] = {}
        self._streams: list[Any] = []
        self._machine: dict[str, Any] | None = None
        self._drawn, self._size = 0.0, console.size

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Start to draw."""
        from rich.live import Live

        from mimamba_edge.stream.sinks.terminal_view import Shown

        self._streams = [Shown(stream) for stream in streams]
        self._shown = {shown.info.name: shown for shown in self._streams}
        if len(streams) == 1:
            # Decisions of a stream that is alone do not name it.
            self._shown[None] = self._streams[0]
        # What others write meanwhile is printed above; stdout is theirs unless it is this terminal too.
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
        )
        self._live.start()
        self._draw()

    def decision(self, decision: Decision) -> None:
        """Show it with the next drawing."""
        self._shown[decision.stream].decision = decision
        self._draw_in_time()

    def notice(self, stream: str, notice: Notice) -> None:
        """Show what befell a stream until something else does."""
        self._shown[stream].hear(notice)
        self._draw_in_time()

    def status(self, counters: dict[str, Any]) -> None:
        """Show the counters."""
        for name, told in counters.get("streams", {}).items():
            if name in self._shown:
                self._shown[name].counters = told
        self._machine = counters.get("machine")
        self._draw()

    def close(self) -> None:
        """Draw once more and leave the lines where they are."""
        if self._live is not None:
            self._draw()
            self._live.stop()
        self._live = None

    def _draw_in_time(self) -> None:
        if time.monotonic() - self._drawn >= _FRAME_S:
            self._draw()

    def _draw(self) -> None:
        from rich.console import Group

        size = self._console.size
        if size != self._size:
            # The terminal has broken the old lines again, and where they begin is not known.
            self._console.clear()
            self._size = size
        self._live.update(Group(*self._lines(size.width, size.height - 1)), refresh=True)
        self._drawn = time.monotonic()

    def _lines(self, width: int, height: int) -> list[Text]:
        from mimamba_edge.stream.sinks.terminal_view import draw

        return draw(self._streams, self._machine, width, height)

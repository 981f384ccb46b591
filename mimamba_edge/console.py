"""What verbs show to people: tables on stdout, progress on stderr (only where that is a terminal)."""

from __future__ import annotations

import contextlib
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

__all__ = [
    "Progress",
    "json_only",
    "print_json",
    "printable",
    "printable_lines",
    "progress",
    "show_note",
    "show_table",
    "show_warning",
]

_STYLES = {
    "ok": "green",
    "passed": "green",
    "yes": "green",
    "warning": "yellow",
    "unstable": "yellow",
    "wrong": "bold red",
    "missed": "bold red",
    "no": "bold red",
}
_WIDE = 200
"""Columns of a table that goes to a file or a pipe: wide enough that no cell is folded."""

_WHOLE = 24


_LONGEST = 120
"""Characters of a name from outside that are shown; combining ones may stack up without taking a column."""


def printable(text: object, limit: int = _LONGEST) -> str:
    """Return a text from outside (channel, stream, marker) as it can be shown on a terminal in one line.

    Control, format (direction marks, zero width), surrogate and unassigned characters and line ends become
    U+FFFD: escape sequences do nothing, and nothing can pass for another name. Markup is the caller's to
    leave off.
    """
    whole = str(text)
    kept = whole if len(whole) <= limit else whole[: limit - 1] + "…"
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c
        for c in kept
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, each :func:`printable` and not cut."""
    return "\n".join(printable(line, len(line)) for line in text.expandtabs(4).split("\n"))


_json_only = False


def json_only(value: bool) -> None:
    """Let :func:`print_json` alone write to stdout, or all again."""
    global _json_only
    _json_only = value


class Progress(Protocol):
    """A handle on a running progress bar."""

    def advance(self, amount: float = 1.0) -> None:
        """Move the bar on."""

    def describe(self, text: str) -> None:
        """Say what is being done now."""


class _Silent:
    def advance(self, amount: float = 1.0) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


@contextlib.contextmanager
def progress(
    text: str, total: float | None = None, *, still: bool = False, timed: bool = True
) -> Iterator[Progress]:
    """Show a progress bar on stderr while the block runs; nothing where stderr is not a terminal.

    Args:
        text: What is being done.
        total: Units of work, or ``None`` for a bar without an end.
        still: Draw only when the bar is told something, so that no thread disturbs what is being timed.
        timed: Show the time that went by and the time left, as far as the pace until now tells.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    columns += (
        [BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()] if timed else [BarColumn(bar_width=16)]
    )
    console = Console(stderr=True)
    with RichProgress(*columns, console=console, transient=True, auto_refresh=not still) as bar:
        task = bar.add_task(text, total=total)

        class _Bar:
            def advance(self, amount: float = 1.0) -> None:
                bar.update(task, advance=amount, refresh=still)

            def describe(self, text: str) -> None:
                bar.update(task, description=text, refresh=still)

        yield _Bar()


def show_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> None:
    """Print a table on stdout.

    Args:
        title: Line above the table; empty for none.
        header: Column names; no header line if all are empty.
        rows: Cells as text. Words like ``ok``, ``warning``, ``missed`` are coloured on a terminal.
        left: Columns that are aligned left; the others hold numbers and are aligned right.
    """
    if _json_only:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else _WIDE, markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_header=any(header))
    for index, name in enumerate(header):
        # Names and numbers stay whole where a terminal is narrow; long text is folded.
        whole = max((len(row[index]) for row in rows), default=0) <= _WHOLE
        # A path or a command that does not fit goes on in the next line: rich would else cut it.
        side: Literal["left", "right"] = "left" if index in left else "right"
        table.add_column(name, justify=side, no_wrap=whole, overflow="ellipsis" if whole else "fold")
    for row in rows:
        table.add_row(*(Text(printable_lines(cell), style=_STYLES.get(cell, "")) for cell in row))
    if title:
        console.print(Text(title, style="bold"))
    # Better a line that the terminal breaks than a number that is cut; in a file or a pipe nothing is folded.
    measured = console.measure(table, options=console.options.update(max_width=10 * _WIDE))
    console.width = max(console.width, measured.minimum if terminal else measured.maximum)
    if terminal:
        console.print(table)
        return
    with console.capture() as held:
        console.print(table)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in held.get().splitlines()))


def show_note(text: str) -> None:
    """Print one line of explanation on stdout."""
    if _json_only:
        return
    sys.stdout.write(printable_lines(text) + "\n")


def show_warning(text: str) -> None:
    """Print one line on stderr that must not be overlooked; stdout may be read by a program."""
    sys.stderr.write(f"warning: {printable_lines(text)}\n")


def print_json(value: Any) -> None:
    """Print ``value`` as indented JSON on stdout; NaN and infinity are refused."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

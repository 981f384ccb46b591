"""How ``mimamba-edge check-signal`` shows what it finds: a table, or lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mimamba_edge.console import printable, show_note
from mimamba_edge.naming import listed
from mimamba_edge.stream.signal_check import GOOD_S, SignalCheck

__all__ = ["draw", "print_lines"]

_HEADER = ("channel", "state", "rms uV", "mains", "railed", "drift uV/s", "do this")
_WAITING = {"gap": "samples are missing", "settling": "filters settle"}


def _summary(state: SignalCheck) -> str:
    """Return who is not good and why, in one line."""
    if not state.seconds:
        return "waiting for the signal"
    bad = [f"{printable(n)} {', '.join(held.faults)}" for n, held in state.channels.items() if held.faults]
    return listed(bad, "; ") or _WAITING.get(state.reason or "", "all good")


def print_lines(shown: Iterator[SignalCheck]) -> None:
    """Print a line when what is wrong has changed, once a second at most."""
    last, due = "", 0.0
    for state in shown:
        if (text := _summary(state)) != last and state.seconds >= due:
            show_note(f"{state.seconds:6.1f} s  {text}")
            sys.stdout.flush()
            last, due = text, state.seconds + 1


def draw(shown: Iterator[SignalCheck], state: SignalCheck) -> None:
    """Redraw a table; where it is ended by Ctrl-C the last one stays."""
    from rich.live import Live

    with Live(_table(state), auto_refresh=False, vertical_overflow="visible") as live:
        for now in shown:
            live.update(_table(now), refresh=True)


def _table(state: SignalCheck) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    waiting = f", {_WAITING[state.reason]}" if state.reason and state.seconds else ""
    mains = "" if state.mains_hz is None else f", mains {state.mains_hz:g} Hz"
    title = f"{state.seconds:.0f} s: good for {state.good_s:.1f} of {GOOD_S:g} s{mains}{waiting}"
    table = Table(box=box.SIMPLE_HEAD, title=Text(title, style="bold"), title_justify="left")
    for number, name in enumerate(_HEADER):
        table.add_column(name, justify="right" if 2 <= number <= 5 else "left")
    for name, held in state.channels.items():
        f = held.figures
        share = [None if f[key] is None else f"{f[key]:.0%}" for key in ("mains_ratio", "railed")]
        drift = None if f["drift_uv_s"] is None else f"{f['drift_uv_s']:.0f}"
        state_text = Text(", ".join(held.faults) or "good", style="bold red" if held.faults else "green")
        cells = (f"{f['rms_uv']:.1f}", *share, drift)
        table.add_row(
            Text(printable(name)), state_text, *(Text(cell or "-") for cell in cells), Text(held.do)
        )
    table.caption = Text(state.advice if state.seconds else _summary(state))
    return table

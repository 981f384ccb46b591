"""``mimamba-edge fit``: does the headset sit well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimamba_edge.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimamba_edge.stream.fit import Fit

_HEADER = ("channel", "state", "rms uV", "mains", "railed", "drift uV/s", "do this")


def fit(
    source: Annotated[str, typer.Option(help="Recording, brainflow:…, lsl:…, or stdin:")],
    model: Annotated[str | None, typer.Option(help="Judge the channels of this model only.")] = None,
    channel_map: Annotated[
        list[str] | None, typer.Option("--map", help="MODEL=SOURCE where channel names differ; repeatable.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Give up after so long.", min=1.0)] = 60.0,
    speed: Annotated[str, typer.Option(help="Of recordings: realtime or max.")] = "realtime",
    json: Annotated[bool, typer.Option("--json", help="Print the end state as JSON.")] = False,
) -> None:
    """Show the quality of each channel until all were good for 5 s: exit 0; when time is over: exit 1.

    Judged from the signal (railed, flat, mains, noise, drift); it is not an impedance measurement.
    """
    import sys

    from mimamba_edge.cli.models import open_model
    from mimamba_edge.console import print_json, printable, show_note
    from mimamba_edge.stream.fit import GOOD_S, Fit, watch
    from mimamba_edge.stream.names import check_map, parse_map
    from mimamba_edge.stream.sources.spec import open_source

    names = parse_map(channel_map or [])
    contract = None if model is None else open_model(model).contract
    if contract is not None:
        check_map(names, contract.ch_names)
    opened = open_source(source, speed=speed)
    state = Fit(opened, contract=contract, channel_map=names)
    shown = watch(state, opened, seconds)
    if json:
        for _ in shown:
            pass
        print_json({"source": source, **state.report()})
    elif sys.stdout.isatty():
        _live(shown, state)
    else:
        _lines(shown)
    if state.done:
        if not json:
            show_note(f"all channels were good for {GOOD_S:g} s")
        return
    bad = [
        f"{printable(name)}: {', '.join(held.faults)} ({held.do})"
        for name, held in state.channels.items()
        if held.faults
    ]
    raise GateError(
        f"not all channels were good for {GOOD_S:g} s within {state.seconds:.1f} s of signal",
        got="\n            ".join(bad) or _why(state),
        do=state.advice or None,
    )


def _why(state: Fit) -> str:
    if not state.seconds:
        return "no signal came"
    return f"{state.reason or 'all channels good'} at the end, good for {state.good_s:.1f} s"


def _summary(state: Fit) -> str:
    """Return who is not good and why, in one line."""
    from mimamba_edge.console import printable

    if not state.seconds:
        return "waiting for the signal"
    bad = [f"{printable(n)} {', '.join(held.faults)}" for n, held in state.channels.items() if held.faults]
    return "; ".join(bad) or {"gap": "samples are missing", "settling": "filters settle"}.get(
        state.reason or "", "all good"
    )


def _lines(shown: Iterator[Fit]) -> None:
    """Print a line whenever what is wrong changes."""
    from mimamba_edge.console import show_note

    last = None
    for state in shown:
        if (text := _summary(state)) != last:
            show_note(f"{state.seconds:6.1f} s  {text}")
            last = text


def _live(shown: Iterator[Fit], state: Fit) -> None:
    """Redraw a table; where it is ended by Ctrl-C the last one stays."""
    from rich.live import Live

    with Live(_table(state), auto_refresh=False, vertical_overflow="visible") as live:
        for now in shown:
            live.update(_table(now), refresh=True)


def _table(state: Fit) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mimamba_edge.console import printable
    from mimamba_edge.stream.fit import GOOD_S

    waiting = "" if not state.reason else f", {_summary(state)}"
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
    table.caption = Text(state.advice)
    return table

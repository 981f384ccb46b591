"""``mimamba-edge check-signal``: does the headset sit well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mimamba_edge.cli.options import ChannelMap, Json
from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.errors import GateError

if TYPE_CHECKING:
    from mimamba_edge.stream.signal_check import SignalCheck


def check_signal(
    source: Annotated[str, typer.Option(help="Recording, brainflow:…, lsl:…, stdin:, or simulated:")],
    model: Annotated[str | None, typer.Option(help="Check only the channels that this model uses.")] = None,
    channel_map: ChannelMap = None,
    seconds: Annotated[float, seconds_option("Stop after this time.", least=1, most=86400)] = 60.0,
    speed: Annotated[str, typer.Option(help="How fast recordings are played: realtime or max.")] = "realtime",
    json: Json = False,
) -> None:
    """Check the signal quality of every channel.

    Ends with exit code 0 when all channels were good for 5 s, with 1 when the time is over.
    The quality is computed from the signal (railed, flat, mains, noise, drift); it is not an impedance.
    """
    import sys
    from contextlib import closing

    from mimamba_edge.console import print_json, printable, show_note
    from mimamba_edge.load import load_model
    from mimamba_edge.naming import listed
    from mimamba_edge.stream.names import check_map, parse_map
    from mimamba_edge.stream.signal_check import GOOD_S, SignalCheck, watch
    from mimamba_edge.stream.signal_check_view import draw, print_lines
    from mimamba_edge.stream.sources.spec import check_source, open_source

    names = parse_map(channel_map or [])
    check_source(source)
    contract = None if model is None else load_model(model).contract
    if contract is not None:
        check_map(names, contract.ch_names)
    opened = open_source(source, speed=speed)
    with closing(opened):
        state = SignalCheck(opened, contract=contract, channel_map=names)
        shown = watch(state, opened, seconds)
        if json:
            for _ in shown:
                pass
            print_json({"source": source, **state.report()})
        elif sys.stdout.isatty():
            draw(shown, state)
        else:
            print_lines(shown)
    if state.done:
        show_note(f"all channels were good for {GOOD_S:g} s")
        return
    bad = [
        f"{printable(name)}: {', '.join(held.faults)} ({held.do})"
        for name, held in state.channels.items()
        if held.faults
    ]
    raise GateError(
        f"not all channels were good for {GOOD_S:g} s within {state.seconds:.1f} s of signal",
        got=listed(bad, "\n            ", limit=2000) or _why(state),
        do=state.advice or None,
    )


def _why(state: SignalCheck) -> str:
    if not state.seconds:
        return "no signal came"
    return f"{state.reason or 'all channels good'} at the end, good for {state.good_s:.1f} s"

"""``mimamba-edge stream``: decisions on signals as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import (
    ChannelMap,
    Hysteresis,
    MainsHz,
    Profile,
    Provider,
    Smoothing,
    count,
    number,
)
from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.cli.options import threads as threads_option
from mimamba_edge.errors import ConfigError


def stream(
    model: Annotated[str, typer.Argument(help="Model: an .onnx or .plan file or a checkpoint.")],
    source: Annotated[
        list[str],
        typer.Option(
            help="Where the signal comes from; repeat it for several streams: a recording, "
            "brainflow:BOARD?KEY=VALUE, lsl:name=X, lsl:type=EEG, stdin:, or simulated:."
        ),
    ],
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Where decisions go; repeatable: jsonl:PATH, jsonl:- (stdout; the default, except on a "
            "terminal with --page), lsl:NAME, osc:HOST:PORT, or terminal:."
        ),
    ] = None,
    mapped: ChannelMap = None,
    record: Annotated[
        Path | None, typer.Option(help="Also record the signal, in a new folder in this folder.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm that the text on privacy was read (for scripts).")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Show the signal and the decisions on a web page.")
    ] = False,
    page_host: Annotated[
        str, typer.Option(help="Address that the page listens on; other than 127.0.0.1 it needs a token.")
    ] = "127.0.0.1",
    page_port: Annotated[
        int, count("Port of the page; if it is taken, the next free one.", least=0, most=65535)
    ] = 8765,
    seconds: Annotated[
        float | None,
        seconds_option("Stop after this time; with --speed max, after this much signal.", least=0.001),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="How fast recordings are played: realtime, or max (as fast as possible).")
    ] = "realtime",
    smooth: Smoothing = 0.0,
    hysteresis: Hysteresis = 0.0,
    profile: Profile = None,
    mains: MainsHz = None,
    provider: Provider = "cpu",
    threads: Annotated[int, threads_option("Number of CPU threads for the model.")] = 1,
    deadline: Annotated[
        float | None,
        number(
            "Milliseconds that a window waits for windows of other streams, to run as one batch; default: 5.",
            least=0,
            most=60_000,
        ),
    ] = None,
) -> None:
    """Make decisions on live or recorded signals, one per hop.

    By default they are JSON lines on stdout; a summary follows on stderr at the end.
    """
    from mimamba_edge.stream.serve import Request, serve

    if mains not in (None, 50, 60):
        raise ConfigError("unknown mains frequency", got=f"{mains} Hz", expected="50 or 60")
    request = Request(
        model=model,
        sources=source,
        sinks=sink or [],
        channel_map=mapped or [],
        record=record,
        yes=yes,
        page=(page_host, page_port) if page else None,
        seconds=seconds,
        speed=speed,
        smooth_s=smooth,
        hysteresis=hysteresis,
        profile=profile,
        mains_hz=mains,
        provider=provider,
        threads=threads,
        deadline_ms=deadline,
    )
    raise typer.Exit(serve(request))

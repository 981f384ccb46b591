"""``mimamba-edge stream``: decisions on signals as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import count, number
from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.cli.options import threads as threads_option
from mimamba_edge.errors import ConfigError


def stream(
    model: Annotated[str, typer.Argument(help="Model: an .onnx or .plan file or a checkpoint.")],
    source: Annotated[
        list[str],
        typer.Option(
            help="Where signals come from; several times for several streams: a recording, "
            "brainflow:BOARD?KEY=VALUE, lsl:name=X, lsl:type=EEG, or stdin:."
        ),
    ],
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Where decisions go, several times for several: jsonl:PATH, jsonl:- (stdout; the default, "
            "but on a terminal with --page), lsl:NAME, osc:HOST:PORT, or terminal:."
        ),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="MODEL=SOURCE: a channel that the source calls otherwise; several times."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record the signal too, in a new folder in here.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Privacy and use of --record were read (scripts).")
    ] = False,
    page: Annotated[bool, typer.Option("--page", help="Show signal and decisions on a web page.")] = False,
    page_host: Annotated[
        str, typer.Option(help="Address of the page; others than this machine's need a token.")
    ] = "127.0.0.1",
    page_port: Annotated[int, count("Port of the page, or the next free one.", least=0, most=65535)] = 8765,
    seconds: Annotated[
        float | None,
        seconds_option("End after this time; of --speed max, after so much signal.", least=0.001),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="Of recordings: realtime, or max: as fast as possible.")
    ] = "realtime",
    smooth: Annotated[float, seconds_option("Smooth probabilities; 0: off.", most=3600)] = 0.0,
    hysteresis: Annotated[
        float, number("By how much another class must lead before the label changes.", least=0, most=1)
    ] = 0.0,
    profile: Annotated[Path | None, typer.Option(help="Personal profile that `calibrate` wrote.")] = None,
    mains: Annotated[
        int | None,
        count("Mains here in Hz, 50 or 60; by default the profile's, or the training's.", least=50, most=60),
    ] = None,
    provider: Annotated[
        str, typer.Option(help="What runs an .onnx: cpu, cuda, or tensorrt, which builds an engine first.")
    ] = "cpu",
    threads: Annotated[int, threads_option("Threads of the model.")] = 1,
    deadline: Annotated[
        float | None,
        number("Milliseconds that windows wait for those of other streams; 5.", least=0, most=60_000),
    ] = None,
) -> None:
    """Give one decision a hop, by default as JSON lines on stdout, and a summary on stderr at the end."""
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

"""``mimamba-edge stream``: decisions on a signal as it comes."""

from __future__ import annotations

from typing import Annotated

import typer

from mimamba_edge.errors import ConfigError


def stream(
    model: Annotated[str, typer.Argument(help="Model: an .onnx or .plan file or a checkpoint.")],
    source: Annotated[str, typer.Option(help="Recording to replay: a CSV file as muselsl writes it.")],
    speed: Annotated[str, typer.Option(help="realtime, or max: as fast as possible.")] = "realtime",
    mains: Annotated[
        int | None, typer.Option(help="Mains here in Hz, 50 or 60; by default the training's.")
    ] = None,
    provider: Annotated[
        str, typer.Option(help="What runs an .onnx: cpu, cuda, or tensorrt, which builds an engine first.")
    ] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the model.", min=1)] = 1,
) -> None:
    """Print one JSON line a decision on stdout, and a summary on stderr at the end or on Ctrl-C."""
    import sys

    from mimamba_edge.cli.models import open_model
    from mimamba_edge.stream.engine import Engine
    from mimamba_edge.stream.lines import write_lines
    from mimamba_edge.stream.sources.spec import open_source

    if mains not in (None, 50, 60):
        raise ConfigError("unknown mains frequency", got=f"{mains} Hz", expected="50 or 60")
    replay = open_source(source, speed=speed)
    with open_model(model, provider=provider, threads=threads) as runner:
        engine = Engine(runner, replay, mains_hz=mains)
        if mains is not None and mains != runner.contract.mains_hz:
            trained = runner.contract.mains_hz
            before = "none" if trained is None else f"{trained:g} Hz"
            typer.echo(f"mains: notch at {mains} Hz; the training had {before}", err=True)
        raise typer.Exit(write_lines(engine, sys.stdout, sys.stderr))

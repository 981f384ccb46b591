"""``mimamba-edge predict``: the decisions of a stream on many recordings, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import (
    ChannelMap,
    Hysteresis,
    Json,
    MainsHz,
    Profile,
    Provider,
    Report,
    Smoothing,
    count,
    deliver,
)
from mimamba_edge.errors import ConfigError, GateError


def predict(
    model: Annotated[str, typer.Argument(help="Model: an .onnx or .plan file or a checkpoint.")],
    data: Annotated[
        str,
        typer.Argument(
            help="Recordings: a folder, of which all in it and in its folders are scored; one recording or "
            "session; or a data set, as deap:DEAP."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Table to write: NAME.parquet or NAME.csv.")],
    mapped: ChannelMap = None,
    smooth: Smoothing = 0.0,
    hysteresis: Hysteresis = 0.0,
    profile: Profile = None,
    mains: MainsHz = None,
    provider: Provider = "cpu",
    batch: Annotated[
        int,
        count(
            "Windows that the model is given at a time. 1 gives the stream's probabilities to the last bit; "
            "more is faster, above all on a GPU, and may change their last digits.",
            most=65_536,
        ),
    ] = 1,
    jobs: Annotated[
        int | None,
        count("Recordings at a time; default: one on each core, on a GPU one.", most=10_000),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where recordings are scored: local, or ray (a cluster).")
    ] = "local",
    json: Json = False,
    report: Report = None,
) -> None:
    """Write a table of the decisions that `stream` makes on recordings, one row a window.

    A recording that cannot be scored is named; the others are scored, and the exit code is 1.
    """
    from mimamba_edge.console import progress, show_note, show_warning
    from mimamba_edge.export.jobs.run import Engine
    from mimamba_edge.export.prediction.predict import Task
    from mimamba_edge.export.prediction.predict import predict as run
    from mimamba_edge.export.prediction.recordings import Recordings
    from mimamba_edge.export.prediction.table import PREDICTIONS, check_name
    from mimamba_edge.outputs import check_outputs, report_of
    from mimamba_edge.profile import Profile
    from mimamba_edge.stream.names import parse_map
    from mimamba_edge.stream.options import StreamOptions

    if mains not in (None, 50, 60):
        raise ConfigError("unknown mains frequency", got=f"{mains} Hz", expected="50 or 60")
    check_name(output)
    check_outputs(
        [(output, PREDICTIONS), (report, report_of("predict"))],
        [model, data, *([] if profile is None else [profile])],
    )
    person = None if profile is None else Profile.load(profile)
    task = Task(
        model,
        data,
        StreamOptions(parse_map(mapped or []), mains, smooth, hysteresis, person),
        provider,
        batch,
    )
    at = None if jobs is None and engine == "local" else Engine(engine, jobs)
    if at is not None:
        at.check()
    names = Recordings(data).names()
    with progress("predict", total=len(names)) as bar:
        outcome = run(task, output, names, at, done=bar.advance)
    for name, failure in outcome.failures.items():
        show_warning(f"{name}: {failure}")
    show_note(f"{outcome}\ntable: {output}")
    deliver("predict", {"table": str(output), **vars(outcome)}, json, report)
    if outcome.failures:
        raise GateError(f"{len(outcome.failures)} of {len(names)} recordings could not be scored")

"""``mimamba-edge data``: what is in recordings, and label tables made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.errors import ConfigError

data = typer.Typer(no_args_is_help=True, help="Make a label table for recordings that have markers.")


@data.callback()
def _group() -> None:
    pass


@data.command()
def events(
    files: Annotated[
        list[Path], typer.Argument(help="Recordings: CSV, EDF, BDF, FIF, XDF or session folders.")
    ],
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="EVENT=LABEL: make a trial at each such event; repeatable. Without it the events are listed."
        ),
    ] = None,
    tmin: Annotated[
        float, seconds_option("Start of a trial, in seconds from its event.", least=-3600, most=3600)
    ] = 0.0,
    tmax: Annotated[
        float | None, seconds_option("End of a trial, in seconds from its event.", least=-3600, most=3600)
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Label table to write; recordings are named relative to its folder."
        ),
    ] = Path("labels.csv"),
    subject: Annotated[
        str | None, typer.Option(help="Pseudonym of the person; default: from the session folder, else s1.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="Session name; default: from the session folder, else 1.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Run name; default: from the session folder, else the file name.")
    ] = None,
) -> None:
    """List the events in recordings, or make a labels.csv from them for `train`."""
    from collections import Counter

    from mimamba_edge.console import progress, show_note
    from mimamba_edge.data.events import count_markers, make_trials
    from mimamba_edge.data.labels import write_labels
    from mimamba_edge.outputs import TABLE, check_outputs
    from mimamba_edge.sessions.events_view import show_events, who_is
    from mimamba_edge.sessions.trials import read_labelled

    labels = read_labelled(event or (), "--event")
    if not labels:
        with progress("reading", len(files)) as bar:
            found = count_markers(files, bar.advance)
        show_events(found)
        return
    if tmax is None or tmax <= tmin:
        got = f"--tmin {tmin:g}" + ("" if tmax is None else f" --tmax {tmax:g}")
        raise ConfigError("--event needs the length of a trial", got=got, expected="--tmax above --tmin")
    check_outputs([(output, TABLE)], files)
    who = who_is(subject, session, run, files)
    with progress("making trials", len(files)) as bar:
        table = make_trials(
            files, labels, tmin=tmin, tmax=tmax, folder=output.parent, who=who, done=bar.advance
        )
    write_labels(output, table.trials)
    counts = Counter(trial.label for trial in table.trials)
    shown = ", ".join(f"{label} {n}" for label, n in sorted(counts.items()))
    show_note(f"{len(table.trials)} trials of {len(files)} recordings: {shown}")
    for reason, n in table.left_out.items():
        show_note(f"{n} left out: {reason}")
    show_note(str(output))

"""``mimamba-edge record``: a session folder from a source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, deliver
from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.errors import ConfigError

_INTERRUPTED = 130


def record(
    source: Annotated[
        str,
        typer.Option(
            help="Where the signal comes from: a recording, brainflow:…, lsl:…, stdin:, or simulated:"
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder of sessions; the new session becomes a folder in it."),
    ],
    seconds: Annotated[
        float | None, seconds_option("Seconds to record; default: until Ctrl-C.", least=0.1)
    ] = None,
    cue: Annotated[
        Path | None, typer.Option(help="Cue script, a CSV file label,seconds[,text]; each cue is a trial.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="KEY=LABEL: the key begins a trial, the next such key ends it; repeatable."),
    ] = None,
    markers: Annotated[
        list[str] | None, typer.Option(help="Marker stream, lsl:NAME or lsl:type=Markers; repeatable.")
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="MARKER=LABEL: make a trial at each such marker; repeatable.")
    ] = None,
    tmin: Annotated[
        float,
        seconds_option("With --event: start of a trial, in seconds from its marker.", least=-3600, most=3600),
    ] = 0.0,
    tmax: Annotated[
        float | None,
        seconds_option("With --event: end of a trial, in seconds from its marker.", least=-3600, most=3600),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Pseudonym of the person; default: the folder's subject.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Session name; default: the date.")] = None,
    run: Annotated[str | None, typer.Option(help="Run name; default: the next number.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm that the text on privacy was read (for scripts).")
    ] = False,
    json: Json = False,
) -> None:
    """Record a signal with its markers and trials.

    Writes a session folder: samples, events and a labels.csv for `train`.
    """
    import contextlib

    from mimamba_edge.recorder.capture import Capture, new_session, open_markers, stop_signals
    from mimamba_edge.recorder.keys import pressed_keys
    from mimamba_edge.recorder.view import describe, summary, tell_states, watching
    from mimamba_edge.sessions.consent import confirm_recording
    from mimamba_edge.sessions.trials import CueRun, Epochs, KeyTrials, read_cues, read_labelled
    from mimamba_edge.stream.sources.spec import open_source

    keys, events = read_labelled(key or (), "--key", one=True), read_labelled(event or (), "--event")
    if events and (tmax is None or tmax <= tmin):
        raise ConfigError(
            "--event needs the length of a trial", got=f"--tmin {tmin:g}", expected="--tmax above it"
        )
    script = None if cue is None else read_cues(cue)
    confirm_recording(yes=yes)
    with contextlib.ExitStack() as stack:
        inlets = open_markers(markers or ())
        pressed = stack.enter_context(pressed_keys()) if keys else lambda: ""
        opened = open_source(source)
        stack.callback(opened.close)
        tell_states(opened, {one.label for one in script or () if one.label} | set(keys.values()))
        writer = new_session(out, opened, subject=subject, session=session, run=run)
        capture = Capture(
            opened,
            writer,
            cues=None if script is None else CueRun(script, opened.sfreq),
            keys=KeyTrials(keys) if keys else None,
            pressed=pressed,
            markers=inlets,
            epochs=Epochs(events, tmin, tmax, opened.sfreq) if events and tmax is not None else None,
        )
        ending = stack.enter_context(stop_signals())
        watch = stack.enter_context(watching(opened, keys))
        try:
            capture.run(ending, watch, seconds=seconds)
        finally:
            stack.close()
            typer.echo(f"{writer.folder}: {describe(capture)}", err=True)
        if writer.n and not json:
            typer.echo(str(writer.folder))
        deliver("record", summary(capture), json, None)
        raise typer.Exit(_INTERRUPTED if ending.interrupted else 0)

"""``mimamba-edge data``: what is in recordings, and label tables made of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mimamba_edge.cli.options import Json, deliver
from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.errors import ConfigError, GateError

if TYPE_CHECKING:
    from mimamba_edge.data.dataset import Dataset

_MOST_FAULTS = 60

data = typer.Typer(
    no_args_is_help=True,
    help="Check a data set, make a label table for recordings that have markers, see what is kept of them.",
)


@data.callback()
def _group() -> None:
    pass


@data.command()
def events(
    files: Annotated[
        list[Path],
        typer.Argument(help="Recordings: CSV, EDF, BDF, FIF, XDF, BrainVision, EEGLAB or session folders."),
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
        float | None,
        seconds_option(
            "End of a trial, in seconds from its event; default: the event's own end.", least=-3600, most=3600
        ),
    ] = None,
    intervals: Annotated[
        Path | None,
        typer.Option(
            help="Table of labelled intervals, CSV or BIDS's TSV: its rows are the events, with onset, "
            "duration (or end) and label."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Label table to write; recordings are named relative to its folder. Default: labels.csv "
            "beside the recordings, where all stand in one folder, else in the current one.",
        ),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Pseudonym of the person; default: from the session folder, else s1.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="Session name; default: from the session folder, else 1.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Run name; default: from the session folder, else the file name.")
    ] = None,
    json: Json = False,
) -> None:
    """List the events in recordings, or make a labels.csv from them for `train`."""
    from mimamba_edge.console import progress, show_note
    from mimamba_edge.data.events import count_markers, labels_beside, make_trials
    from mimamba_edge.data.intervals import with_intervals
    from mimamba_edge.data.labels import write_labels
    from mimamba_edge.data.recording import read_recording
    from mimamba_edge.data.session_format import LABELS
    from mimamba_edge.outputs import TABLE, check_outputs
    from mimamba_edge.sessions.events_view import show_events, who_is
    from mimamba_edge.sessions.trials import read_labelled

    labels = read_labelled(event or (), "--event")
    # FOLDER/*.csv names the table that an earlier run wrote there, too.
    files = [path for path in files if path.name != LABELS] or files
    read = read_recording if intervals is None else with_intervals(intervals, files)
    if not labels:
        with progress("reading", len(files)) as bar:
            found = count_markers(files, bar.advance, read)
        show_events(found)
        deliver("data events", {"events": {str(path): dict(n) for path, n in found.items()}}, json, None)
        return
    if tmax is not None and tmax <= tmin:
        got = f"--tmin {tmin:g} --tmax {tmax:g}"
        raise ConfigError("--event needs the length of a trial", got=got, expected="--tmax above --tmin")
    output = output or labels_beside(files)
    check_outputs([(output, TABLE)], files if intervals is None else [*files, intervals])
    who = who_is(subject, session, run, files)
    with progress("making trials", len(files)) as bar:
        table = make_trials(
            files, labels, tmin=tmin, tmax=tmax, folder=output.parent, who=who, done=bar.advance, read=read
        )
    write_labels(output, table.trials)
    counts = Counter(trial.label for trial in table.trials)
    shown = ", ".join(f"{label} {n}" for label, n in sorted(counts.items()))
    show_note(f"{len(table.trials)} trials of {len(files)} recordings: {shown}")
    for reason, n in table.left_out.items():
        show_note(f"{n} left out: {reason}")
    show_note(str(output))
    made = {"labels": str(output), "trials": len(table.trials), "classes": dict(sorted(counts.items()))}
    deliver("data events", {**made, "left_out": table.left_out}, json, None)


@data.command()
def check(
    dataset: Annotated[
        str,
        typer.Argument(help="Data set: a folder with labels.csv, or NAME:PATH, as deap:DEAP."),
    ],
    json: Json = False,
) -> None:
    """Say what is missing, doubled or odd in a data set; exit code 1 if anything is."""
    from mimamba_edge.console import printable, progress, show_note, show_table
    from mimamba_edge.data.check import check_dataset
    from mimamba_edge.data.dataset import open_dataset

    found = open_dataset(dataset, damaged=True)
    with progress("reading", len(found.files)) as bar:
        result = check_dataset(found, bar.advance)
    classes = sorted({trial.label for trial in found.trials})
    rows = []
    for label in (*classes, "all"):
        chosen = [trial for trial in found.trials if label in (trial.label, "all")]
        people = {t.subject for t in chosen}
        sessions = {(t.subject, t.session) for t in chosen}
        stimuli = {t.stimulus for t in chosen if t.stimulus}
        seconds = sum(t.stop_s - t.start_s for t in chosen)
        counts = (len(chosen), len(people), len(sessions), len(stimuli))
        rows.append([printable(label), *map(str, counts), f"{seconds:.0f}"])
    header = ["class", "trials", "subjects", "sessions", "stimuli", "seconds"]
    show_table(found.name, header, rows)
    told = {
        "dataset": found.name,
        "recordings": len(found.files),
        "seconds": result.seconds,
        "recordings_by_hz": {f"{hz:g}": n for hz, n in result.rates.items()},
        "trials": Counter(trial.label for trial in found.trials),
        "faults": [vars(fault) for fault in result.faults],
    }
    deliver("data check", told, json, None)
    rates = ", ".join(f"{n} at {hz:g} Hz" for hz, n in result.rates.items())
    show_note(f"{len(found.files)} recordings ({rates}), {result.seconds:.0f} s; {_told(found)}")
    if not result.faults:
        show_note("nothing is missing, doubled or odd")
        return
    shown = result.faults[:_MOST_FAULTS]
    show_table("", ["", "where", "what"], [[f.kind, f.where, f.what] for f in shown], left=(0, 1, 2))
    if len(result.faults) > len(shown):
        show_note(f"and {len(result.faults) - len(shown)} more")
    kinds = Counter[str]()
    for fault in result.faults:
        kinds[fault.kind] += fault.count
    raise GateError(f"{dataset}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))


@data.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that no process uses.")] = False,
    json: Json = False,
) -> None:
    """List the windows of data sets that are kept for the next time, or remove them."""
    import time

    from mimamba_edge.console import show_note, show_table
    from mimamba_edge.data.window_cache import entries, remove
    from mimamba_edge.files import cache_folder

    folder = cache_folder() / "windows"
    held = entries(folder)
    gone = [entry for entry in held if clear and remove(entry)]
    left = [entry for entry in held if entry not in gone]
    rows = []
    for entry in left:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        rows.append((entry.folder.name, f"{entry.size_bytes / 1e6:.1f}", used))
    if rows:
        show_table("in use" if clear else "", ("", "MB", "last used"), rows, left=(0, 2))
    for what, some in (("removed", gone), ("kept", left)):
        size = sum(entry.size_bytes for entry in some) / 1e9
        if some or what == "kept":
            show_note(f"{len(some)} {what}, {size:.1f} GB: {folder}")
    kept = [{"folder": str(one.folder), "bytes": one.size_bytes, "used_unix": one.used} for one in left]
    deliver("data cache", {"removed": [str(one.folder) for one in gone], "kept": kept}, json, None)


def _told(dataset: Dataset) -> str:
    done, band = dataset.processing, dataset.processing.band_hz
    parts = [f"reference {done.reference}"]
    parts += [f"filtered to {band[0]:g}-{band[1]:g} Hz"] if band else []
    parts += [done.cleaning] if done.cleaning else []
    parts += [dataset.labelling] if dataset.labelling else []
    return "; ".join(parts)

"""From the markers of recordings to a label table."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge.console import printable
from mimamba_edge.data.labels import LABELS, Trial
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.errors import DataError
from mimamba_edge.signal.clock import find_events, fit_clock

__all__ = ["Table", "count_markers", "labels_beside", "make_trials"]

_EXACT = 1e-3
"""Samples; so exact is the fitted clock where there is no jitter."""


@dataclass(frozen=True)
class Table:
    """Trials made of markers.

    Attributes:
        trials: In the order of the files and of time.
        left_out: Number of markers that gave no trial, by reason.
    """

    trials: tuple[Trial, ...]
    left_out: dict[str, int]


def count_markers(
    paths: Sequence[Path],
    done: Callable[[], None] = lambda: None,
    read: Callable[[Path], Recording] = read_recording,
) -> dict[Path, Counter[str]]:
    """Return how often each text marks something in each recording.

    Args:
        paths: Recordings.
        done: Called after each recording.
        read: Reads a recording with its markers.

    Raises:
        DataError: A recording cannot be used.
        DependencyError: Its format needs a package that is not installed.
    """
    found = {}
    for path in paths:
        found[path] = Counter(marker.text.strip() for marker in read(path).markers)
        done()
    return found


def labels_beside(paths: Sequence[Path]) -> Path:
    """Return where the label table of recordings goes: beside them if all stand in one folder, else here."""
    folders = {path.parent for path in paths}
    return (folders.pop() if len(folders) == 1 else Path()) / LABELS


def make_trials(
    paths: Sequence[Path],
    labels: Mapping[str, str],
    *,
    tmin: float,
    tmax: float | None,
    folder: Path,
    who: Callable[[Path], tuple[str, str, str]],
    done: Callable[[], None] = lambda: None,
    read: Callable[[Path], Recording] = read_recording,
) -> Table:
    """Make a trial of the time around each marker.

    A trial that overlaps the one before, or does not lie within its recording, is left out.

    Args:
        paths: Recordings.
        labels: Label of each marker's text.
        tmin: First second of a trial, from the marker.
        tmax: Its end; ``None``: that of the marker, where it lasted.
        folder: Where the table will stand; its rows name the recordings from there.
        who: Returns subject, session and run of a recording.
        done: Called after each recording.
        read: Reads a recording with its markers.

    Raises:
        DataError: A recording cannot be used, none has one of the markers, or no trial is left.
        DependencyError: A format needs a package that is not installed.
    """
    trials: list[Trial] = []
    left_out, there = Counter[str](), Counter[str]()
    for path in paths:
        recording = read(path)
        there.update(marker.text.strip() for marker in recording.markers)
        # A session is named by its folder, but trials stand in a file.
        file = _from(folder, recording.path)
        trials += _of_recording(recording, labels, (tmin, tmax), (file, *who(path)), left_out)
        done()
    absent = [text for text in labels if text not in there]
    if absent:
        raise DataError(
            f"no recording has the event {', '.join(map(printable, absent))}",
            got=", ".join(f"{printable(text)} ({n} times)" for text, n in there.most_common(20)) or "none",
            expected="an event of the recordings",
        )
    if not trials:
        raise DataError(
            "no trial is left", got=", ".join(f"{n} left out: {why}" for why, n in left_out.items())
        )
    return Table(tuple(trials), dict(left_out))


def _from(folder: Path, path: Path) -> str:
    """Return a path as seen from a folder, without following a link to the recording itself.

    DataLad and git-annex keep the bytes behind links: the name is the user's, the bytes' place is not.
    """
    lexical = Path(os.path.normpath(path.absolute()))
    with contextlib.suppress(ValueError):
        return lexical.relative_to(os.path.normpath(folder.absolute())).as_posix()
    # Upwards through a folder that is a link, only the real folders lead to the file.
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()


def _of_recording(
    recording: Recording,
    labels: Mapping[str, str],
    span: tuple[float, float | None],
    of: tuple[str, str, str, str],
    left_out: Counter[str],
) -> list[Trial]:
    file, subject, session, run = of
    times = recording.timestamps
    events = find_events(times, recording.sfreq)
    fit = fit_clock(times, events, recording.sfreq)
    n_grid = len(times) + sum(event.n_lost for event in events)
    trials: list[Trial] = []
    for marker in sorted(recording.markers, key=lambda marker: marker.t_s):
        text = marker.text.strip()
        if text not in labels:
            continue
        tmax = marker.duration_s if span[1] is None else span[1]
        if tmax <= span[0]:
            left_out["of no length: name one with --tmin and --tmax"] += 1
            continue
        start_s, stop_s = round(marker.t_s + span[0], 6), round(marker.t_s + tmax, 6)
        start = fit.grid(times[0] + start_s)
        stop = start + (stop_s - start_s) * recording.sfreq
        if start_s < 0 or stop > n_grid + _EXACT:
            left_out["not within the recording"] += 1
        elif trials and start_s < trials[-1].stop_s:
            left_out["overlaps the previous trial"] += 1
        else:
            # An event says the class; what was shown is not known.
            trials.append(Trial(file, start_s, stop_s, labels[text], subject, session, run, stimulus=""))
    return trials

"""The label table of a data set: ``labels.csv``, one row per trial. All of it is written and read here."""

from __future__ import annotations

import csv
import io
import itertools
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimamba_edge.data.formats.lines import seconds
from mimamba_edge.data.recording import file_of
from mimamba_edge.data.session_format import LABELS, is_session, whole_lines
from mimamba_edge.errors import DataError
from mimamba_edge.files import write_bytes
from mimamba_edge.naming import natural_order

__all__ = [
    "COLUMNS",
    "LABELS",
    "Trial",
    "class_names",
    "format_trials",
    "label_tables",
    "read_labels",
    "write_labels",
]

COLUMNS = ("file", "start_s", "stop_s", "label", "subject", "session", "run", "stimulus")


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        file: Name of the recording in its data set: of a folder, the path from there.
        start_s: Start in seconds from the recording's first sample, by the recorded clock.
        stop_s: End.
        label: Class.
        subject: Who.
        session: On which occasion; a file name means the same session everywhere.
        run: Which run of it.
        stimulus: What was shown.
    """

    file: str
    start_s: float
    stop_s: float
    label: str
    subject: str
    session: str
    run: str
    stimulus: str


def class_names(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return the labels in order.

    Raises:
        DataError: There are fewer than two.
    """
    names = tuple(sorted({t.label for t in trials}))
    if len(names) < 2:
        raise DataError("the label table has only one class", got=", ".join(names), expected="two or more")
    return names


def format_trials(trials: Iterable[Trial], *, header: bool = True) -> str:
    """Return rows of a label table, times in seconds to the microsecond.

    Args:
        trials: One a row.
        header: Begin with the names of the columns.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for trial in trials:
        cells = [getattr(trial, column) for column in COLUMNS]
        writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])
    return text.getvalue()


def write_labels(path: Path, trials: Iterable[Trial]) -> None:
    """Write a label table, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    write_bytes(path, format_trials(trials).encode())


def label_tables(folder: Path) -> list[Path]:
    """Return the label tables of a folder: its own, or where it has none those of the folders in it."""
    own = folder / LABELS
    if own.is_file():
        return [own]
    return sorted(table for table in folder.glob(f"*/{LABELS}") if table.is_file())


def read_labels(folder: Path) -> list[Trial]:
    """Read ``labels.csv`` of a data set; where it has none, those of the folders in it (sessions).

    Sessions come in the order of subject, session and run: their folders are named at random, and the same
    recordings are to give the same folds and fits.

    Raises:
        DataError: The folder, the table, a column or a named recording is missing; a row is not valid; a
            trial stands twice.
    """
    folder = Path(folder)
    tables = label_tables(folder)
    if not tables:
        got, do = "no such folder", f"check the path; to try: mimamba-edge simulate {folder}"
        if folder.is_dir():
            got = f"no {LABELS} in it, nor in a folder in it"
            do = "for recordings with markers, `mimamba-edge data events` makes one"
        elif folder.is_file():
            got = "a file"
            do = _instead(folder)
        raise DataError(
            f"{folder} is not a data set",
            got=got,
            expected=f"a folder of recordings and {LABELS} with the columns {','.join(COLUMNS)}",
            do=do,
        )
    trials = []
    for table in tables:
        within = table.parent.relative_to(folder).as_posix()
        trials += [replace(t, file=posixpath.normpath(f"{within}/{t.file}")) for t in _read_table(table)]
    if not trials:
        raise DataError(f"{', '.join(map(str, tables))} lists no trials", expected="one row per trial")
    if [table.parent for table in tables] != [folder]:
        trials.sort(key=lambda t: [natural_order(name) for name in (t.subject, t.session, t.run)])
    return trials


def _instead(file: Path) -> str:
    """Return what to name in place of a file that was named as a data set."""
    if file.suffix == ".npz":
        return f"arrays of NumPy are named npz:{file}"
    if file.suffix == ".npy":
        npz = file.with_suffix(".npz")
        return (
            "put the arrays into one file, "
            f"np.savez({npz.name!r}, X=X, y=y, ch_names=ch_names, sfreq=sfreq), and name npz:{npz}"
        )
    return "name its folder"


def _read_table(path: Path) -> list[Trial]:
    try:
        content = path.read_bytes()
        if is_session(path.parent):
            content = whole_lines(content)
        with io.StringIO(content.decode("utf-8-sig"), newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            missing = [c for c in COLUMNS if c not in header]
            if missing:
                raise DataError(
                    f"{path} lacks the columns: {', '.join(missing)}",
                    got=", ".join(header),
                    expected=", ".join(COLUMNS),
                )
            if twice := [c for c in COLUMNS if header.count(c) > 1]:
                raise DataError(
                    f"{path} has some columns twice: {', '.join(twice)}",
                    got=", ".join(header),
                    expected="each name once",
                )
            trials = [_trial(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}", got=str(error)) from error
    _check(path, path.parent, trials)
    return trials


def _trial(path: Path, line: int, row: dict[str | Any, str | Any]) -> Trial:
    # csv gathers what stands beyond the header under None.
    if any(row.get(None) or ()):
        raise DataError(
            f"{path}, line {line}: more cells than columns",
            do="put quotes around cells that hold a comma",
        )
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    empty = [name for name in ("file", "start_s", "stop_s", "label") if not cells[name]]
    if empty:
        raise DataError(f"{path}, line {line}: {', '.join(empty)} is empty")
    times = [seconds(f"{path}, line {line}, {name}", cells.pop(name)) for name in ("start_s", "stop_s")]
    if times[0] < 0 or times[1] <= times[0]:
        raise DataError(
            f"{path}, line {line}: the trial ends at or before its start",
            got=f"start_s {times[0]:g}, stop_s {times[1]:g}",
            expected="0 <= start_s < stop_s",
        )
    cells["file"] = posixpath.normpath(cells["file"])
    return Trial(start_s=times[0], stop_s=times[1], **cells)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long to be looked for
        return False


def _check(path: Path, folder: Path, trials: list[Trial]) -> None:
    absent = sorted(name for name in {t.file for t in trials} if not _is_there(file_of(folder / name)))
    if absent:
        raise DataError(
            f"{path} names recordings that are not there: {', '.join(absent)}", expected=f"files in {folder}"
        )
    ordered = sorted(trials, key=lambda t: (t.file, t.start_s, t.stop_s))
    for one, two in itertools.pairwise(ordered):
        if one.file != two.file or two.start_s >= one.stop_s:
            continue
        twice = (one.start_s, one.stop_s) == (two.start_s, two.stop_s)
        raise DataError(
            f"{path} has a trial twice" if twice else f"{path} has trials that overlap",
            got=f"{one.file}, {one.start_s:g} to {one.stop_s:g} s and {two.start_s:g} to {two.stop_s:g} s",
            do="remove or shorten one: otherwise the same samples could be in training and test",
        )

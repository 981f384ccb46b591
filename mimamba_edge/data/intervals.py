"""A table of labelled intervals beside recordings, as spreadsheets, BIDS and annotation programs have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mimamba_edge.console import printable
from mimamba_edge.data.formats.lines import read_cells, seconds
from mimamba_edge.data.formats.marks import nearest_sample
from mimamba_edge.data.recording import Marker, Recording, read_recording
from mimamba_edge.errors import ConfigError, DataError

__all__ = ["with_intervals"]

_START = ("onset", "onset_s", "start", "start_s", "begin", "start_time")
_LENGTH = ("duration", "duration_s", "length", "length_s")
_STOP = ("stop", "stop_s", "end", "end_s", "stop_time", "end_time")
_LABEL = ("label", "trial_type", "class", "condition", "emotion", "description", "event", "marker")
_FILE = ("file", "filename", "recording")
_VALUE = "value"
"""BIDS has it beside ``trial_type``; alone it is the label."""
_UNIX_S = 1e8
_NONE = ("", "n/a", "nan")


@dataclasses.dataclass(frozen=True)
class _Interval:
    """A row: its recording or ``None`` where there is one only, seconds, and what it is called."""

    line: int
    file: str | None
    start_s: float
    length_s: float
    label: str


def with_intervals(table: Path, paths: Sequence[Path]) -> Callable[[Path], Recording]:
    """Return what reads a recording with the intervals of a table as its markers, and no others.

    A row has a start (``onset``, ``start``, ...), a ``duration`` or an end (``stop``, ``end``), and a
    ``label`` (``trial_type``, ``class``, ...); a column ``file`` names the recording where there are several.
    Seconds count from the first sample, or are Unix time where those of the recording are.

    Args:
        table: CSV, or TSV as BIDS has it.
        paths: The recordings that will be read.

    Raises:
        ConfigError: Several recordings, and the table does not tell them apart.
        DataError: The table cannot be used, or names other recordings.
    """
    rows = _read(table)
    by_path: dict[Path, list[_Interval]] = {path: [] for path in paths}
    for row in rows:
        if row.file is None:
            if len(paths) > 1:
                raise ConfigError(
                    f"{table} does not say which recording a row is of",
                    got=f"{len(paths)} recordings",
                    expected="a column 'file', or one recording",
                )
            by_path[paths[0]].append(row)
            continue
        named = [path for path in paths if row.file in (path.name, str(path)) or _same(table, row.file, path)]
        if len(named) != 1:
            raise DataError(
                f"{table}, line {row.line}: it is not one of the recordings",
                got=printable(row.file),
                expected=", ".join(printable(path) for path in paths[:20]),
            )
        by_path[named[0]].append(row)

    def read(path: Path) -> Recording:
        recording = read_recording(path)
        return dataclasses.replace(recording, markers=_markers(table, recording, by_path[path]))

    return read


def _same(table: Path, file: str, path: Path) -> bool:
    try:
        return (table.parent / file).resolve() == path.resolve()
    except (OSError, ValueError):
        return False


def _markers(table: Path, recording: Recording, rows: Sequence[_Interval]) -> tuple[Marker, ...]:
    times = recording.timestamps
    starts = np.array([row.start_s for row in rows])
    if len(starts) and starts.min() > _UNIX_S:
        if times[0] < _UNIX_S:
            raise DataError(
                f"{table} has Unix times and {recording.path} has not",
                got=f"{starts[0]:.1f} s in a recording from {times[0]:.1f} s on",
                expected="seconds from the recording's first sample",
            )
        starts = starts - times[0]
    at = nearest_sample(times, times[0] + starts)
    return tuple(
        Marker(row.label, int(i), float(start), row.length_s)
        for row, i, start in zip(rows, at, starts, strict=True)
    )


def _read(path: Path) -> list[_Interval]:
    rows = read_cells(path)
    header = [name.lower() for name in rows[0][1]] if rows else []
    start = _column(path, header, _START, "start")
    label = _column(path, header, _LABEL, "label", or_else=_VALUE)
    length = _column(path, header, (*_LENGTH, *_STOP), "duration or end")
    file = next((header.index(name) for name in _FILE if name in header), None)
    found = []
    for number, cells in rows[1:]:
        if cells[label].lower() in _NONE:
            continue
        begins, lasts = (seconds(f"{path}, line {number}", cells[i]) for i in (start, length))
        if header[length] in _STOP:
            lasts -= begins
        if lasts < 0:
            raise DataError(
                f"{path}, line {number}: the interval ends before its start", got=f"{lasts:g} s of length"
            )
        found.append(_Interval(number, None if file is None else cells[file], begins, lasts, cells[label]))
    if not found:
        raise DataError(f"{path} lists no intervals", expected="one a row")
    return found


def _column(
    path: Path, header: Sequence[str], names: Sequence[str], what: str, or_else: str | None = None
) -> int:
    there = [i for i, name in enumerate(header) if name in names]
    if not there and or_else in header:
        return header.index(or_else)
    if len(there) != 1:
        raise DataError(
            f"{path} has no one column for the {what} of an interval",
            got=", ".join(printable(header[i]) for i in there) or f"columns {printable(', '.join(header))}",
            expected=f"one of {', '.join(names)}",
            do="rename the right one, and the others to something else" if there else "name the columns",
        )
    return there[0]

"""The CSV files that muselsl writes."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import check_times
from mimamba_edge.data.channels import is_label, is_marker
from mimamba_edge.data.formats.lines import Table, numbers
from mimamba_edge.data.formats.marks import spans, trigger_starts
from mimamba_edge.data.recording import TIMESTAMPS, Marker, Recording, known_rails_uv
from mimamba_edge.errors import DataError, SignalError
from mimamba_edge.signal.rate import robust_rate, usual_rate

__all__ = ["read"]

_MARKER = "Marker"


def read(path: Path) -> Recording:
    """Read a CSV with the columns ``timestamps``, channels, and possibly ``Marker0`` or eegnb's ``stim``.

    Cells may be empty or ``nan`` where a sample is missing; timestamps may not. A column ``label`` says in
    which state each sample was recorded, in words or numbers: it gives a marker for each stretch.

    Raises:
        DataError: The file is not such a CSV, or holds no samples.
    """
    header = _header(path)
    markers = [i for i, name in enumerate(header) if name.startswith(_MARKER) or is_marker(name)]
    labels = [i for i, name in enumerate(header) if is_label(name)]
    channels = [i for i, name in enumerate(header) if name != TIMESTAMPS and i not in (*markers, *labels)]
    if TIMESTAMPS not in header or not channels or len(set(header)) != len(header):
        raise DataError(
            f"{path} is not a recording in muselsl's format",
            got=f"columns {', '.join(header)}",
            expected="'timestamps' in seconds, one column of microvolts per channel, no name twice, "
            "optionally 'Marker0' (numbers) or 'label' (text)",
            do="rename its columns; docs/recordings.md shows this format and the others",
        )
    texts = _texts(path, labels, len(header)) if labels else []
    table = _table(path, len(header), [i for i in range(len(header)) if i not in labels])
    timestamps = table[:, header.index(TIMESTAMPS)]
    bad = ~np.isfinite(timestamps)
    if bad.any():
        raise DataError(
            f"{path} has a sample without a time stamp",
            got=f"sample {int(np.argmax(bad)) + 1}",
            expected="seconds in every row; only channels may be NaN",
        )
    check_times(path, timestamps)
    try:
        rate = robust_rate(timestamps)
    except SignalError as error:
        raise DataError(
            f"{path} has no usable sampling rate",
            got=error.got,
            expected=error.expected,
            do="record it again",
        ) from error
    names = tuple(header[i] for i in channels)
    return Recording(
        path=path,
        ch_names=names,
        sfreq=usual_rate(rate),
        samples=table[:, channels],
        timestamps=timestamps,
        markers=_markers(timestamps, table[:, markers], [header[i].startswith(_MARKER) for i in markers])
        + spans(timestamps, texts, usual_rate(rate)),
        rails_uv=known_rails_uv(names),
    )


def _markers(
    timestamps: NDArray[np.float64], columns: NDArray[np.float64], single: list[bool]
) -> tuple[Marker, ...]:
    """Return a marker for each cell of the columns ``(n, m)`` that is not 0 or empty.

    A column that is not muselsl's may hold a code for several samples, as a trigger line does: its changes
    count.
    """
    found = []
    for values, every in zip(np.nan_to_num(columns).T, single, strict=True):
        rows = np.flatnonzero(values) if every else trigger_starts(values)
        found += [(int(i), f"{values[i]:g}") for i in rows]
    return tuple(Marker(text, i, float(timestamps[i] - timestamps[0])) for i, text in sorted(found))


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(1 << 16)
        cells = next(csv.reader([line]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read the recording {path}", got=str(error), expected="a CSV file in muselsl's format"
        ) from error
    if not line.strip():
        raise DataError(f"the recording {path} is empty", expected="a header and samples")
    return [name.strip() for name in cells]


def _texts(path: Path, columns: list[int], n_columns: int) -> list[list[str]]:
    """Return the cells of the columns of labels, column by column."""
    found: list[list[str]] = [[] for _ in columns]
    for _, cells in _rows(path, n_columns):
        for texts, i in zip(found, columns, strict=True):
            texts.append(cells[i].strip())
    return found


def _table(path: Path, n_columns: int, used: list[int]) -> NDArray[np.float64]:
    """Return all columns ``(n, columns)``; those that are not used hold NaN."""
    whole = len(used) == n_columns
    try:
        with warnings.catch_warnings():
            # An empty table is an error here, with a better message.
            warnings.simplefilter("ignore", UserWarning)
            table = np.loadtxt(
                path, delimiter=",", skiprows=1, ndmin=2, encoding="utf-8", usecols=None if whole else used
            )
    except (ValueError, OSError):
        table = _slow_table(path, n_columns, used)
    if not table.size:
        raise DataError(f"the recording {path} holds no samples", got="a header only")
    if table.shape[1] != len(used):
        raise DataError(
            f"{path} has rows that are longer or shorter than its header",
            got=table.shape[1],
            expected=n_columns,
        )
    if whole:
        return table
    every = np.full((len(table), n_columns), math.nan)
    every[:, used] = table
    return every


def _rows(path: Path, n_columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of cells with the numbers of their lines."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in reader:
                if cells and len(cells) != n_columns:
                    raise DataError(
                        f"{path}, line {reader.line_num}: the row is incomplete",
                        got=f"{len(cells)} cells",
                        expected=n_columns,
                    )
                if cells:
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the recording {path}", got=str(error)) from error


def _slow_table(path: Path, n_columns: int, used: list[int]) -> NDArray[np.float64]:
    """Read cell by cell: takes empty cells as NaN and names the line of a wrong one."""
    rows = Table(len(used))
    for number, cells in _rows(path, n_columns):
        rows.add(numbers(path, number, [cells[i] for i in used]))
    return rows.values()

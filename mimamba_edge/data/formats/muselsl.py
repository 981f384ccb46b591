"""The CSV files that muselsl writes."""

from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import check_times
from mimamba_edge.data.channels import is_marker
from mimamba_edge.data.formats.marks import trigger_starts
from mimamba_edge.data.recording import TIMESTAMPS, Marker, Recording, known_rails_uv
from mimamba_edge.errors import DataError, SignalError
from mimamba_edge.signal.rate import robust_rate, usual_rate

__all__ = ["read"]

_MARKER = "Marker"


def read(path: Path) -> Recording:
    """Read a CSV with the columns ``timestamps``, channels, and possibly ``Marker0`` or eegnb's ``stim``.

    Cells may be empty or ``nan`` where a sample is missing; timestamps may not.

    Raises:
        DataError: The file is not such a CSV, or holds no samples.
    """
    header = _header(path)
    markers = [i for i, name in enumerate(header) if name.startswith(_MARKER) or is_marker(name)]
    channels = [i for i, name in enumerate(header) if name != TIMESTAMPS and i not in markers]
    if TIMESTAMPS not in header or not channels or len(set(header)) != len(header):
        raise DataError(
            f"{path} is not a recording in muselsl's format",
            got=f"columns {', '.join(header)}",
            expected="'timestamps', one column per channel, no name twice, optionally 'Marker0'",
        )
    table = _table(path, len(header))
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
        markers=_markers(timestamps, table[:, markers], [header[i].startswith(_MARKER) for i in markers]),
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


def _table(path: Path, n_columns: int) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            # An empty table is an error here, with a better message.
            warnings.simplefilter("ignore", UserWarning)
            table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, encoding="utf-8")
    except (ValueError, OSError):
        table = _slow_table(path, n_columns)
    if not table.size:
        raise DataError(f"the recording {path} holds no samples", got="a header only")
    if table.shape[1] != n_columns:
        raise DataError(
            f"{path} has rows that are longer or shorter than its header",
            got=table.shape[1],
            expected=n_columns,
        )
    return table


def _slow_table(path: Path, n_columns: int) -> NDArray[np.float64]:
    """Read cell by cell: takes empty cells as NaN and names the line of a wrong one."""
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for cells in reader:
                if cells:
                    rows.append(_row(path, reader.line_num, cells, n_columns))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the recording {path}", got=str(error)) from error
    return np.array(rows).reshape(len(rows), n_columns)


def _row(path: Path, line: int, cells: list[str], n_columns: int) -> list[float]:
    if len(cells) != n_columns:
        raise DataError(
            f"{path}, line {line}: the row is incomplete", got=f"{len(cells)} cells", expected=n_columns
        )
    values = []
    for cell in cells:
        try:
            values.append(float(cell) if cell.strip() else math.nan)
        except ValueError as error:
            raise DataError(
                f"{path}, line {line}: a cell is not a number",
                got=repr(cell),
                expected="a number, or an empty cell",
            ) from error
    return values

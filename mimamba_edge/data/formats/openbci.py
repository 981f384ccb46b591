"""The text files of OpenBCI's GUI (``OpenBCI-RAW-….txt``), from version 1 to 6.

After its sources (OpenBCI_GUI, DataWriterODF.pde and before version 5 DataLogging.pde). Lines of ``%`` name
rate and board. From version 5 on a line names the columns, among them Unix seconds; before, rows are the
packet's number, the channels, three to six figures, and from version 3 on the time of day, from 4 on
milliseconds of Unix time too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.data.formats.lines import AS_WRITTEN, Table, numbers, whole_lines_of
from mimamba_edge.data.formats.openbci_numbers import filled_by_numbers
from mimamba_edge.data.recording import Marker, Recording
from mimamba_edge.errors import DataError
from mimamba_edge.signal.devices import rails_uv

__all__ = ["START", "read"]

START = "%OpenBCI"
_AUX = "Raw Aux Data"
_FACT = re.compile(r"%\s*(.+?)\s*=\s*(.+?)[\s,;]*$")
_NUMBER = "Sample Index"
_EXG = re.compile(r"EXG Channel (\d+)")
_DAY_S = 86400.0
_TIME_OF_DAY = re.compile(r"(\d\d):(\d\d):(\d\d[.]\d+)")
_UNIX_MS = 1e11
_GAINS = (24, 12, 8, 6, 4, 2, 1)
"""Of the ADS1299 in a Cyton; the GUI sets 24."""
_OLD_CHANNELS = (16, 8, 4)


@dataclass(frozen=True)
class _Layout:
    """Where things stand in a row: columns of the channels and of what may be lacking; -1: the last."""

    n_columns: int
    names: tuple[str, ...]
    exg: tuple[int, ...]
    seconds: int | None = None
    marker: int | None = None
    time_of_day: int | None = None
    unix_ms: int | None = None


def read(path: Path) -> Recording:
    """Read such a file; losses are found by the packet's number where its way of counting is plain.

    Raises:
        DataError: It is no such file, or holds no samples.
    """
    lines = whole_lines_of(path)
    facts, first = _header(path, lines)
    sfreq = _rate(path, facts)
    if first is None:
        raise DataError(f"the recording {path} holds no samples", got="a header only")
    if first[1].strip().strip('"').startswith(_NUMBER):
        layout = _named(path, first[1])
    else:
        layout = _unnamed(path, first[1], facts)
        lines = itertools.chain([first], lines)
    table = _table(path, lines, layout)
    if not len(table):
        raise DataError(f"the recording {path} holds no samples", got="a header only")
    count, samples = table[:, 0], table[:, 3:]
    filled = filled_by_numbers(samples, table[:, 1], count, sfreq, daisy=len(layout.exg) > 8)
    marked = np.flatnonzero(np.nan_to_num(table[:, 2]))
    start = float(filled.timestamps[0])
    return Recording(
        path=path,
        ch_names=layout.names,
        sfreq=sfreq,
        samples=filled.samples,
        timestamps=filled.timestamps,
        markers=tuple(
            Marker(f"{table[i, 2]:g}", int(at := filled.place[i]), float(filled.timestamps[at]) - start)
            for i in marked.tolist()
        ),
        rails_uv=_rails_uv(facts.get("Board", ""), len(layout.exg), samples),
        counted=filled.counted,
    )


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[dict[str, str], tuple[int, str] | None]:
    """Return what the lines of ``%`` say, and the first line after them."""
    facts: dict[str, str] = {}
    for number, line in lines:
        # A spreadsheet pads all lines to the same number of cells.
        plain = line.strip().strip('"')
        if not plain.startswith("%"):
            return facts, (number, line)
        if number == 1 and _AUX in plain:
            raise DataError(
                f"{path} holds no EEG but the board's other figures",
                got=printable(plain.rstrip(", ")),
                do="take OpenBCI-RAW-….txt beside it",
            )
        if fact := _FACT.match(plain):
            facts[fact[1]] = fact[2]
    return facts, None


def _rate(path: Path, facts: dict[str, str]) -> float:
    found = re.match(r"([\d.]+)\s*Hz", facts.get("Sample Rate", ""))
    try:
        return float(found[1] if found else "")
    except ValueError as error:
        raise DataError(
            f"{path} does not say its rate",
            got=printable(facts.get("Sample Rate", "no such line")),
            expected="%Sample Rate = 250 Hz",
            do=AS_WRITTEN,
        ) from error


def _named(path: Path, line: str) -> _Layout:
    columns = [name.strip().strip('"').strip() for name in line.split(",")]
    found = {int(name[1]): i for i, column in enumerate(columns) if (name := _EXG.fullmatch(column))}
    exg = [found[k] for k in sorted(found)]
    known = [name for name in (*(columns[i] for i in exg), "Timestamp", "Marker Channel") if name in columns]
    if not exg or columns[0] != _NUMBER or any(columns.count(name) > 1 for name in known):
        raise DataError(
            f"{path}: the columns are not those of OpenBCI's GUI",
            got=printable(", ".join(columns)),
            expected=f"{_NUMBER}, EXG Channel 0, EXG Channel 1, …, each once",
            do=AS_WRITTEN,
        )
    return _Layout(
        len(columns),
        tuple(columns[i] for i in exg),
        tuple(exg),
        seconds=columns.index("Timestamp") if "Timestamp" in columns else None,
        marker=columns.index("Marker Channel") if "Marker Channel" in columns else None,
    )


def _unnamed(path: Path, line: str, facts: dict[str, str]) -> _Layout:
    """Return where things stand in the rows of versions before 5."""
    cells = [cell.strip() for cell in line.split(",")]
    times = [i for i, cell in enumerate(cells) if _TIME_OF_DAY.fullmatch(cell)]
    last = times[0] if times else len(cells)
    given = facts.get("Number of channels", "")
    # Versions before 3 do not say; three figures of the accelerometer stand after the channels.
    n = int(given) if given.isdecimal() else next((n for n in _OLD_CHANNELS if last == 1 + n + 3), 0)
    if facts.get("First Column", "SampleIndex") != "SampleIndex" or not 1 <= n <= 16 or last < 1 + n:
        raise DataError(
            f"{path}: the rows are not those of OpenBCI's GUI",
            got=f"{len(cells)} cells, {printable(given) or 'no number of'} channels",
            expected="the packet's number, the channels and what follows them",
            do=AS_WRITTEN,
        )
    unix = times and last + 1 < len(cells)
    return _Layout(
        len(cells),
        tuple(f"EXG Channel {k}" for k in range(n)),
        tuple(range(1, 1 + n)),
        time_of_day=last if times else None,
        unix_ms=last + 1 if unix else None,
    )


def _table(path: Path, lines: Iterator[tuple[int, str]], layout: _Layout) -> NDArray[np.float64]:
    """Return number, seconds, marker and channels of each row ``(n, 3 + c)``; NaN for what is not there."""
    table, nan = Table(3 + len(layout.exg)), float("nan")
    days, before = 0.0, nan
    for number, line in lines:
        cells = line.split(",")
        if len(cells) != layout.n_columns:
            raise DataError(
                f"{path}, line {number}: the row has more or fewer cells than the first",
                got=f"{len(cells)} cells",
                expected=layout.n_columns,
                do=AS_WRITTEN,
            )
        row = numbers(path, number, [cells[0], *(cells[i] for i in layout.exg)])
        t = mark = nan
        if layout.seconds is not None:
            (t,) = numbers(path, number, [cells[layout.seconds]])
        elif layout.unix_ms is not None and (cell := cells[layout.unix_ms].strip()).isdecimal():
            t = int(cell[:20]) / 1000
        elif layout.time_of_day is not None:
            t = days + _seconds_of_day(path, number, cells[layout.time_of_day].strip())
            if t < before - _DAY_S / 2:
                days, t = days + _DAY_S, t + _DAY_S
        if layout.marker is not None:
            (mark,) = numbers(path, number, [cells[layout.marker]])
        before = t
        table.add([row[0], t, mark, *row[1:]])
    return table.values()


def _seconds_of_day(path: Path, line: int, text: str) -> float:
    found = _TIME_OF_DAY.fullmatch(text)
    if found is None:
        raise DataError(
            f"{path}, line {line}: not a time of day",
            got=repr(text[:80]),
            expected="10:30:00.123",
            do=AS_WRITTEN,
        )
    return 3600.0 * int(found[1]) + 60.0 * int(found[2]) + float(found[3])


def _rails_uv(board: str, n: int, samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return what the board rails at. The file does not say its gain: the greatest that fits the values."""
    if "Ganglion" in board or (not board and n == 4):
        return rails_uv("ganglion")
    rails = rails_uv("cyton") if "Cyton" in board or not board else None
    if rails is None:
        return None
    most = float(np.max(np.abs(samples[np.isfinite(samples)]), initial=0.0))
    # Two decimals of what was printed.
    gain = next((g for g in _GAINS if most <= rails[1] * _GAINS[0] / g + 0.01), None)
    return None if gain is None else (rails[0] * _GAINS[0] / gain, rails[1] * _GAINS[0] / gain)

"""Recordings: the CSV files that muselsl writes."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import DataError, SignalError
from mimamba_edge.signal.clock import robust_rate

__all__ = ["TIMESTAMPS", "Recording", "known_rails_uv", "read_recording"]

TIMESTAMPS = "timestamps"
_MARKER = "Marker"
_NOMINAL_HZ = (100, 125, 128, 160, 200, 220, 250, 256, 300, 400, 500, 512, 600, 1000, 1024, 2000, 2048)
_NEAR = 0.005
_MUSE = {"TP9", "AF7", "AF8", "TP10"}
_MUSE_RAILS_UV = (-1000.0, 999.5)
"""12 bits of 0.48828125 uV around the middle."""


@dataclass(frozen=True)
class Recording:
    """One continuous recording, as it was recorded: nothing sorted, nothing filled.

    Attributes:
        path: The file.
        ch_names: Channels.
        sfreq: Nominal rate in Hz: the fitted rate, snapped to a usual one within 0.5 %.
        samples: Microvolts ``(n, c)``; NaN where the file has none.
        timestamps: Seconds ``(n,)``, jittered as recorded.
        markers: ``(n, m)``, one column a marker column, usually ``Marker0``.
        rails_uv: Lowest and highest value the device gives, or ``None``.
        unit: Unit of the samples, always ``"uV"``.
    """

    path: Path
    ch_names: tuple[str, ...]
    sfreq: float
    samples: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    markers: NDArray[np.float64]
    rails_uv: tuple[float, float] | None = None
    unit: str = "uV"

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last timestamp."""
        return float(self.timestamps[-1] - self.timestamps[0])


def read_recording(path: Path) -> Recording:
    """Read a CSV with the columns ``timestamps``, channels, and possibly ``Marker0``.

    Cells may be empty or ``nan`` where a sample is missing; timestamps may not.

    Raises:
        DataError: The file is not there, is not such a CSV, or holds no samples.
    """
    path = Path(path)
    header = _header(path)
    channels = [i for i, name in enumerate(header) if name != TIMESTAMPS and not name.startswith(_MARKER)]
    markers = [i for i, name in enumerate(header) if name.startswith(_MARKER)]
    if TIMESTAMPS not in header or not channels or len(set(header)) != len(header):
        raise DataError(
            f"{path} is not a recording as muselsl writes it",
            got=f"columns {', '.join(header)}",
            expected="'timestamps', one column a channel, each name once, possibly 'Marker0'",
        )
    table = _table(path, len(header))
    timestamps = table[:, header.index(TIMESTAMPS)]
    bad = ~np.isfinite(timestamps)
    if bad.any():
        raise DataError(
            f"{path} has a sample without a time",
            got=f"sample {int(np.argmax(bad)) + 1}",
            expected="seconds in every row; only channels may be NaN",
        )
    try:
        rate = robust_rate(timestamps)
    except SignalError as error:
        raise DataError(
            f"{path} does not tell its rate", got=error.got, expected=error.expected, do="record it again"
        ) from error
    names = tuple(header[i] for i in channels)
    return Recording(
        path=path,
        ch_names=names,
        sfreq=_nominal(rate),
        samples=table[:, channels],
        timestamps=timestamps,
        markers=table[:, markers],
        rails_uv=known_rails_uv(names),
    )


def known_rails_uv(ch_names: Iterable[str]) -> tuple[float, float] | None:
    """Return what a source rails at that is known by its channels alone: a Muse; else ``None``."""
    return _MUSE_RAILS_UV if set(ch_names) >= _MUSE else None


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(1 << 16)
        cells = next(csv.reader([line]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, FileNotFoundError):
            raise DataError(f"the recording {path} is not there", do="check the path") from error
        raise DataError(
            f"cannot read the recording {path}", got=str(error), expected="a CSV file as muselsl writes it"
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
            f"{path} has rows of other lengths than its header", got=table.shape[1], expected=n_columns
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
            f"{path}, line {line}: the row is not whole", got=f"{len(cells)} cells", expected=n_columns
        )
    values = []
    for cell in cells:
        try:
            values.append(float(cell) if cell.strip() else math.nan)
        except ValueError as error:
            raise DataError(
                f"{path}, line {line}: a cell is not a number",
                got=repr(cell),
                expected="a number, or nothing",
            ) from error
    return values


def _nominal(rate: float) -> float:
    near = min(_NOMINAL_HZ, key=lambda hz: abs(hz / rate - 1))
    return float(near) if abs(near / rate - 1) <= _NEAR else float(max(1, round(rate)))

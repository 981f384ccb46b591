"""The CSV files of Mind Monitor, the app for Muse headsets.

Layout: its technical manual (musemonitor.com) and files that people published. A row is a sample with the
latest of all slower figures beside it, or an event: a time, empty cells and a word in ``Elements``. Times are
those of the phone at which a packet came, so that twelve rows share one, give or take a millisecond.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.data.formats.lines import AS_WRITTEN, Table, numbers, whole_lines_of
from mimamba_edge.data.recording import Marker, Recording
from mimamba_edge.errors import DataError, SignalError, listed
from mimamba_edge.signal.rate import robust_rate, usual_rate

__all__ = ["TIME", "is_header", "read"]

TIME = "TimeStamp"
_RAW = "RAW_"
_AUX = re.compile(r"AUX(_.*|\d*)|(RIGHT|LEFT)_AUX", re.IGNORECASE)
_NAMES = {"AUX_RIGHT": "Right AUX", "AUX_R": "Right AUX", "AUX_LEFT": "Left AUX", "AUX_L": "Left AUX"}
"""As muselsl and BrainFlow call them."""
_EVENTS = ("Elements", "Marker")
"""The app's own column; that of its script which receives OSC."""
_CONNECTED = "/muse/event/"
_MINUTE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")
_RATES = (256.0, 220.0, 500.0)
"""Hz of a Muse: since 2016, of 2014, and of 2014 with its preset for research."""
_NEAR, _LEAST_HZ = 0.03, 100.0
_TOGETHER = 0.5
"""Share of a sample's duration within which the next one came together with it."""
_CONVERTERS = ((1650.0, 4095), (1682.815, 1023), (1450.0, 16383))
"""Microvolts and steps of the range from 0 on: Muse 2016, 2 and S; Muse 2014; Muse S Athena."""


def is_header(columns: Sequence[str]) -> bool:
    """Return whether these are columns of such a file that holds raw EEG, or might have."""
    return TIME in columns and any(name.startswith((_RAW, "Delta_", "Alpha_")) for name in columns)


def read(path: Path) -> Recording:
    """Read a file that was recorded at the interval "constant".

    Values stay as they are, around 800 uV. Times become seconds as if the phone's clock were UTC: it names no
    zone, and a change to or from summer time within a recording is a clock that was set. Samples that came
    together were recorded one after the other: the time of arrival is the last one's.

    Raises:
        DataError: It is no such file, holds no raw EEG, or was recorded at a slower interval.
    """
    lines = whole_lines_of(path)
    _, first = next(lines, (1, ""))
    columns = [name.strip().strip('"') for name in first.split(",")]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    raw = [i for i, name in enumerate(columns) if name.startswith(_RAW)]
    if twice or not raw:
        raise DataError(
            f"{path}: a file of Mind Monitor without raw EEG"
            if not raw
            else f"{path} has some columns twice",
            got=listed(map(printable, twice or columns), ", "),
            expected="RAW_TP9, RAW_AF7, RAW_AF8, RAW_TP10, each once",
            do="switch raw EEG on in Mind Monitor's settings and record again" if not raw else None,
        )
    kept = raw + [i for i, name in enumerate(columns) if _AUX.fullmatch(name)]
    event = next((i for i, name in enumerate(columns) if name in _EVENTS), len(columns))
    time, clock = columns.index(TIME), _Clock(path)
    rows, marks = Table(1 + len(kept)), list[tuple[str, int, float]]()
    for number, line in lines:
        cells = line.split(",")
        # The app's script ends a row of samples before the column of markers.
        if len(cells) != len(columns) and not len(cells) == event == len(columns) - 1:
            raise DataError(
                f"{path}, line {number}: the row has other cells than the header",
                got=f"{len(cells)} cells",
                expected=len(columns),
                do=AS_WRITTEN,
            )
        t = clock.seconds(number, cells[time])
        if event < len(cells) and (text := cells[event].strip(' "')):
            # The name of a headset tells it from all others, and is nobody's business here.
            marks.append((text.split()[0] if text.startswith(_CONNECTED) else text, len(rows), t))
        if any(cells[i] for i in raw):
            rows.add([t, *numbers(path, number, [cells[i] for i in kept])])
    return _recording(path, [columns[i].removeprefix(_RAW) for i in kept], rows.values(), marks)


class _Clock:
    """Reads times of a phone's calendar; most rows share their minute with the one before."""

    def __init__(self, path: Path) -> None:
        self._path, self._minute, self._start = path, "", 0.0

    def seconds(self, line: int, text: str) -> float:
        text = text.strip()
        if text[:16] != self._minute or text[16:17] != ":":
            try:
                if not _MINUTE.fullmatch(text[:16]) or text[16:17] != ":":
                    raise ValueError
                day = datetime.datetime.fromisoformat(text[:16]).replace(tzinfo=datetime.timezone.utc)
            except ValueError as error:
                raise self._refused(line, text) from error
            self._minute, self._start = text[:16], day.timestamp()
        try:
            seconds = float(text[17:])
        except ValueError as error:
            raise self._refused(line, text) from error
        if not 0 <= seconds < 61:
            raise self._refused(line, text)
        return self._start + seconds

    def _refused(self, line: int, text: str) -> DataError:
        return DataError(
            f"{self._path}, line {line}: not a time of Mind Monitor",
            got=repr(text[:80]),
            expected="a time such as 2026-05-01 10:30:00.123",
            do=AS_WRITTEN,
        )


def _recording(
    path: Path, names: list[str], table: NDArray[np.float64], marks: list[tuple[str, int, float]]
) -> Recording:
    if not len(table):
        raise DataError(f"the recording {path} holds no samples", got=f"{len(marks)} events and no raw EEG")
    timestamps, samples = table[:, 0], table[:, 1:]
    given = [k for k in range(len(names)) if np.isfinite(samples[:, k]).any()]
    channels = tuple(_NAMES.get(names[k].upper(), names[k]) for k in given)
    if not channels or len(set(channels)) < len(channels):
        raise DataError(f"{path} has no channels with values and names of their own", got=listed(names, ", "))
    sfreq = _rate(path, timestamps)
    timestamps = _spread_back(timestamps, sfreq)
    return Recording(
        path=path,
        ch_names=channels,
        sfreq=sfreq,
        samples=np.ascontiguousarray(samples[:, given]),
        timestamps=timestamps,
        markers=tuple(Marker(text, sample, t - float(timestamps[0])) for text, sample, t in marks),
        rails_uv=_rails_uv(samples[:, given]),
    )


def _rate(path: Path, timestamps: NDArray[np.float64]) -> float:
    try:
        hz = robust_rate(timestamps)
    except SignalError as error:
        raise DataError(
            f"{path} has no usable sampling rate", got=error.got, expected=error.expected
        ) from error
    if hz < _LEAST_HZ:
        raise DataError(
            f"{path} holds a row now and then, not the signal",
            got=f"{hz:.3g} rows a second",
            expected="256 a second",
            do='set the recording interval to "constant" in Mind Monitor\'s settings and record again',
        )
    near = min(_RATES, key=lambda rate: abs(rate / hz - 1))
    return near if abs(near / hz - 1) <= _NEAR else usual_rate(hz)


def _spread_back(arrived: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """Return times ``(n,)`` of samples that came in packets: all but a packet's last came too late.

    Nothing is smoothed over packets, so that a loss stays the gap that it is.
    """
    steps = np.diff(arrived)
    ends = np.flatnonzero((steps > _TOGETHER / sfreq) | (steps < 0))
    ends = np.append(ends, len(arrived) - 1)
    index = np.arange(len(arrived))
    last = ends[np.searchsorted(ends, index)]
    return arrived[last] - (last - index) / sfreq


def _rails_uv(samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the ends of the converter of whose steps the values ``(n, c)`` are multiples."""
    values = samples[:4096]
    values = values[np.isfinite(values)]
    for most, steps in _CONVERTERS:
        # Six digits of a value.
        off = np.abs(values / (most / steps) - np.round(values / (most / steps)))
        if len(values) and float(np.mean(off < 0.02)) > 0.99 and not math.isclose(values.min(), values.max()):
            return 0.0, most
    return None

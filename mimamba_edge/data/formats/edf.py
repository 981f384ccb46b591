"""EDF, EDF+, BDF and BDF+ files, read without any package: a device can replay them.

Formats: Kemp et al., "A simple format for exchange of digitized polygraphic recordings" (1992) and its plus
(2003), https://www.edfplus.info/specs; BDF: BioSemi, 24 bits, https://www.biosemi.com/faq/file_format.htm.
MNE-Python (1.13) takes a discontinuous file (EDF+D) for a continuous one and brings all channels to the
highest rate by interpolation; here a gap is a jump of the timestamps, and no sample is made up.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import show_warning
from mimamba_edge.data.bounds import TIME_S
from mimamba_edge.data.channels import is_marker
from mimamba_edge.data.formats.marks import nearest_sample, trigger_starts
from mimamba_edge.data.recording import Marker, Recording, known_rails_uv
from mimamba_edge.errors import DataError
from mimamba_edge.signal.montage import microvolts_per, voltage

__all__ = ["read"]

_MAGIC = {b"0       ": 2, b"\xffBIOSEMI": 3}
"""First bytes of EDF and BDF, and bytes of a sample."""
_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_SKIPPED = "BAD_ACQ_SKIP"
"""Where recording was interrupted, as MNE calls it: the values there are none."""
_PART_BYTES = 1 << 22
_STATUS_BITS = 0xFFFF
"""The lower 16 bits of BioSemi's Status are triggers, the others the state of the amplifier."""


_Mark = tuple[str, float, float]
"""What was noted, when and for how long, in seconds."""


@dataclass(frozen=True)
class _Signal:
    """One of the file's signals: its columns in a record, and from digital to physical values."""

    label: str
    unit: str | None
    physical: tuple[float, float]
    digital: tuple[float, float]
    start: int
    n: int

    def values(self, digital: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return microvolts, or what is not a voltage in its own unit; NaN without a range."""
        (low, high), (least, most) = self.physical, self.digital
        if most == least:
            return np.full(len(digital), np.nan)
        # What overflows is beyond anything that a device gives, and is told and taken out as such.
        with np.errstate(over="ignore", invalid="ignore"):
            return ((digital - least) * ((high - low) / (most - least)) + low) * self.factor

    @property
    def factor(self) -> float:
        """Microvolts per unit."""
        return microvolts_per(self.unit) if self.unit else 1.0


@dataclass(frozen=True)
class _Header:
    width: int
    discontinuous: bool
    n_bytes: int
    n_records: int
    duration_s: float
    signals: tuple[_Signal, ...]

    @property
    def record_bytes(self) -> int:
        """Size of a record."""
        return self.width * sum(s.n for s in self.signals)


def read(path: Path, channels: Collection[str] = ()) -> Recording:
    """Read an EDF or BDF file, some records at a time: what is held is the result.

    Channels are those of the rate that most have. Annotations and changes of a trigger channel are markers.
    Rails are the physical limits, where those are the same for all voltages and no sample lies beyond them.
    Annotations that begin with BAD or EDGE are no markers. What BAD_ACQ_SKIP spans is missing; at the end of
    a file it is left out.

    Args:
        path: The file.
        channels: Only these are returned, if it holds all of them; else all.

    Raises:
        DataError: It is no such file, or holds no signal.
    """
    try:
        with path.open("rb") as file:
            header = _header(path, file)
            return _recording(path, header, _n_records(path, header, file), file, channels)
    except OSError as error:
        raise DataError(f"cannot read the recording {path}", got=error.strerror) from error


def _recording(
    path: Path, header: _Header, n_records: int, file: BinaryIO, channels: Collection[str]
) -> Recording:
    notes = [s for s in header.signals if s.label in _ANNOTATIONS]
    triggers = [s for s in header.signals if is_marker(s.label)]
    signals = [s for s in header.signals if s not in notes and s not in triggers and s.n]
    if not signals or not header.duration_s:
        raise DataError(
            f"{path} holds no signal", got=", ".join(s.label for s in header.signals) or "nothing"
        )
    counts = Counter(s.n for s in signals)
    per_record = max(counts, key=lambda n: (counts[n], n))
    signals = [s for s in signals if s.n == per_record]
    sfreq = per_record / header.duration_s
    onsets, marks, skipped = _annotations(path, header, n_records, file, notes)
    timestamps = np.arange(n_records * per_record) / sfreq
    if onsets is not None:
        timestamps = (onsets[:, None] + np.arange(per_record) / sfreq).ravel()
        if len(onsets) == 1 or np.allclose(np.diff(onsets), header.duration_s, rtol=0, atol=0.1 / sfreq):
            timestamps = np.arange(len(timestamps)) / sfreq
    missing = _missing(timestamps, skipped, sfreq)
    if missing.all():
        raise DataError(f"the recording {path} holds no samples", got=f"{_SKIPPED} from its begin to its end")
    n = int(np.flatnonzero(~missing)[-1]) + 1
    names = tuple(s.label or f"ch{k}" for k, s in enumerate(signals, 1))
    kept = [k for k, name in enumerate(names) if name in channels]
    kept = kept if set(channels) <= set(names) and kept else list(range(len(names)))
    limits, beyond = _rails_uv(signals), 0
    samples = np.empty((n_records * per_record, len(kept)))
    codes: list[list[NDArray[np.float64]]] = [[] for _ in triggers]
    for first, records in _parts(header, n_records, file):
        rows = slice(first * per_record, (first + len(records)) * per_record)
        for k, one in enumerate(signals):
            if k in kept or (limits is not None and one.unit):
                values = one.values(_digital(records, one, header.width))
                values[missing[rows]] = np.nan
                beyond += _n_beyond(values, limits if one.unit else None)
                if k in kept:
                    samples[rows, kept.index(k)] = values
        for held, one in zip(codes, triggers, strict=True):
            held.append(_digital(records, one, header.width))
    for trigger, held in zip(triggers, codes, strict=True):
        marks += _triggers(header, np.concatenate(held), trigger, onsets)
    if limits is not None and beyond:
        show_warning(
            f"{path}: {beyond:,} values lie beyond {limits[0]:g} to {limits[1]:g} uV: these limits are "
            "not the device's real range"
        )
        limits = None
    return Recording(
        path=path,
        ch_names=tuple(names[k] for k in kept),
        sfreq=sfreq,
        samples=samples[:n],
        timestamps=timestamps[:n],
        markers=_placed(timestamps[:n], marks),
        rails_uv=limits or known_rails_uv(names),
        others={names[k]: "no voltage" for k in kept if not signals[k].unit},
    )


def _parts(header: _Header, n_records: int, file: BinaryIO) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the bytes of the records ``(r, b)``, some megabytes at a time, and the number of the first."""
    size = header.record_bytes
    step = max(1, _PART_BYTES // size)
    file.seek(header.n_bytes)
    for first in range(0, n_records, step):
        count = min(step, n_records - first)
        yield first, np.fromfile(file, np.uint8, count * size).reshape(count, size)


def _header(path: Path, file: BinaryIO) -> _Header:
    content = file.read(256)
    if content[252:256].strip().isdigit():
        content += file.read(256 * int(content[252:256]))
    width = _MAGIC.get(content[:8])
    if width is None:
        raise DataError(f"{path} is not an EDF or BDF file", got=f"first bytes {content[:8]!r}")
    try:
        text = content[: 256 + 256 * int(content[252:256])].decode("latin-1")
        n_bytes, n_records = int(text[184:192]), int(text[236:244])
        duration_s, n_signals = float(text[244:252]), int(text[252:256])
        if n_signals < 1 or n_bytes != 256 * (1 + n_signals) or not 0 <= duration_s < 1e6:
            raise ValueError("the sizes do not match")
        columns, at = [], 256
        for size in _FIELDS:
            columns.append([text[at + k * size : at + (k + 1) * size].strip() for k in range(n_signals)])
            at += n_signals * size
        labels, _, units, *limits, _, lengths, _ = columns
        edges = [[float(cell.replace(",", ".")) for cell in column] for column in limits]
        n = [int(length) for length in lengths]
        if min(n) < 0 or not sum(n) or not np.isfinite(edges).all():
            raise ValueError("impossible sizes or limits")
    except ValueError as error:
        raise DataError(f"the header of {path} is damaged", got=str(error), expected="EDF or BDF") from error
    starts = itertools.accumulate(n, initial=0)
    signals = tuple(
        _Signal(label, voltage(unit) if unit else "uV", (low, high), (least, most), start, size)
        for label, unit, low, high, least, most, start, size in zip(
            labels, units, *edges, list(starts)[:-1], n, strict=True
        )
    )
    plus_d = text[192:197] in ("EDF+D", "BDF+D")
    return _Header(width, plus_d, n_bytes, n_records, duration_s, signals)


def _n_records(path: Path, header: _Header, file: BinaryIO) -> int:
    """Return the number of whole records; that in the header may be unknown (-1)."""
    whole = (os.fstat(file.fileno()).st_size - header.n_bytes) // header.record_bytes
    if header.n_records > whole:
        show_warning(f"{path} is cut off: {max(0, whole)} of {header.n_records} records are there")
    elif header.n_records >= 0:
        whole = header.n_records
    if whole < 1:
        raise DataError(f"the recording {path} holds no samples", got="a header only")
    return whole


def _raw(records: NDArray[np.uint8], signal: _Signal, width: int) -> NDArray[np.uint8]:
    return records[:, width * signal.start : width * (signal.start + signal.n)]


def _digital(records: NDArray[np.uint8], signal: _Signal, width: int) -> NDArray[np.float64]:
    raw = np.ascontiguousarray(_raw(records, signal, width)).reshape(-1, width)
    if width == 2:
        return raw.view("<i2")[:, 0].astype(np.float64)
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 1:] = raw
    return (wide.view("<i4")[:, 0] >> 8).astype(np.float64)


def _annotations(
    path: Path, header: _Header, n_records: int, file: BinaryIO, notes: list[_Signal]
) -> tuple[NDArray[np.float64] | None, list[_Mark], list[tuple[float, float]]]:
    """Return when each record of a discontinuous file began, what was noted, and what was skipped.

    All in seconds from the first record. In a continuous file record follows record.
    """
    onsets, marks = np.full(n_records, np.nan), list[_Mark]()
    skipped: list[tuple[float, float]] = []
    rows: list[list[bytes]] = [[] for _ in notes]
    for _, records in _parts(header, n_records, file) if notes else ():
        for held, signal in zip(rows, notes, strict=True):
            held += (row.tobytes() for row in _raw(records, signal, header.width))
    for number, of_signal in enumerate(rows):
        for k, row in enumerate(of_signal):
            for place, tal in enumerate(row.split(b"\0")):
                head, *texts = tal.split(b"\x14")
                at, _, length = head.partition(b"\x15")
                try:
                    onset, duration = float(at), float(length or 0)
                except ValueError:
                    continue
                if not (abs(onset) <= TIME_S and 0 <= duration <= TIME_S):
                    continue
                if number == place == 0 and texts[:1] == [b""]:
                    onsets[k] = onset
                for text in (t.decode("utf-8", "replace") for t in texts if t):
                    if text.upper() == _SKIPPED:
                        skipped.append((onset, duration))
                    if not text.upper().startswith(("BAD", "EDGE")):
                        marks.append((text, onset, duration))
    first = onsets[0] if np.isfinite(onsets[0]) else 0.0
    marks = [(text, onset - float(first), duration) for text, onset, duration in marks]
    skipped = [(onset - float(first), duration) for onset, duration in skipped]
    if not header.discontinuous:
        return None, marks, skipped
    if not np.isfinite(onsets).all():
        raise DataError(
            f"{path} is discontinuous and has no start time for every record",
            got=f"no time in record {int(np.argmin(np.isfinite(onsets))) + 1}",
        )
    return onsets - first, marks, skipped


def _missing(
    timestamps: NDArray[np.float64], skipped: list[tuple[float, float]], sfreq: float
) -> NDArray[np.bool_]:
    """Return which samples were skipped."""
    if not skipped:
        return np.zeros(len(timestamps), dtype=bool)
    times, near = np.maximum.accumulate(timestamps), 0.5 / sfreq
    onsets, durations = np.array(skipped).T
    begun = np.zeros(len(times) + 1, np.int64)
    np.add.at(begun, np.searchsorted(times, onsets - near), 1)
    np.add.at(begun, np.searchsorted(times, onsets + durations - near), -1)
    missing: NDArray[np.bool_] = np.cumsum(begun[:-1]) > 0
    return missing


def _triggers(
    header: _Header, values: NDArray[np.float64], signal: _Signal, onsets: NDArray[np.float64] | None
) -> list[_Mark]:
    if header.width == 3:
        values = (values.astype(np.int64) & _STATUS_BITS).astype(np.float64)
    marks = []
    for i in trigger_starts(values).tolist():
        record, rest = divmod(i, signal.n)
        began = record * header.duration_s if onsets is None else float(onsets[record])
        marks.append((f"{values[i]:g}", began + rest * header.duration_s / signal.n, 0.0))
    return marks


def _placed(timestamps: NDArray[np.float64], marks: list[_Mark]) -> tuple[Marker, ...]:
    marks = sorted(marks, key=lambda mark: mark[1])
    at = nearest_sample(timestamps, np.array([mark[1] for mark in marks]))
    return tuple(Marker(text, int(i), t, length) for (text, t, length), i in zip(marks, at, strict=True))


def _rails_uv(signals: list[_Signal]) -> tuple[float, float] | None:
    """Return the limits that all voltages share: those of the device; scaled one by one they tell nothing."""
    limits = {tuple(sorted(edge * s.factor for edge in s.physical)) for s in signals if s.unit}
    low, high = limits.pop() if len(limits) == 1 else (0.0, 0.0)
    return (low, high) if high > low else None


def _n_beyond(values: NDArray[np.float64], limits: tuple[float, float] | None) -> int:
    """Return how many values lie beyond the file's limits: then these are a guess, not the device's."""
    if limits is None:
        return 0
    (low, high), slack = limits, 1e-3 * (limits[1] - limits[0])
    return int(np.count_nonzero((values < low - slack) | (values > high + slack)))

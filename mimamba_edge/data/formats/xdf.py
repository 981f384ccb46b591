"""XDF files, through pyxdf. Format: https://github.com/sccn/xdf/wiki/Specifications."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable, show_warning
from mimamba_edge.data.bounds import TIME_S, check_times, unpacked
from mimamba_edge.data.channels import is_marker, why_other_kind
from mimamba_edge.data.formats.marks import nearest_sample, trigger_starts
from mimamba_edge.data.recording import Marker, Recording, known_rails_uv
from mimamba_edge.errors import DataError, DependencyError, pip_install
from mimamba_edge.signal.montage import microvolts_per, voltage

__all__ = ["read"]

_MARKERS = {"marker", "markers", "event", "events", "stim", "trigger", "triggers"}
"""Types of streams and channels that only mark something."""


def read(path: Path, name: str | None = None) -> Recording:
    """Read the EEG stream of an XDF file; all marker streams in it give markers.

    Streams without samples are passed over.

    Clocks are synchronised: streams from several computers stand on the recorder's clock, and markers are
    where they were. That moves the times of a stream along a line, so jitter and losses stay. They are not
    dejittered: that would lay one line through everything and hide losses.

    Args:
        path: The file.
        name: Name or number of the stream, where several could be meant.

    Raises:
        DataError: It is no such file, or no stream or several could be meant.
        DependencyError: pyxdf is not installed.
    """
    try:
        pyxdf: Any = importlib.import_module("pyxdf")
    except ImportError as error:
        raise DependencyError("XDF files need pyxdf", do=pip_install("files")) from error
    try:
        _bound(pyxdf)
        # Opened here, for pyxdf leaves open what is no XDF file.
        with _complaints() as said, _opened(path) as file:
            streams, _ = pyxdf.load_xdf(file, synchronize_clocks=True, dejitter_timestamps=False)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file sets off in there
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path} is not an XDF file, or is damaged", got=lines[0]) from error
    stream = _eeg(path, streams, name)
    if said:
        show_warning(f"{path} is damaged or cut off; the complete part was read ({printable(said[0])})")
    return _recording(path, stream, streams)


def _opened(path: Path) -> Any:
    return path.open("rb") if path.suffix.lower() == ".xdf" else io.BytesIO(unpacked(path))


def _bound(pyxdf: Any) -> None:
    """Let pyxdf allocate no more for a chunk than the file can hold.

    It makes room for as many samples and channels as a chunk and a header claim before it reads any
    (pyxdf 1.17, ``_read_chunk3``).
    """
    module = pyxdf.pyxdf
    plain = module._read_chunk3
    if getattr(plain, "bounded", False):
        return

    def read(file: Any, stream: Any) -> Any:
        at = file.tell()
        left = file.seek(0, io.SEEK_END) - at
        file.seek(at)
        n = module._read_varlen_int(file)
        file.seek(at)
        # A byte that tells whether a time follows, then the values; of a text two bytes at least.
        width = 2 if stream.fmt == "string" else np.dtype(stream.dtype).itemsize
        if n * (1 + stream.nchns * width) > left:
            raise EOFError(f"a chunk claims {n} samples of {stream.nchns} channels, {left} bytes are left")
        return plain(file, stream)

    read.bounded = True  # type: ignore[attr-defined]
    module._read_chunk3 = read


def _recording(path: Path, stream: Any, streams: list[Any]) -> Recording:
    values = np.asarray(stream["time_series"], dtype=np.float64)
    timestamps = np.asarray(stream["time_stamps"], dtype=np.float64)
    if not len(timestamps) or not np.isfinite(timestamps).all():
        raise DataError(
            f"{path}: the stream {_described(stream)} holds no signal",
            got="samples without a time stamp" if len(timestamps) else "no samples",
        )
    check_times(path, timestamps)
    channels = _channels(stream)
    marks = [
        (f"{values[i, k]:g}", float(timestamps[i]))
        for k, (label, kind, _) in enumerate(channels)
        if _only_marks(label, kind)
        for i in trigger_starts(values[:, k]).tolist()
    ]
    kept = [k for k, (label, kind, _) in enumerate(channels) if not _only_marks(label, kind)]
    for other in streams:
        if other is not stream and _marks(other):
            marks += _texts(other)
    names = tuple(channels[k][0] for k in kept)
    with np.errstate(over="ignore", invalid="ignore"):
        samples = values[:, kept] * _factors(path, stream, [channels[k][2] for k in kept])
    return Recording(
        path=path,
        ch_names=names,
        sfreq=_rate(stream),
        samples=samples,
        timestamps=timestamps,
        markers=_placed(timestamps, marks),
        rails_uv=known_rails_uv(names),
        others={channels[k][0]: why for k in kept if (why := _why_other(*channels[k][1:]))},
    )


def _only_marks(label: str, kind: str) -> bool:
    return kind in _MARKERS or (not kind and is_marker(label))


def _why_other(kind: str, unit: str) -> str | None:
    return why_other_kind(kind) or (f"measured in {printable(unit)}" if unit and not voltage(unit) else None)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what pyxdf logs as errors (a chunk that is not whole) instead of letting it reach stderr."""
    said: list[str] = []

    class _Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                said.append(record.getMessage())

    logger, handler = logging.getLogger("pyxdf"), _Collect()
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _text(tree: Any, *names: str) -> str:
    """Return the text of an element; pyxdf gives each as a list of those of its name."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
        tree = tree[0] if isinstance(tree, list) and tree else None
    return tree if isinstance(tree, str) else ""


def _rate(stream: Any) -> float:
    return float(_text(stream["info"], "nominal_srate") or 0)


def _marks(stream: Any) -> bool:
    info = stream["info"]
    is_text = _text(info, "channel_format") == "string"
    return is_text or _text(info, "type").strip().lower() in _MARKERS


def _described(stream: Any) -> str:
    info = stream["info"]
    rate = f"{_rate(stream):g} Hz" if _rate(stream) else "irregular"
    kind, n = printable(_text(info, "type")), printable(_text(info, "channel_count"))
    size = "" if len(stream["time_stamps"]) else ", empty"
    number, name = info.get("stream_id"), printable(_text(info, "name"))
    return f"{number}: {name!r} of type {kind!r} ({n} channels, {rate}{size})"


def _eeg(path: Path, streams: list[Any], name: str | None) -> Any:
    """Return the stream that was named, else the one stream of type EEG, or the only one that could be."""
    regular = [s for s in streams if _rate(s) > 0 and not _marks(s)]
    full = [s for s in regular if len(s["time_stamps"])] or regular
    if name is not None:
        named = [s for s in full if _text(s["info"], "name") == name]
        found = named or [s for s in full if str(s["info"].get("stream_id")) == name]
    else:
        found = [s for s in full if _text(s["info"], "type").strip().lower() == "eeg"] or full
    if len(found) == 1:
        return found[0]
    if name is not None:
        what = (
            f"{path} holds {'several streams' if found else 'no stream of signals'} named {printable(name)!r}"
        )
    else:
        what = f"{path} holds {'several streams that could be meant' if found else 'no stream of signals'}"
    example = found[0] if found else full[0] if full else None
    raise DataError(
        what,
        got="; ".join(_described(s) for s in streams) or "no stream",
        expected="one stream of type EEG with a nominal rate",
        do=None
        if example is None
        else f"choose one by its name or number: {path}?stream={_choice(example, full)}",
    )


def _choice(stream: Any, others: list[Any]) -> str:
    """Return what chooses a stream: its name, where no other has it, else its number."""
    name = _text(stream["info"], "name")
    once = sum(_text(s["info"], "name") == name for s in others) == 1
    return quote(printable(name), safe="") if name and once else str(stream["info"].get("stream_id"))


def _channels(stream: Any) -> list[tuple[str, str, str]]:
    """Return label, type and unit of each channel; what the stream does not tell is named by its number."""
    desc = (stream["info"].get("desc") or [None])[0]
    group = (desc.get("channels") or [None])[0] if isinstance(desc, dict) else None
    told = (group.get("channel") or []) if isinstance(group, dict) else []
    found = []
    for k in range(np.shape(stream["time_series"])[1]):
        one = told[k] if k < len(told) else None
        label, kind, unit = (_text(one, key) for key in ("label", "type", "unit"))
        found.append((label or f"ch{k + 1}", kind.strip().lower(), unit))
    return found


def _factors(path: Path, stream: Any, units: list[str]) -> NDArray[np.float64]:
    """Return microvolts per unit; 1 for what is not a voltage, and where a stream names no unit at all."""
    found = [voltage(unit) for unit in units]
    if any(units) and not any(found):
        raise DataError(
            f"{path}: the stream {_described(stream)} is not a voltage",
            got=", ".join(sorted({printable(unit) for unit in units})),
            expected="microvolts, millivolts or volts",
        )
    return np.array([microvolts_per(unit) if unit else 1.0 for unit in found])


def _texts(stream: Any) -> list[tuple[str, float]]:
    """Return the markers of a stream: its texts, or its numbers that are not 0."""
    found = []
    for row, t in zip(stream["time_series"], stream["time_stamps"], strict=True):
        cells = [c.strip() if isinstance(c, str) else f"{float(c):g}" if c else "" for c in row]
        text = " ".join(cell for cell in cells if cell)
        if text and abs(t) <= TIME_S:
            found.append((text, float(t)))
    return found


def _placed(timestamps: NDArray[np.float64], marks: list[tuple[str, float]]) -> tuple[Marker, ...]:
    marks = sorted(marks, key=lambda mark: mark[1])
    at = nearest_sample(timestamps, np.array([t for _, t in marks]))
    return tuple(
        Marker(text, int(i), t - float(timestamps[0])) for (text, t), i in zip(marks, at, strict=True)
    )

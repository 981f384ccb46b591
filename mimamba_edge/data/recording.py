"""Recordings: one form for all file formats, and the one door to them.

The readers stand in :mod:`mimamba_edge.data.formats`; each has ``read(path) -> Recording``.
"""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import show_warning
from mimamba_edge.data.conversions import of_name
from mimamba_edge.data.session_format import SIGNAL, is_session
from mimamba_edge.errors import DataError
from mimamba_edge.signal.rate import RateWatch, usual_rate
from mimamba_edge.signal.signal_format import SignalFormat

__all__ = [
    "FORMATS",
    "KINDS",
    "TIMESTAMPS",
    "Format",
    "Marker",
    "Recording",
    "file_of",
    "is_recording",
    "known_rails_uv",
    "read_recording",
    "stem",
]

TIMESTAMPS = "timestamps"
_CHOICE = "?stream="
_MUSE = {"TP9", "AF7", "AF8", "TP10"}
_MUSE_RAILS_UV = (-1000.0, 999.5)
"""12 bits of 0.48828125 uV around the middle."""


@dataclass(frozen=True)
class Format:
    """A format of recordings.

    Attributes:
        module: In :mod:`mimamba_edge.data.formats`, with ``read(path) -> Recording``.
        what: For people.
        suffixes: How names of its files end, in lower case.
        streams: A file may hold several recordings: ``read`` takes the name of one, too.
        parts: A recording may be split into files: ``is_part(path)`` tells the further ones.
        by_channel: ``read`` takes names of channels as well, and holds no others.
        start: With what its files begin, where others whose names end so are no recordings.
    """

    module: str
    what: str
    suffixes: tuple[str, ...]
    streams: bool = False
    parts: bool = False
    by_channel: bool = False
    start: bytes = b""


FORMATS = (
    Format("text", "a CSV file of muselsl or Mind Monitor", (".csv",)),
    Format("text", "a text file of OpenBCI's GUI", (".txt",), start=b"%OpenBCI"),
    Format("edf", "EDF or BDF", (".edf", ".bdf"), by_channel=True),
    Format("fif", "FIF", (".fif", ".fif.gz"), parts=True),
    Format("xdf", "XDF", (".xdf", ".xdf.gz", ".xdfz"), streams=True),
    Format("mne_raw", "BrainVision or EEGLAB", (".vhdr", ".set")),
)
_SESSION = Format("session", "a session folder", ())
KINDS = f"{', '.join(one.what for one in FORMATS)}, or {_SESSION.what}"
"""What can be read, for people."""


@dataclass(frozen=True)
class Marker:
    """Something that was noted at a time: a stimulus, a key, an annotation.

    Attributes:
        text: What; from outside, so it may hold anything.
        sample: Number of samples before it.
        t_s: Seconds from the recording's first sample, by the recorded clock; it may lie outside of the
            signal.
        duration_s: How long it lasted; 0 where it is a moment, or that is not known.
    """

    text: str
    sample: int
    t_s: float
    duration_s: float = 0.0


@dataclass(frozen=True)
class Recording:
    """One continuous recording, as it was recorded: nothing sorted, nothing filled.

    Attributes:
        path: The file, with the stream that was chosen in it.
        ch_names: Channels; what only triggers something is none of them but gives markers.
        sfreq: Nominal rate in Hz: the file's word, or where it has none, or its time stamps show another
            one, the measured rate, snapped to a usual one within 0.5 %.
        samples: Microvolts ``(n, c)``, NaN where the file has none; what is not a voltage in its own unit.
        timestamps: Seconds ``(n,)``, jittered as recorded; ``n / sfreq`` where the file holds no times.
        markers: In the order of the file.
        rails_uv: Lowest and highest value the device gives, or ``None``.
        unit: Unit of the samples, always ``"uV"``.
        counted: Losses were found by the device's packet counter and are NaN.
        others: What the format itself says to be no EEG: channel and why.
    """

    path: Path
    ch_names: tuple[str, ...]
    sfreq: float
    samples: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    markers: tuple[Marker, ...] = ()
    rails_uv: tuple[float, float] | None = None
    unit: str = "uV"
    counted: bool = False
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_array(
        cls,
        samples: NDArray[Any],
        ch_names: Sequence[str],
        sfreq: float,
        *,
        unit: str = "uV",
        name: str = "array",
    ) -> Recording:
        """Return a recording of an array.

        Args:
            samples: ``(n_times, n_chans)``, as it was recorded; NaN where a sample is missing.
            ch_names: A name for each column.
            sfreq: Rate in Hz.
            unit: Of the samples: ``"uV"``, ``"mV"``, ``"nV"``, or ``"V"`` for those of MNE.
            name: What messages call it, in place of a file.

        Raises:
            DataError: It has another shape, no samples, or a spread that microvolts do not have: volts, as a
                rule.
            SignalError: The unit is not known.
        """
        # It needs to know what a recording is.
        from mimamba_edge.data.arrays import microvolts
        from mimamba_edge.data.bounds import evenly_sampled

        names = tuple(ch_names)
        return evenly_sampled(Path(name), names, float(sfreq), microvolts(name, samples, names, unit))

    @property
    def format(self) -> SignalFormat:
        """What its samples are, as the signal path asks."""
        return SignalFormat(self.ch_names, self.sfreq, self.unit, self.rails_uv, self.counted)

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last timestamp."""
        return float(self.timestamps[-1] - self.timestamps[0])


def read_recording(path: Path | str, channels: Collection[str] = ()) -> Recording:
    """Read a recording of any kind.

    Args:
        path: A file, its kind told by the end of its name (:data:`FORMATS`), or a session folder.
            ``FILE.xdf?stream=NAME`` chooses one of several streams; ``%XX`` stands for a character that a
            path cannot hold.
        channels: Only these are wanted: a format that can read them alone holds no others. Where the
            recording lacks one of them, it is read whole.

    Raises:
        DataError: The file is not there, is not a regular file, is not of that kind, or holds no samples.
        DependencyError: Its kind needs a package that is not installed.
    """
    # It needs to know what a recording is.
    from mimamba_edge.data.bounds import check

    path = Path(path)
    if is_session(path):
        path = path / SIGNAL
    file, stream = _split(path)
    form = _checked_format(file)
    reader = _reader(form)
    if stream is not None and not form.streams:
        raise DataError(f"{file} holds one recording: ?stream= does not apply", got=_CHOICE + stream)
    more = (stream,) if stream is not None else (channels,) if form.by_channel else ()
    recording: Recording = reader.read(file, *more)
    return _followed(check(replace(recording, path=path)))


def _checked_format(path: Path) -> Format:
    """Return a file's format, with all that can be known without opening it: a pipe would wait for ever."""
    form = _SESSION if path.name == SIGNAL and is_session(path.parent) else _format_of(path)
    if not os.path.lexists(path):
        raise DataError(f"the recording {path} is not there", do="check the path")
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot read the recording {path}", got=error.strerror, expected=KINDS) from error
    if form is None or stat.S_ISDIR(found.st_mode):
        foreign = of_name(path)
        got = "a folder" if stat.S_ISDIR(found.st_mode) else f"a file whose name ends in {path.suffix!r}"
        raise DataError(
            f"cannot read the recording {path}",
            got=f"{got}: {foreign.what}" if foreign else got,
            expected=KINDS,
            do=foreign.do if foreign else None,
        )
    if not stat.S_ISREG(found.st_mode):
        raise DataError(
            f"cannot read the recording {path}",
            got="a pipe or a device",
            expected="a regular file",
            do="save it to a file first; for live samples use --source stdin:",
        )
    if not found.st_size:
        raise DataError(f"the recording {path} is empty", expected=KINDS)
    return form


def _split(path: Path) -> tuple[Path, str | None]:
    name, choice, stream = path.name.rpartition(_CHOICE)
    if not choice or not name or os.path.lexists(path):
        return path, None
    return path.with_name(name), unquote(stream)


def file_of(path: Path) -> Path:
    """Return the file of a recording's path, which may choose a stream in it: ``FILE.xdf?stream=NAME``."""
    return _split(Path(path))[0]


def stem(path: Path) -> str:
    """Return the name of a recording without the end that tells its kind; other dots are part of it."""
    path = file_of(path)
    return path.name[: len(path.name) - len(_suffix(path))]


def _followed(recording: Recording) -> Recording:
    """Return the recording at the rate that its time stamps show, where that is not the one it says."""
    watch = RateWatch(recording.sfreq)
    if not watch.push(recording.timestamps) or watch.hz is None:
        return recording
    sfreq = usual_rate(watch.hz)
    show_warning(
        f"{recording.path} says {recording.sfreq:g} Hz and holds {watch.hz:.1f} Hz: it is read as "
        f"{sfreq:g} Hz"
    )
    return replace(recording, sfreq=sfreq)


def is_recording(path: Path) -> bool:
    """Return whether a path goes by the name of a recording, or is a session folder.

    A further part of a recording that was split is none.
    """
    if path.is_dir():
        return is_session(path)
    form = _format_of(path)
    if form is None or (form.parts and _reader(form).is_part(path)):
        return False
    return not form.start or _begins_with(path, form.start)


def _begins_with(path: Path, start: bytes) -> bool:
    try:
        # A pipe would wait for ever.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _suffix(path: Path) -> str:
    """Return the longest known end of a file's name; empty where there is none, or nothing before it."""
    name = path.name.lower()
    known = (end for form in FORMATS for end in form.suffixes)
    return max((end for end in known if name.endswith(end) and name != end), key=len, default="")


def _format_of(path: Path) -> Format | None:
    end = _suffix(path)
    return next((form for form in FORMATS if end in form.suffixes), None)


def _reader(form: Format) -> Any:
    return importlib.import_module(f"mimamba_edge.data.formats.{form.module}")


def known_rails_uv(ch_names: Iterable[str]) -> tuple[float, float] | None:
    """Return what a source rails at that is known by its channels alone: a Muse; else ``None``."""
    return _MUSE_RAILS_UV if set(ch_names) >= _MUSE else None

"""What a recording may claim: nothing that no device gives, and nothing that fills the memory."""

from __future__ import annotations

import dataclasses
import gzip
import stat
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable, show_warning
from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import DataError, SignalError
from mimamba_edge.signal.source_limits import check_claims

__all__ = ["TIME_S", "check", "check_regular", "check_times", "evenly_sampled", "unpacked"]

TIME_S = 1e11
"""Unix seconds have ten digits until the year 2286; milliseconds have thirteen."""
_VALUE_UV = 1e12
"""A million volts: no voltage and, in a format without units, no converter's number either."""
_SMALL = 64 << 20
_RATIO = 20
"""A packed file gives at most this many times its size, or 64 MiB: noise packs to a half, a bomb to a
thousandth."""


def check(recording: Recording) -> Recording:
    """Return a recording that can be worked with: values that cannot be are NaN, as if never received.

    Raises:
        DataError: It holds no samples, or claims a rate, times or channels that cannot be.
    """
    path, sfreq, names = recording.path, recording.sfreq, recording.ch_names
    if not len(recording.samples):
        raise DataError(f"the recording {path} holds no samples", expected="a signal")
    try:
        check_claims(sfreq, len(names), names)
    except SignalError as error:
        raise DataError(f"{path}: {error.what}", got=error.got, expected=error.expected) from error
    check_times(path, recording.timestamps)
    rails = recording.rails_uv
    if rails is not None and not all(abs(rail) <= _VALUE_UV for rail in rails):
        recording = dataclasses.replace(recording, rails_uv=None)
    # Two comparisons: magnitudes would be another copy of a long recording.
    beyond = (recording.samples > _VALUE_UV) | (recording.samples < -_VALUE_UV)
    if beyond.any():
        held = [printable(names[k]) for k in np.flatnonzero(np.any(beyond, axis=0)).tolist()]
        show_warning(
            f"{printable(path)}: {int(beyond.sum())} values beyond {_VALUE_UV:g} count as missing, in "
            f"{', '.join(held[:8])}{' and more' if len(held) > 8 else ''}"
        )
        recording = dataclasses.replace(recording, samples=np.where(beyond, np.nan, recording.samples))
    return recording


def evenly_sampled(
    path: Path, ch_names: tuple[str, ...], sfreq: float, samples: NDArray[np.float64]
) -> Recording:
    """Return a recording that comes without times, checked: its samples ``(n, c)`` in uV start at 0 s.

    Raises:
        DataError: See :func:`check`.
    """
    # An impossible rate is named by the check.
    times = np.arange(len(samples)) / (sfreq or 1.0)
    return check(Recording(path=path, ch_names=ch_names, sfreq=sfreq, samples=samples, timestamps=times))


def check_regular(path: Path) -> None:
    """Check that a path is a regular file that holds something: a pipe would wait for ever.

    Raises:
        DataError: It is none.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror, do="check the path") from error
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        got = "an empty file" if stat.S_ISREG(found.st_mode) else "a folder, a pipe or a device"
        raise DataError(f"cannot read {path}", got=got, expected="a regular file")


def check_times(path: Path, times: NDArray[np.float64]) -> None:
    """Check that times ``(n,)`` are finite seconds, before anything is computed with them.

    Raises:
        DataError: They are not.
    """
    sound = np.abs(times) <= TIME_S
    if not sound.all():
        raise DataError(
            f"{path} has impossible time stamps",
            got=f"{times[int(np.argmin(sound))]:g} at sample {int(np.argmin(sound)) + 1}",
            expected="seconds, such as Unix time, not milliseconds",
        )


def unpacked(path: Path) -> bytes:
    """Return what a gzip file holds.

    Raises:
        DataError: It is damaged, or holds far more than any recording of its size would.
    """
    limit = max(_SMALL, _RATIO * path.stat().st_size)
    found = bytearray()
    try:
        with gzip.open(path) as file:
            while block := file.read(1 << 20):
                found += block
                if len(found) > limit:
                    raise DataError(
                        f"{path} unpacks to far more than a recording of its size",
                        got=f"over {limit >> 20} MiB from {path.stat().st_size / 2**20:.3g} MiB",
                        expected=f"no more than {_RATIO} times its size",
                        do="unpack it yourself if you trust its origin",
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot unpack {path}", got=str(error), expected="a gzip file") from error
    return bytes(found)

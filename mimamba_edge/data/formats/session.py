"""Session folders: what ``record`` and ``stream --record`` write."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.data.recording import TIMESTAMPS, Marker, Recording
from mimamba_edge.data.session_format import EVENTS, INFO, cells_of, signal_info, whole_lines
from mimamba_edge.errors import DataError
from mimamba_edge.strict_json import Malformed, convert, decode

__all__ = ["read"]


def read(path: Path) -> Recording:
    """Read the signal of a session folder; names, rate and rails are those of its ``session.json``.

    Raises:
        DataError: ``session.json`` is not of this format, the two do not fit, or there is no whole row.
    """
    info = signal_info(path.parent)
    names = info.ch_names
    whole = _whole(path)
    first, _, rest = whole.partition(b"\n")
    header = cells_of(first.decode("utf-8", "replace"))
    if header[:1] != [TIMESTAMPS] or len(header) != 1 + len(names):
        raise DataError(
            f"{path} does not match its {INFO}",
            got=f"{len(header)} columns" if whole else "no complete line",
            expected=f"'{TIMESTAMPS}' and {len(names)} channels",
        )
    if not rest:
        raise DataError(f"the recording {path} holds no samples", got="a header only")
    try:
        with warnings.catch_warnings():
            # An empty table is an error below.
            warnings.simplefilter("ignore", UserWarning)
            table = np.loadtxt(io.BytesIO(rest), delimiter=",", ndmin=2, encoding="utf-8")
    except ValueError as error:
        raise DataError(f"cannot read the recording {path}", got=str(error)) from error
    if table.shape[1] != len(header) or not np.isfinite(table[:, 0]).all():
        raise DataError(
            f"{path} is damaged",
            got="rows without a time stamp, or of different lengths",
            expected="a file as it was recorded",
        )
    return Recording(
        path=path,
        ch_names=names,
        sfreq=info.sfreq,
        samples=np.ascontiguousarray(table[:, 1:]),
        timestamps=np.ascontiguousarray(table[:, 0]),
        markers=_markers(path.parent / EVENTS, len(table)),
        rails_uv=info.rails_uv,
        counted=info.device.get("packet_counter") is True,
    )


def _whole(path: Path) -> bytes:
    try:
        return whole_lines(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror) from error


@dataclass(frozen=True)
class _Marked:
    kind: str
    text: str
    sample: int
    t_s: float


def _markers(path: Path, n: int) -> tuple[Marker, ...]:
    """Return the markers among the events that lie within the signal that is left."""
    if not path.is_file():
        return ()
    markers = []
    for number, line in enumerate(_whole(path).splitlines(), start=1):
        try:
            event = decode(line, dict[str, Any])
            if event.get("kind", "marker") != "marker":
                continue
            marker = convert(event, _Marked, closed=False)
        except Malformed as error:
            raise DataError(f"{path}, line {number}: not an event", got=error) from error
        if 0 <= marker.sample <= n:
            markers.append(Marker(marker.text, marker.sample, marker.t_s))
    return tuple(markers)

"""Session folders: what ``record`` and ``stream --record`` write."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.data.recording import SESSION, TIMESTAMPS, Marker, Recording, whole_lines
from mimamba_edge.errors import DataError

__all__ = ["read", "read_info"]

_FORMAT = "mimamba.session.1"
_EVENTS = "events.jsonl"


def read(path: Path) -> Recording:
    """Read the signal of a session folder; names, rate and rails are those of its ``session.json``.

    Raises:
        DataError: ``session.json`` is not of this format, the two do not fit, or there is no whole row.
    """
    info = read_info(path.parent)
    names, sfreq, rails_uv = _facts(path.parent / SESSION, info)
    whole = _whole(path)
    first, _, rest = whole.partition(b"\n")
    header = next(csv.reader([first.decode("utf-8", "replace")]), [])
    if header[:1] != [TIMESTAMPS] or len(header) != 1 + len(names):
        raise DataError(
            f"{path} is not the signal of its {SESSION}",
            got=f"{len(header)} columns" if whole else "no whole line",
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
            f"{path} is damaged", got="rows without a time, or of other lengths", expected="as it was written"
        )
    return Recording(
        path=path,
        ch_names=names,
        sfreq=sfreq,
        samples=np.ascontiguousarray(table[:, 1:]),
        timestamps=np.ascontiguousarray(table[:, 0]),
        markers=_markers(path.parent / _EVENTS, len(table)),
        rails_uv=rails_uv,
        counted=isinstance(device := info.get("device"), dict) and device.get("packet_counter") is True,
    )


def read_info(folder: Path) -> dict[str, Any]:
    """Return what ``session.json`` of a folder holds.

    Raises:
        DataError: It cannot be read, or is of another format.
    """
    path = folder / SESSION
    try:
        info = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}", got=str(error)) from error
    found = info.get("format") if isinstance(info, dict) else None
    if found != _FORMAT:
        raise DataError(f"{path} is of another format", got=repr(found), expected=repr(_FORMAT))
    return dict(info)


def _facts(path: Path, info: dict[str, Any]) -> tuple[tuple[str, ...], float, tuple[float, float] | None]:
    try:
        names = tuple(info["ch_names"])
        sfreq = float(info["sfreq"])
        rails = info.get("rails_uv")
        rails_uv = None if rails is None else (float(rails[0]), float(rails[1]))
        sound = all(isinstance(name, str) for name in names) and 0 < sfreq < math.inf
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        sound = False
    if not sound or not names or info.get("unit") != "uV":
        raise DataError(
            f"{path} does not say what was recorded",
            got=", ".join(f"{key}: {info.get(key)!r}" for key in ("sfreq", "unit", "rails_uv")),
            expected="ch_names, sfreq, unit uV and rails_uv",
        )
    return names, sfreq, rails_uv


def _whole(path: Path) -> bytes:
    try:
        return whole_lines(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror) from error


def _markers(path: Path, n: int) -> tuple[Marker, ...]:
    """Return the markers among the events that lie within the signal that is left."""
    if not path.is_file():
        return ()
    markers = []
    for number, line in enumerate(_whole(path).splitlines(), start=1):
        try:
            event = json.loads(line)
            if event["kind"] != "marker":
                continue
            marker = Marker(str(event["text"]), int(event["sample"]), float(event["t_s"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not an event", got=str(error)) from error
        if 0 <= marker.sample <= n and math.isfinite(marker.t_s):
            markers.append(marker)
    return tuple(markers)

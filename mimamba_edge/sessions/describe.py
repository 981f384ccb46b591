"""Sessions as rows of a table for people."""

from __future__ import annotations

import time

from mimamba_edge.console import printable
from mimamba_edge.sessions.store import Session

__all__ = ["HEADER", "row"]

HEADER = ("id", "subject", "session", "run", "started (UTC)", "length", "trials", "size", "state")


def row(session: Session) -> tuple[str, ...]:
    """Return the cells of :data:`HEADER`."""
    info = session.info
    state = "recording" if session.recording else "ended" if session.ended else "cut off"
    if session.problem is not None:
        state = "damaged"
    if session.foreign:
        state += ", foreign files"
    return (
        printable(session.folder.name),
        *(printable(info.get(key) or "?") for key in ("subject", "session", "run")),
        _moment(info.get("started_unix")),
        "?" if session.seconds is None else f"{session.seconds:.1f} s",
        str(session.trials),
        f"{session.size_bytes / 1e6:.2f} MB",
        state,
    )


def _moment(unix: float | None) -> str:
    return "?" if unix is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(unix))

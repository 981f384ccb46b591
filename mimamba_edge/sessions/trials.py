"""What becomes a trial while recording: cues of a script, keys, markers.

All count samples, so that the same script over the same signal gives the same labels. How long a sample was
on its way from the skin to here is not known and not taken off.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.errors import ConfigError, DataError, quoted
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.sessions.times import Mark
from mimamba_edge.strict_json import Malformed, read_regular

__all__ = [
    "LEAD_S",
    "TAIL_S",
    "Cue",
    "CueRun",
    "Epochs",
    "KeyTrials",
    "check_label",
    "read_cues",
    "read_labelled",
]

LEAD_S = 3.0
"""Before the first cue: the filters of a model need 1.9 s to settle."""
TAIL_S = 1.0
"""After the last cue."""
_LONGEST_CUE_S = 86_400.0
_LONGEST_LABEL = 256


@dataclass(frozen=True)
class Cue:
    """A row of a cue script.

    Attributes:
        label: Class; empty for a pause, which is no trial.
        seconds: How long it is shown.
        text: What is shown.
    """

    label: str
    seconds: float
    text: str


def check_label(label: str, where: str) -> str:
    """Return a label that can stand in a table and on a terminal.

    Raises:
        ConfigError: It cannot.
    """
    if not label or not label.isprintable() or label != label.strip() or len(label) > _LONGEST_LABEL:
        raise ConfigError(
            f"{where}: not a label",
            got=quoted(label),
            expected=f"text in one line of at most {_LONGEST_LABEL} characters, without control characters",
        )
    return label


def read_cues(path: Path) -> tuple[Cue, ...]:
    """Read a cue script: a CSV file with the columns ``label,seconds`` and possibly ``text``.

    A row without a label is a pause.

    Raises:
        DataError: The file or a row cannot be used.
        ConfigError: A label cannot be one.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"cannot read the cue script {path}", got="not a regular file", do="check the path")
    try:
        file = io.StringIO(read_regular(path).decode("utf-8-sig"), newline="")
        reader = csv.DictReader(file, skipinitialspace=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        if not {"label", "seconds"} <= set(names):
            raise DataError(
                f"{path} is not a cue script",
                got=", ".join(names),
                expected="columns label,seconds[,text]",
            )
        cues = tuple(_cue(f"{path}, line {reader.line_num}", row) for row in reader)
    except (OSError, Malformed, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the cue script {path}", got=str(error), do="check the path") from error
    if not any(cue.label for cue in cues):
        raise DataError(f"{path} names no label", expected="one row a cue: label,seconds")
    return cues


def _cue(where: str, row: dict[str | Any, str | Any]) -> Cue:
    label = (row["label"] or "").strip()
    try:
        seconds = float(row["seconds"] or "")
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_CUE_S:
        raise DataError(
            f"{where}: no duration",
            got=row["seconds"],
            expected=f"a positive number of seconds, at most {_LONGEST_CUE_S:g}",
        )
    text = (row.get("text") or "").strip() or label or "pause"
    return Cue(check_label(label, where) if label else "", seconds, check_label(text, where))


def read_labelled(entries: Sequence[str], option: str, *, one: bool = False) -> dict[str, str]:
    """Read entries ``CODE=LABEL``.

    Args:
        entries: What was given.
        option: By which option.
        one: Codes are single characters.

    Raises:
        ConfigError: An entry is not of that form, or a code is named twice.
    """
    found: dict[str, str] = {}
    for entry in entries:
        # A label holds no equals sign; a marker may.
        code, _, label = (part.strip() for part in entry.rpartition("="))
        if not code or (one and len(code) != 1):
            form = "KEY=LABEL, as in 1=happy" if one else "MARKER=LABEL, as in 1=happy"
            raise ConfigError(f"{option} is not valid", got=repr(entry), expected=form)
        if code in found:
            raise ConfigError(f"{option} names {code!r} twice", got=f"{found[code]}, {label}")
        found[check_label(code, option)] = check_label(label, option)
    return found


class CueRun:
    """Shows cues one after the other and makes each with a label a trial.

    Args:
        cues: The script; :data:`LEAD_S` of getting ready come before it, :data:`TAIL_S` after it.
        sfreq: Nominal rate in Hz.
    """

    def __init__(self, cues: Sequence[Cue], sfreq: float) -> None:
        self._cues = (Cue("", LEAD_S, "get ready"), *cues, Cue("", TAIL_S, "done"))
        self._sfreq = sfreq
        self._at = -1
        self._start, self._stop = Mark(0), 0
        self._n = 0

    @property
    def cue(self) -> Cue | None:
        """What is shown now."""
        return self._cues[self._at] if 0 <= self._at < len(self._cues) else None

    @property
    def left_s(self) -> float:
        """How much longer it is shown."""
        return max(0.0, (self._stop - self._n) / self._sfreq)

    @property
    def done(self) -> bool:
        """Whether all have been shown."""
        return self._at >= len(self._cues)

    @property
    def total_s(self) -> float:
        """How long all take."""
        return sum(cue.seconds for cue in self._cues)

    def tick(self, writer: SessionWriter) -> None:
        """Go on, after samples were written."""
        self._n = writer.n
        if self.done or (self.cue is not None and self._n < self._stop):
            return
        if self.cue is not None and self.cue.label:
            writer.trial(self.cue.label, self.cue.text, self._start, self._stop)
        self._at += 1
        if self.cue is not None:
            # A cue begins when it is shown, which is when samples up to its beginning are here.
            self._start = writer.mark(self._n)
            self._stop = self._n + max(1, round(self.cue.seconds * self._sfreq))
            writer.event("cue", self.cue.text)


class KeyTrials:
    """A key begins a trial of its label; the same or another one ends it.

    Args:
        labels: Key to label.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        self._start = Mark(0)
        self.label: str | None = None

    def press(self, key: str, writer: SessionWriter) -> None:
        """Take a key."""
        if key not in self._labels:
            return
        label, before = self._labels[key], self.label
        writer.event("key", label)
        self.end(writer)
        if label != before:
            self.label, self._start = label, writer.mark(writer.n)

    def end(self, writer: SessionWriter) -> None:
        """End the trial that goes on, if one does."""
        if self.label is not None:
            writer.trial(self.label, self.label, self._start, writer.n)
            self.label = None


class Epochs:
    """A marker makes a trial of the time around it.

    Args:
        labels: Marker to label.
        tmin: First second of the trial, from the marker.
        tmax: Its end.
        sfreq: Nominal rate in Hz.
    """

    def __init__(self, labels: Mapping[str, str], tmin: float, tmax: float, sfreq: float) -> None:
        self._labels = dict(labels)
        self._from, self._to = round(tmin * sfreq), round(tmax * sfreq)
        self._open: list[tuple[int, str, str, Mark | None]] = []

    def mark(self, text: str, sample: int) -> None:
        """Take a marker at a sample."""
        label = self._labels.get(text.strip())
        if label is not None:
            self._open.append((sample, label, text.strip(), None))

    def tick(self, writer: SessionWriter) -> None:
        """Go on, after samples were written."""
        still: list[tuple[int, str, str, Mark | None]] = []
        for sample, label, text, mark in self._open:
            start, stop = sample + self._from, sample + self._to
            if mark is None and start <= writer.n:
                mark = writer.mark(start)
            if mark is not None and stop <= writer.n:
                writer.trial(label, text, mark, stop)
            else:
                still.append((sample, label, text, mark))
        self._open = still

    def end(self, writer: SessionWriter) -> None:
        """Finish, and tell of the trials whose end did not come."""
        self.tick(writer)
        for sample, label, _, _ in self._open:
            writer.leave_out(label, sample + self._from, sample + self._to)
        self._open = []

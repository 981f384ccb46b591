"""A session folder that is being recorded; its format is :mod:`mimamba_edge.data.session_format`.

A number is written with as many digits as it takes to read the same bits back. What is torn off at the end of
a file (a row without its line end, NULs after a power cut) was not written; what stands before it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.append import SYNC_S, AppendFile, Syncer, cannot_append
from mimamba_edge.data.labels import Trial, format_trials
from mimamba_edge.data.recording import TIMESTAMPS
from mimamba_edge.data.session_format import DECISIONS, EVENTS, INFO, LABELS, SIGNAL, SessionInfo
from mimamba_edge.errors import OutputError
from mimamba_edge.files import atomic_write, make_private_folder, sync_folder, writing_failed
from mimamba_edge.naming import distinct
from mimamba_edge.sessions.identity import make_sessions_folder
from mimamba_edge.sessions.times import Mark, SampleTimes

__all__ = ["SessionWriter", "format_rows", "header_names"]

_ROWS_AT_ONCE = 4096
_SAME_S = 0.05
"""So far the recorded clock's jitter can move a border; the shared recordings' is 21 ms."""
_BEHIND_S = 0.25
"""Signal that must stand behind a trial before its row is written."""


def format_rows(table: NDArray[np.float64]) -> bytes:
    """Return rows of a CSV file that reads back bit-equal: the shortest text of each float64, ``nan``."""
    return "".join(",".join(map(repr, row)) + "\n" for row in table.tolist()).encode()


def header_names(ch_names: Sequence[str]) -> list[str]:
    """Return names that pass for no other cell, line or column; ``session.json`` has them as they are."""
    return distinct(map(_plain, ch_names))


def _plain(ch_name: str) -> str:
    plain = "".join(c if c.isprintable() and c not in ",\"'" else "_" for c in ch_name).strip() or "_"
    return f"_{plain}" if plain.startswith("Marker") or plain == TIMESTAMPS else plain


def _write_info(folder: Path, info: SessionInfo) -> None:
    text = json.dumps(info.to_dict(), indent=2, allow_nan=False, default=str) + "\n"
    # By a name that `session delete` knows, should the process be killed meanwhile.
    with atomic_write(folder / INFO, private=True, temporary=folder / f".{INFO}.part") as file:
        file.write(text.encode())


class SessionWriter:
    """Records one stream. Whatever ends the process, all that was written is kept.

    Args:
        root: Folder of the sessions; made where it is not there.
        info: What is recorded.
        syncer: Shared by several sessions; by default one of its own.

    Raises:
        OutputError: The folder cannot be made or written.
    """

    def __init__(self, root: Path, info: SessionInfo, syncer: Syncer | None = None) -> None:
        self.info, self.folder = info, Path(root) / info.id
        self._syncer = Syncer() if syncer is None else syncer
        self._own = self._syncer if syncer is None else None
        self._times = SampleTimes(info.sfreq)
        self._files: dict[str, AppendFile] = {}
        self._labelled, self._labelled_s = 0, 0.0
        self._marks: list[Mark] = []
        self._rows: deque[tuple[Mark, int, str, str]] = deque()
        self._closed = False
        self.failed = ""
        """What ended the recording before its time; empty while nothing did."""
        self.trials = self.left_out = 0
        make_sessions_folder(root)
        try:
            make_private_folder(self.folder)
            sync_folder(self.folder.parent)
            _write_info(self.folder, info)
            sync_folder(self.folder)
        except (OSError, OutputError) as error:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            if isinstance(error, OutputError):
                raise
            raise writing_failed(self.folder, error) from error
        self._append(SIGNAL, (",".join([TIMESTAMPS, *header_names(info.ch_names)]) + "\n").encode())
        # Held until the process ends: `session delete` sees that this session is being recorded.
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._files[SIGNAL].fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def n(self) -> int:
        """Samples so far."""
        return self._times.n

    def write(self, samples_uv: NDArray[np.float64], timestamps: NDArray[np.float64]) -> None:
        """Add samples.

        Args:
            samples_uv: ``(n, c)`` microvolts; NaN where one is missing.
            timestamps: ``(n,)`` seconds, as recorded.

        Raises:
            OutputError: The disk is full or failed; what was recorded until then is kept.
        """
        for at in range(0, len(samples_uv), _ROWS_AT_ONCE):
            part = slice(at, at + _ROWS_AT_ONCE)
            self._append(SIGNAL, format_rows(np.column_stack([timestamps[part], samples_uv[part]])))
            self._times.push(timestamps[part])
        self._marks = [mark for mark in self._marks if not self._times.settle(mark)]
        self._release()

    def time_s(self, sample: int) -> float:
        """Return seconds from the first sample to one of the last ten seconds, by the recorded clock."""
        return max(0.0, round(self._times.time_s(sample), 6))

    def mark(self, sample: int) -> Mark:
        """Return a border of a trial, at or before the newest sample; its time is told by what follows."""
        mark = Mark(sample)
        self._marks.append(mark)
        return mark

    def known(self, sample: int) -> bool:
        """Return whether it is certain if anything was lost near a sample."""
        return self._times.known(sample)

    def sample_at(self, time: float) -> int | None:
        """Return the sample at a time of the source's clock; ``None`` if that is not of the last seconds."""
        return self._times.sample_at(time)

    def event(
        self,
        kind: str,
        text: str = "",
        *,
        n: int = 0,
        sample: int | None = None,
        t_s: float | None = None,
        t_unix: float | None = None,
    ) -> None:
        """Add a line to the events.

        Args:
            kind: One word.
            text: For people, or the marker.
            n: Samples concerned.
            sample: Where; by default after all that were written.
            t_s: Its time, if that is known better than :meth:`time_s` knows it now.
            t_unix: When; by default now.

        Raises:
            OutputError: As :meth:`write`.
        """
        at = self.n if sample is None else sample
        line = {
            "kind": kind,
            "text": str(text),
            "n": int(n),
            "sample": int(at),
            "t_s": self.time_s(at) if t_s is None else t_s,
            "t_unix": time.time() if t_unix is None else t_unix,
        }
        self._append(EVENTS, (json.dumps(line, allow_nan=False) + "\n").encode())

    def decision(self, line: str) -> None:
        """Add a decision line.

        Raises:
            OutputError: As :meth:`write`.
        """
        self._append(DECISIONS, (line + "\n").encode())

    def trial(self, label: str, stimulus: str, start: Mark, stop: int) -> None:
        """Add a row to the labels, as soon as there is signal behind it and its times are certain.

        A trial without length, or one that begins before the last one ended (a clock that was set back,
        markers too close), would make the whole table unusable and is left out.

        Args:
            label: Class.
            stimulus: What was shown.
            start: Where it begins, from :meth:`mark`.
            stop: Sample after its last.

        Raises:
            OutputError: As :meth:`write`.
        """
        if not self._labelled <= start.sample < stop <= self.n:
            self.leave_out(label, start.sample, stop)
            return
        self._labelled = stop
        self._rows.append((start, stop, label, stimulus))

    def leave_out(self, label: str, start: int, stop: int) -> None:
        """Tell of a trial that does not get into the labels."""
        self.left_out += 1
        self.event("left-out", label, n=stop - start, sample=start)

    def _release(self, *, last: bool = False) -> None:
        """Write the rows of trials behind which there is signal: training must find all of each trial."""
        end = self.n - round(_BEHIND_S * self.info.sfreq)
        while self._rows and (last or (self._rows[0][1] <= end and self.known(self._rows[0][1]))):
            start, stop, label, stimulus = self._rows.popleft()
            self._times.settle(start, final=True)
            start_s, stop_s = self._borders(start, stop)
            stop_s -= max(0, stop - end) / self.info.sfreq
            if not self._labelled_s <= start_s < stop_s:
                self.leave_out(label, start.sample, stop)
                continue
            self._labelled_s = stop_s
            self.trials += 1
            self.event("trial", label, n=stop - start.sample, sample=start.sample, t_s=start_s)
            self._row(start_s, stop_s, label, stimulus)

    def _borders(self, start: Mark, stop: int) -> tuple[float, float]:
        """Return the seconds at which a trial starts and stops."""
        start_s, stop_s = (max(0.0, round(s, 6)) for s in (start.time_s or 0.0, self._times.end_s(stop)))
        last_s = self._labelled_s
        if last_s - _SAME_S < start_s < last_s:
            # One border, told twice: between the two its second after came in.
            start_s = last_s
        length_s = (stop - start.sample) / self.info.sfreq
        if abs(stop_s - start_s - length_s) < _SAME_S:
            # What is as long as a window must not fall short of it by what the clock's jitter left.
            stop_s = start_s + length_s
        return start_s, stop_s

    def _row(self, start_s: float, stop_s: float, label: str, stimulus: str) -> None:
        who = (self.info.subject, self.info.session, self.info.run)
        trial = Trial(SIGNAL, start_s, stop_s, label, *who, stimulus)
        self._append(LABELS, format_trials([trial], header=LABELS not in self._files).encode())

    def close(self, why: str = "") -> None:
        """End the session: a last event tells that it is whole, or what cut it off.

        Args:
            why: What ended it, if that was not its user.

        Raises:
            OutputError: The disk is full or failed; what was recorded until then is kept.
        """
        if self._closed:
            return
        self._closed = True
        failure: OutputError | None = None
        for step in (self._finish, lambda: self._tell_end(why), self._let_go):
            try:
                step()
            except OutputError as error:
                failure = failure or error
                self.failed = self.failed or error.what
        if self._own is not None:
            self._own.close()
        if failure is not None:
            raise failure

    def _finish(self) -> None:
        """Write what is left and see that all of it is on the disk."""
        self._release(last=True)
        slowest = self._syncer.slowest_s
        if slowest > SYNC_S:
            self.event("slow-disk", f"a sync took {slowest:.1f} s: a power cut may have cost as much")
        for file in self._files.values():
            file.settle()

    def _tell_end(self, why: str) -> None:
        # A few bytes may still fit where the signal did not: they must not call a torn recording whole.
        self.event("cut-off" if self.failed else "ended", why or self.failed, n=self.n)

    def _let_go(self) -> None:
        failure: OutputError | None = None
        for file in self._files.values():
            self._syncer.remove(file)
            try:
                file.close()
            except OutputError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _append(self, name: str, data: bytes) -> None:
        file = self._files.get(name)
        if file is None:
            path = self.folder / name
            try:
                file = self._files[name] = AppendFile(path)
            except OSError as error:
                raise cannot_append(path, error) from error
            self._syncer.add(file)
        try:
            file.append(data)
        except OutputError as error:
            self.failed = error.what
            raise

"""Recording without a model: from a source to a session folder, with trials from cues, keys and markers."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from mimamba_edge.data.session_format import SessionInfo
from mimamba_edge.errors import ConfigError, MimambaError, OutputError, SourceError
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.sessions.identity import (
    check_pseudonym,
    default_subject,
    make_sessions_folder,
    next_run,
    source_kind,
    today,
)
from mimamba_edge.sessions.store import delete_session
from mimamba_edge.sessions.trials import CueRun, Epochs, KeyTrials
from mimamba_edge.signal.clock import Clock
from mimamba_edge.signal.montage import microvolts_per
from mimamba_edge.stream.arrival import Arrival
from mimamba_edge.stream.cleaning import ChunkCleaner
from mimamba_edge.stream.signals import taken_signals
from mimamba_edge.stream.sources.base import Chunk, Source, clock_notice

__all__ = ["Capture", "Ending", "Markers", "new_session", "open_markers", "stop_signals"]


_MOST_WAITING = 1000
_PATIENCE_S = 10.0


class Markers(Protocol):
    """A stream of markers beside the signal: :class:`mimamba_edge.stream.sources.lsl_markers.MarkerInlet`."""

    def unix_offset_s(self) -> float:
        """Return what turns the time of a marker into Unix seconds."""

    def pull(self, timeout_s: float = 0.0) -> tuple[str, float] | None:
        """Return the next marker and its time, or ``None``."""

    def close(self) -> None:
        """Let go."""


@dataclass
class Ending:
    """Whether a recording is to end; set by a signal.

    Attributes:
        by: Number of the signal, 0 while none came.
    """

    by: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether it was Ctrl-C."""
        return self.by == signal.SIGINT


@contextlib.contextmanager
def stop_signals() -> Iterator[Ending]:
    """Turn Ctrl-C, a hang-up and a termination into an end in good order; a second Ctrl-C ends at once."""
    ending = Ending()

    def note(number: int, _: Callable[[], None]) -> None:
        if ending.by and number == signal.SIGINT:
            raise KeyboardInterrupt
        ending.by = number

    with taken_signals(note):
        yield ending


def open_markers(texts: Sequence[str]) -> list[Markers]:
    """Open streams of markers: ``lsl:NAME``, or ``lsl:type=Markers`` and so on.

    Raises:
        ConfigError: A text cannot be understood.
        DependencyError: pylsl is missing.
        SourceError: There is no such stream.
    """
    inlets: list[Markers] = []
    for text in texts:
        scheme, _, rest = text.partition(":")
        if scheme != "lsl" or not rest:
            raise ConfigError("unknown kind of markers", got=text, expected="lsl:NAME or lsl:type=Markers")
        from mimamba_edge.stream.sources.lsl_markers import marker_inlet

        inlets.append(marker_inlet(rest if "=" in rest else f"name={quote(rest)}"))
    return inlets


def new_session(
    root: Path, source: Source, *, subject: str | None, session: str | None, run: str | None
) -> SessionWriter:
    """Begin the session folder of a source without a model.

    Args:
        root: Folder of the sessions.
        source: What is recorded.
        subject: Pseudonym; by default the folder's.
        session: Occasion; by default the day.
        run: By default the number after the last one.

    Raises:
        ConfigError: One of them is no pseudonym.
        OutputError: The folder cannot be made or written.
        SignalError: The source's unit is not one of a voltage.
    """
    for text, what in ((subject, "subject"), (session, "session"), (run, "run")):
        if text is not None:
            check_pseudonym(text, what)
    microvolts_per(source.unit)  # refused before a folder is made
    make_sessions_folder(root)
    subject = subject or default_subject(root)
    session = session or today()
    info = SessionInfo(
        subject=subject,
        session=session,
        run=run or next_run(root, subject, session),
        ch_names=tuple(source.ch_names),
        sfreq=source.sfreq,
        rails_uv=source.rails_uv,
        device=source.device,
        source=source_kind(source.name),
    )
    return SessionWriter(root, info)


class Capture:
    """Records a source.

    Args:
        source: Where samples come from.
        writer: Where they go.
        cues: A cue script; its end ends the recording.
        keys: What keys make of the signal.
        pressed: Returns the keys pressed since it was called last.
        markers: Streams of markers.
        epochs: What markers make of the signal.
        clock: Monotonic seconds.

    Attributes:
        lost: Samples that are known to be missing.
        notices: Number of notices by kind.
        message: The newest notice, for people.
    """

    def __init__(
        self,
        source: Source,
        writer: SessionWriter,
        *,
        cues: CueRun | None = None,
        keys: KeyTrials | None = None,
        pressed: Callable[[], str] = lambda: "",
        markers: Sequence[Markers] = (),
        epochs: Epochs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self.writer, self.cues, self.keys = source, writer, cues, keys
        self._pressed, self._epochs, self._clock = pressed, epochs, clock
        self._seconds: float | None = None
        self._markers = list(markers)
        self._pulled: deque[tuple[str, float, float]] = deque()
        self._offset = 0.0
        # A simulated person does what the one at the headset is asked to do.
        self._follow: Callable[[str], None] | None = getattr(source, "follow", None)
        self._asked: str | None = None
        self._on_lsl = hasattr(source, "clock_offset_s")
        self._factor = microvolts_per(source.unit)
        self._cleaner = ChunkCleaner(source.sfreq, len(source.ch_names))
        self._detector = Clock(source.sfreq)
        self._arrival = Arrival(source.sfreq)
        self._paced = source.live and "recording" not in source.device
        self._began: float | None = None
        self._started = clock()
        self.lost = self._last_lost = 0
        self.notices: Counter[str] = Counter()
        self.message = ""

    @property
    def rate(self) -> dict[str, Any]:
        """What the source says and delivers, see :attr:`mimamba_edge.stream.cleaning.ChunkCleaner.rate`."""
        return self._cleaner.rate

    def run(
        self,
        ending: Ending,
        watch: Callable[[Capture, Chunk], None] = lambda *_: None,
        *,
        seconds: float | None = None,
    ) -> None:
        """Record until the source, the cues, the time or a signal ends it.

        Args:
            ending: Looked at after each chunk.
            watch: Shown each chunk after it was recorded.
            seconds: How much; by default until something else ends it.

        Raises:
            SourceError: The source was lost, or gave nothing; what it gave is kept.
            OutputError: The disk is full or failed; what was recorded until then is kept.
        """
        why, self._seconds = "", seconds
        self._ask()
        try:
            for chunk in self.source.chunks():
                watch(self, self._take(self._cleaner.clean(chunk)))
                if ending.by or self._done():
                    break
            if not self.writer.n and not ending.by:
                raise SourceError("the source ended before a sample came", got=self.source.name)
        except MimambaError as error:
            why = error.what
            raise
        finally:
            self.source.close()
            self._end(why)
            for inlet in self._markers:
                inlet.close()

    def _end(self, why: str) -> None:
        try:
            self._pull(last=True)
            for maker in (self.keys, self._epochs):
                if maker is not None:
                    maker.end(self.writer)
        finally:
            # After a full disk the first error is the one that says so.
            with contextlib.suppress(OutputError) if why else contextlib.nullcontext():
                self.writer.close(why)
            if not self.writer.n:
                # Nothing was recorded: nothing is left behind.
                delete_session(self.writer.folder)

    def _done(self) -> bool:
        if self.cues is not None and self.cues.done:
            return True
        if self._seconds is None:
            return False
        if not self.source.live:
            return self.writer.n >= self._most
        # From the first sample on; what gives none is not waited for without end.
        began = self._started + _PATIENCE_S if self._began is None else self._began
        return self._clock() - began >= self._seconds

    @property
    def _most(self) -> int:
        return round((self._seconds or 0.0) * self.source.sfreq)

    def _take(self, chunk: Chunk) -> Chunk:
        writer = self.writer
        if self._seconds is not None and not self.source.live:
            left = self._most - writer.n
            chunk = replace(chunk, samples=chunk.samples[:left], timestamps=chunk.timestamps[:left])
        if self._began is None and len(chunk.samples):
            self._began = self._clock()
        writer.write(chunk.samples * self._factor, chunk.timestamps)
        # What the clock tells, as a stream would: a source without a packet counter does not know.
        if self._paced:
            self._arrival.push(chunk.timestamps, chunk.arrived)
        told = [
            clock_notice(event, was_set=event.unsure and self._arrival.was_set(event.step_s))
            for event in self._detector.watch(chunk.timestamps)
        ]
        for notice in (*chunk.notices, *told):
            self.notices[notice.kind] += 1
            if notice.kind == "lost":
                self.lost, self._last_lost = self.lost + notice.n, notice.n
            elif notice.kind == "caught-up":
                self.lost -= self._last_lost
            if notice.kind == "marker":
                self._mark(notice.text, notice.sample, None)
            else:
                self.message = notice.text or notice.kind
                writer.event(notice.kind, notice.text, n=notice.n, sample=notice.sample)
        self._pull()
        if self.keys is not None:
            for key in self._pressed():
                self.keys.press(key, writer)
        if self.cues is not None:
            self.cues.tick(writer)
        if self._epochs is not None:
            self._epochs.tick(writer)
        self._ask()
        return chunk

    def _ask(self) -> None:
        """Tell a simulated person the label of the cue or key that runs now."""
        if self._follow is None or (self.cues is None and self.keys is None):
            return
        cue = None if self.cues is None else self.cues.cue
        label = (cue.label if cue else "") or (self.keys.label if self.keys else "") or ""
        if label != self._asked:
            self._asked = label
            self._follow(label)

    def _mark(self, text: str, sample: int, t_unix: float | None) -> None:
        self.writer.event("marker", text, sample=sample, t_unix=t_unix)
        if self._epochs is not None:
            self._epochs.mark(text, sample)

    def _pull(self, *, last: bool = False) -> None:
        for inlet in list(self._markers):
            try:
                while (marker := inlet.pull()) is not None:
                    self._pulled.append((*marker, marker[1] + inlet.unix_offset_s()))
            except SourceError as error:
                # The signal is worth more than its markers.
                self._markers.remove(inlet)
                inlet.close()
                self.message = error.what
                self.writer.event("markers-gone", error.what)
        # LSL's stamps are on the sender's clock, and what that is off becomes known only after a while; a
        # board's are on the wall clock.
        offset = getattr(self.source, "clock_offset_s", None)
        self._offset = self._offset if offset is None else offset
        ready = last or not self._on_lsl or offset is not None
        while self._pulled:
            text, at, t_unix = self._pulled[0]
            sample = self.writer.sample_at(at - self._offset if self._on_lsl else t_unix)
            # Signal may be lost until the samples of that time come; then it is none of those counted here.
            come = sample is None or (sample < self.writer.n and self.writer.known(sample))
            if not (last or (ready and come) or len(self._pulled) > _MOST_WAITING):
                break
            self._pulled.popleft()
            self._mark(text, self.writer.n if sample is None else sample, t_unix)

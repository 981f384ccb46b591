"""The stream engine: several sources, one model, one loop that never waits for a sink that may be late."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, MimambaError, RunnerError, SourceError
from mimamba_edge.naming import distinct
from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.dispatch import SinkDispatcher
from mimamba_edge.stream.live_stream import LiveStream, Waiting
from mimamba_edge.stream.monitor import Monitor
from mimamba_edge.stream.names import check_map, map_for
from mimamba_edge.stream.preprocessing import preprocessor_of_source
from mimamba_edge.stream.queue import ReadyReaders, SourceReader
from mimamba_edge.stream.reload import Reloader, check_runner
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.smoothing import Smoother
from mimamba_edge.stream.sources.base import Notice, Source

__all__ = ["DEADLINE_MS", "Personal", "StreamEngine"]

DEADLINE_MS = 5.0
"""What a window of several live streams waits for those of the others by default."""
_TURN_S = 0.1
"""Longest wait of the loop: a stop is noticed within it."""
_STATUS_S = 1.0
_SWITCH_S = 5e-4
_LAST_S = 5.0
"""Seconds a source gets to end."""


class Personal(Protocol):
    """A personal profile, as :mod:`mimamba_edge.profile` reads it."""

    name: str
    mains_hz: float | None

    def apply(self, contract: Contract, model_sha256: str) -> Contract:
        """Return the contract with the person's scaling."""


class StreamEngine:
    """Serves several streams with one model. Nothing in it grows with time.

    A reader thread for each source cleans its chunks and queues them; the loop takes them through the signal
    paths and runs the model on the windows that are ready, at most one of each stream at a time, so that a
    single stream always runs batches of one. With several live streams a window waits up to the deadline
    for those of the others. What the model is too slow for is dropped, the oldest window of a stream first,
    and counted; a source that is not live waits instead.

    Args:
        runner: An active runner. It is deactivated when a successor takes over, the successor at the end.
        sources: At least one.
        sinks: Where decisions, signal and counters go.
        channel_map: Model's channel name to source's, where they differ.
        mains_hz: Mains frequency here, if it is not the one of the training.
        smooth_s: Time constant of :class:`mimamba_edge.stream.smoothing.Smoother`.
        hysteresis: Its margin.
        profile: Personal profile.
        deadline_ms: What a window waits for those of other live streams.
        model: The model's file, for the record and to watch.
        reopen: Gives a runner of that file; without it the file is not watched.
        note: Told for people, one event a call.
        clock: Monotonic seconds.

    Attributes:
        infos: What sinks are told of the streams.
        failures: The errors of the sources that failed, by stream.

    Raises:
        ConfigError: No source, or a map, smoothing or deadline that cannot work.
        RunnerError: The model cannot take single windows.
        SourceError: A source does not fit the model.
    """

    def __init__(
        self,
        runner: Runner,
        sources: Sequence[Source],
        *,
        sinks: Sequence[Sink] = (),
        channel_map: Mapping[str, str] | None = None,
        mains_hz: float | None = None,
        smooth_s: float = 0.0,
        hysteresis: float = 0.0,
        profile: Personal | None = None,
        deadline_ms: float | None = None,
        model: Path | None = None,
        reopen: Callable[[], Runner] | None = None,
        note: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        _check(runner, sources, deadline_ms)
        names = distinct((source.name for source in sources), "{} ({})")
        several = len(names) > 1
        contract = runner.contract
        sha256 = sha256_file(model) if model is not None and model.is_file() else ""
        self._profile, self._note, self._clock = profile, note, clock
        effective = self._effective(contract, sha256)
        if mains_hz is None and profile is not None:
            mains_hz = profile.mains_hz
        channel_map = dict(channel_map or {})
        check_map(channel_map, contract.ch_names)
        self._runner = self._given = runner
        self._file, self._sha256 = Path(runner.artifact).name, sha256
        self._live = any(source.live for source in sources)
        wait_ms = DEADLINE_MS if deadline_ms is None else deadline_ms
        self._wait_s = 1e-3 * wait_ms if several and self._live else 0.0
        self._ready = ReadyReaders()
        self._dispatcher = SinkDispatcher(sinks, note)
        hop_s = contract.hop / contract.sfreq
        self._streams: list[LiveStream] = []
        self._pending: dict[LiveStream, None] = {}
        self.infos: list[StreamInfo] = []
        for name, source in zip(names, sources, strict=True):
            own = map_for(source.ch_names, channel_map, strict=not several)
            path = preprocessor_of_source(source, effective, channel_map=own, mains_hz=mains_hz)
            smoother = Smoother(contract.n_outputs, hop_s, smooth_s, hysteresis)
            reader = SourceReader(name, source, self._dispatcher, self._ready, clock)
            self._streams.append(
                LiveStream(reader, path, smoother, self._dispatcher, name if several else None)
            )
            self.infos.append(self._info(self._streams[-1], contract, own))
        self._reloader = None
        if model is not None and reopen is not None:
            self._reloader = Reloader(
                *(model, reopen),
                contract=contract,
                sha256=sha256,
                batches=self._batches(),
                fits=self._effective,
                note=note,
            )
        self._watch = Monitor(lambda: self._reloader.look() if self._reloader is not None else None)
        self._of = {stream.reader: stream for stream in self._streams}
        self._begun = self._stopping = False
        self._started = self._status_at = self._look_at = clock()
        self.failures: dict[str, SourceError] = {}

    def begin(self) -> None:
        """Open the sinks and warm up the model; :meth:`run` does so where nobody has before.

        Raises:
            MimambaError: A sink cannot be opened, or the model does not run.
        """
        if not self._begun:
            check_runner(self._runner, self._batches())
            self._dispatcher.begin(self.infos)
            self._begun = True

    def run(self, seconds: float | None = None) -> dict[str, Any]:
        """Serve until all sources have ended, :meth:`stop` is called or time is over.

        Args:
            seconds: Of sources that are not live seconds of signal, otherwise of time; ``None``: no end.

        Returns:
            The summary.

        Raises:
            RunnerError: The model failed, or gave logits that are not finite.
            MimambaError: The last sink failed.
        """
        switch_s = sys.getswitchinterval()
        try:
            self.begin()
            # Nobody keeps the interpreter from the loop for longer than this.
            sys.setswitchinterval(_SWITCH_S)
            self._started = self._status_at = self._look_at = self._clock()
            self._watch.start()
            for stream in self._streams:
                stream.reader.start(seconds)
            self._serve(None if seconds is None else self._started + seconds)
        finally:
            sys.setswitchinterval(switch_s)
            self._close()
        if self._dispatcher.deserted and self._dispatcher.failure is not None:
            raise self._dispatcher.failure
        return self.summary()

    @property
    def left_alone(self) -> bool:
        """Whether the streams ended because nobody listens any more, as after ``| head``."""
        return self._dispatcher.deserted

    @property
    def sink_failure(self) -> MimambaError | None:
        """What the first sink that failed said, though others may have gone on."""
        return self._dispatcher.failure

    @property
    def ended_by(self) -> SourceError | None:
        """The error of the source that ended last; ``None`` if that one ended well or was ended."""
        return max((stream.reader for stream in self._streams), key=lambda reader: reader.ended_at).failure

    def stop(self) -> None:
        """End soon, in good order; may be called from any thread and from a signal's handler."""
        self._stopping = True

    def summary(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready."""
        now = self._clock()
        reloader = self._reloader
        return {
            "streams": {stream.reader.name: stream.summary(now) for stream in self._streams},
            "model": {
                "file": self._file,
                "sha256": self._sha256 if reloader is None else reloader.sha256,
                "reloads": 0 if reloader is None else reloader.reloads,
                "refused": 0 if reloader is None else reloader.refused,
            },
            "machine": self._watch.machine,
            "sinks": self._dispatcher.dropped(),
            "seconds": round(now - self._started, 3),
        }

    def _info(self, stream: LiveStream, contract: Contract, channel_map: dict[str, str]) -> StreamInfo:
        source = stream.reader.source
        return StreamInfo(
            name=stream.reader.name,
            ch_names=tuple(source.ch_names),
            sfreq=source.sfreq,
            unit=source.unit,
            rails_uv=source.rails_uv,
            device=source.device,
            live=source.live,
            contract=contract,
            model=self._file,
            model_sha256=self._sha256,
            channel_map=channel_map,
            mains_hz=stream.path.mains_hz,
            algorithmic_delay_ms=stream.delay_ms,
            profile=None if self._profile is None else self._profile.name,
        )

    def _batches(self) -> tuple[int, ...]:
        most = min(len(self._streams), self._runner.most_batch or len(self._streams))
        return tuple(sorted({1, most}))

    def _effective(self, contract: Contract, sha256: str) -> Contract:
        return contract if self._profile is None else self._profile.apply(contract, sha256)

    def _serve(self, end: float | None) -> None:
        while not self._stopping and not self._dispatcher.deserted:
            taken = self._ready.collect(self._due_in(), self._wants)
            now = self._clock()
            for reader, chunks in taken:
                if chunks:
                    self._of[reader].push(chunks, now)
                    self._pass_undecided(self._of[reader])
            self._infer_due()
            if now >= self._look_at:
                self._look_around(now)
            if end is not None and self._live and now >= end:
                break
            if all(stream.reader.done and not stream.waiting for stream in self._streams):
                break
        # What was cut before the end is decided; there is never much of it.
        self._wait_s = 0.0
        while not self._dispatcher.deserted and self._pending:
            self._infer_due()

    def _due_in(self) -> float:
        """Return how long the loop may wait for samples."""
        if not self._pending:
            return _TURN_S
        return min(_TURN_S, max(0.0, self._oldest() + self._wait_s - self._clock()))

    def _oldest(self) -> float:
        return min(stream.waiting[0].since for stream in self._pending)

    def _wants(self, reader: SourceReader) -> bool:
        """Return whether a reader may be taken from: who is not live waits for the model."""
        return reader.source.live or not self._of[reader].waiting

    def _pass_undecided(self, stream: LiveStream) -> None:
        """Tell of the windows at the head of a stream's queue that need no model."""
        while stream.waiting and not stream.waiting[0].window.valid:
            stream.decide(stream.waiting.popleft(), None, self._clock())
        if stream.waiting:
            self._pending[stream] = None
        else:
            self._pending.pop(stream, None)

    def _infer_due(self) -> None:
        ready = list(self._pending)
        if not ready:
            return
        if self._wait_s and self._clock() < self._oldest() + self._wait_s:
            others = (stream for stream in self._streams if stream not in self._pending)
            if not all(stream.reader.done for stream in others):
                return
        if self._reloader is not None and (successor := self._reloader.take()) is not None:
            self._adopt(successor)
        most = self._runner.most_batch or len(ready)
        for at in range(0, len(ready), most):
            streams = ready[at : at + most]
            self._infer(streams, [stream.waiting.popleft() for stream in streams])
        for stream in ready:
            self._pass_undecided(stream)

    def _infer(self, streams: Sequence[LiveStream], held: Sequence[Waiting]) -> None:
        first = held[0].window.data[None]
        logits = self._runner.logits(first if len(held) == 1 else np.stack([one.window.data for one in held]))
        if not np.isfinite(logits).all():
            raise RunnerError(f"{self._runner.artifact} gave logits that are not finite", got=logits.tolist())
        now = self._clock()
        for stream, one, row in zip(streams, held, logits, strict=True):
            stream.decide(one, row, now)

    def _adopt(self, runner: Runner) -> None:
        before, self._runner = self._runner, runner
        assert self._reloader is not None
        contract = self._effective(runner.contract, self._reloader.sha256)
        for stream in self._streams:
            stream.adopt(contract)
            stream.reader.tell(Notice("model", f"sha256 {self._reloader.sha256}"))
        before.deactivate()

    def _report_failures(self) -> None:
        for reader in (stream.reader for stream in self._streams):
            if reader.failure is not None and reader.name not in self.failures:
                self.failures[reader.name] = reader.failure
                reader.tell(Notice("failed", reader.failure.what))
                self._note(f"the source {reader.name} was lost: {reader.failure}")

    def _look_around(self, now: float) -> None:
        self._look_at = now + _TURN_S
        self._report_failures()
        if self._watch.fault is not None:
            raise self._watch.fault
        if now - self._status_at >= _STATUS_S:
            self._status_at = now
            self._dispatcher.status(self.summary())

    def _close(self) -> None:
        for stream in self._streams:
            with contextlib.suppress(MimambaError):
                stream.reader.close()
        for stream in self._streams:
            if not stream.reader.join(_LAST_S):
                self._note(f"{stream.reader.name} did not stop within {_LAST_S:g} s and was abandoned")
        self._report_failures()
        self._watch.close()
        if self._reloader is not None:
            self._reloader.close()
        if self._runner is not self._given:
            self._runner.deactivate()
        if self._begun:
            self._dispatcher.status(self.summary())
            self._dispatcher.close()


def _check(runner: Runner, sources: Sequence[Source], deadline_ms: float | None) -> None:
    if not sources:
        raise ConfigError("no source was given")
    if deadline_ms is not None and not 0 <= deadline_ms <= 1000:
        raise ConfigError("the deadline is out of range", got=deadline_ms, expected="0 to 1000 milliseconds")
    if runner.least_batch > 1:
        raise RunnerError(
            f"{runner.artifact} cannot take single windows",
            got=f"batches of at least {runner.least_batch}",
            do="build the plan with --batch 1, or 1:8:64 for several streams",
        )

"""The stream engine: several sources, one model, one loop that never waits for a sink that may be late."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, MimambaError, SourceError
from mimamba_edge.naming import distinct
from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.batching import Batcher
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.dispatch import SinkDispatcher
from mimamba_edge.stream.live_stream import LiveStream
from mimamba_edge.stream.monitor import Monitor
from mimamba_edge.stream.names import check_map, map_for
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.preprocessing import format_of, named
from mimamba_edge.stream.queue import ReadyReaders, SourceReader
from mimamba_edge.stream.reload import ModelFile, Reloader, check_runner
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sources.base import Notice, Source

__all__ = ["StreamEngine"]

_TURN_S = 0.1
"""Longest wait of the loop: a stop is noticed within it."""
_STATUS_S = 1.0
_SWITCH_S = 5e-4
_LAST_S = 5.0
"""Seconds a source gets to end."""


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
        options: What can be chosen.
        model: The file the runner was made of, for the record; it is watched if it can be opened again.
        note: Told for people, one event a call.
        decided: Called after each decision.
        clock: Monotonic seconds.

    Attributes:
        infos: What sinks are told of the streams.
        failures: The errors of the sources that failed, by stream.
        streams: The streams.
        reloader: Watches the model's file, if it does.

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
        options: StreamOptions = StreamOptions(),  # noqa: B008 - frozen
        model: ModelFile | None = None,
        note: Callable[[str], None] = lambda text: None,
        decided: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        contract = runner.contract
        _check(sources, options)
        check_map(options.channel_map, contract.ch_names)
        names = distinct((source.name for source in sources), "{} ({})")
        self._options, self._note, self._clock = options, note, clock
        self._given = runner
        self._file = Path(runner.artifact).name
        self._sha256 = sha256_file(model.path) if model is not None and model.path.is_file() else ""
        self._live = any(source.live for source in sources)
        self._ready = ReadyReaders()
        self._dispatcher = SinkDispatcher(sinks, note, decided)
        self.streams: list[LiveStream] = []
        self.infos: list[StreamInfo] = []
        for name, source in zip(names, sources, strict=True):
            self._add(name, source, several=len(names) > 1)
        self._of = {stream.reader: stream for stream in self.streams}
        self.reloader: Reloader | None = None
        self._batcher = Batcher(
            runner,
            self.streams,
            1e-3 * options.deadline_ms if len(names) > 1 and self._live else 0.0,
            successor=lambda: None if self.reloader is None else self.reloader.take(),
            adopt=self._adopt,
            clock=clock,
        )
        if model is not None and model.reopen is not None:
            self.reloader = Reloader(
                model,
                contract=contract,
                sha256=self._sha256,
                batches=self._batcher.sizes,
                fits=options.effective,
                note=note,
            )
        self._monitor = Monitor(lambda: self.reloader.look() if self.reloader is not None else None)
        self._begun = self._stopping = False
        self._started = self._status_at = self._look_at = clock()
        self.failures: dict[str, SourceError] = {}

    def _add(self, name: str, source: Source, *, several: bool) -> None:
        own = map_for(source.ch_names, self._options.channel_map, strict=not several)
        with named(source):
            options = replace(self._options, channel_map=own)
            decoder = Decoder(self._given, **vars(format_of(source)), options=options)
        reader = SourceReader(name, source, self._dispatcher, self._ready, self._clock)
        stream = LiveStream(reader, decoder, self._dispatcher, name if several else None)
        self.streams.append(stream)
        self.infos.append(
            _info(stream, own, self._given.contract, self._options, model=self._file, sha256=self._sha256)
        )

    def begin(self) -> None:
        """Open the sinks and warm up the model; :meth:`run` does so where nobody has before.

        Raises:
            MimambaError: A sink cannot be opened, or the model does not run.
        """
        if not self._begun:
            check_runner(self._given, self._batcher.sizes)
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
            self._monitor.start()
            for stream in self.streams:
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
        return max((stream.reader for stream in self.streams), key=lambda reader: reader.ended_at).failure

    def stop(self) -> None:
        """End soon, in good order; may be called from any thread and from a signal's handler."""
        self._stopping = True

    def summary(self) -> dict[str, Any]:
        """Return what happened so far, JSON-ready."""
        now = self._clock()
        reloader = self.reloader
        return {
            "streams": {stream.reader.name: stream.summary(now) for stream in self.streams},
            "model": {
                "file": self._file,
                "sha256": self._sha256 if reloader is None else reloader.sha256,
                "reloads": 0 if reloader is None else reloader.reloads,
                "refused": 0 if reloader is None else reloader.refused,
            },
            "machine": self._monitor.machine,
            "sinks": self._dispatcher.dropped(),
            "seconds": round(now - self._started, 3),
        }

    def _serve(self, end: float | None) -> None:
        while not self._stopping and not self._dispatcher.deserted:
            taken = self._ready.collect(self._batcher.due_in(_TURN_S), self._wants)
            now = self._clock()
            fed = [(self._of[reader], chunks) for reader, chunks in taken if chunks]
            for stream, chunks in fed:
                stream.push(chunks, now)
                self._batcher.note_ready(stream)
            self._batcher.infer_due()
            for stream, _ in fed:
                stream.finish()
                self._batcher.note_ready(stream)
            if now >= self._look_at:
                self._look_around(now)
            if end is not None and self._live and now >= end:
                break
            if all(stream.reader.done and not stream.waiting for stream in self.streams):
                break
        # What was cut before the end is decided.
        self._batcher.finish(lambda: not self._dispatcher.deserted)

    def _wants(self, reader: SourceReader) -> bool:
        """Return whether a reader may be taken from: whose producer can wait waits for the model."""
        return not reader.waits or not self._of[reader].waiting

    def _adopt(self, runner: Runner) -> None:
        assert self.reloader is not None
        contract = self._options.effective(runner.contract, self.reloader.sha256)
        for stream in self.streams:
            stream.adopt(contract)
            stream.reader.tell(Notice("model", f"sha256 {self.reloader.sha256}"))

    def _report_failures(self) -> None:
        for reader in (stream.reader for stream in self.streams):
            if reader.failure is not None and reader.name not in self.failures:
                self.failures[reader.name] = reader.failure
                reader.tell(Notice("failed", reader.failure.what))
                self._note(f"the source {reader.name} failed and will not come back: {reader.failure}")

    def _look_around(self, now: float) -> None:
        self._look_at = now + _TURN_S
        self._report_failures()
        if self._monitor.fault is not None:
            raise self._monitor.fault
        if now - self._status_at >= _STATUS_S:
            self._status_at = now
            self._dispatcher.status(self.summary())

    def _close(self) -> None:
        for stream in self.streams:
            with contextlib.suppress(MimambaError):
                stream.reader.close()
        for stream in self.streams:
            if not stream.reader.join(_LAST_S):
                self._note(f"{stream.reader.name} did not stop within {_LAST_S:g} s and was abandoned")
        self._report_failures()
        self._monitor.close()
        if self.reloader is not None:
            self.reloader.close()
        if self._batcher.runner is not self._given:
            self._batcher.runner.deactivate()
        if self._begun:
            self._dispatcher.status(self.summary())
            self._dispatcher.close()


def _info(
    stream: LiveStream,
    channel_map: dict[str, str],
    contract: Contract,
    options: StreamOptions,
    *,
    model: str,
    sha256: str,
) -> StreamInfo:
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
        model=model,
        model_sha256=sha256,
        channel_map=channel_map,
        mains_hz=stream.decoder.preprocessor.mains_hz,
        algorithmic_delay_ms=stream.decoder.delay_ms,
        profile=None if options.profile is None else options.profile.name,
    )


def _check(sources: Sequence[Source], options: StreamOptions) -> None:
    if not sources:
        raise ConfigError("no source was given")
    if not 0 <= options.deadline_ms <= 1000:
        raise ConfigError(
            "the deadline is out of range", got=options.deadline_ms, expected="0 to 1000 milliseconds"
        )

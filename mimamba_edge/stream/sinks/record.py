"""The recording of a stream: a session folder for each source."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mimamba_edge.append import Syncer
from mimamba_edge.artifact import sha256_bytes
from mimamba_edge.data.session_format import SessionInfo
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.sessions.identity import (
    default_subject,
    make_sessions_folder,
    next_run,
    source_kind,
    today,
)
from mimamba_edge.signal.montage import microvolts_per
from mimamba_edge.stream.decision import Decision
from mimamba_edge.stream.sinks.base import Sink, StreamInfo
from mimamba_edge.stream.sources.base import Chunk, Notice

__all__ = ["Recorder", "open_spec"]


def open_spec(rest: str) -> Sink:
    """Open ``record:FOLDER``.

    Raises:
        ConfigError: No folder is named.
    """
    if not rest:
        raise ConfigError("record: needs a folder", got="record:", expected="for example record:sessions")
    return Recorder(Path(rest))


class Recorder(Sink):
    """Records every stream: all channels of the source in microvolts, as they came; notices; decisions.

    Args:
        folder: Where the session folders are made. Who is recorded there goes by the folder's pseudonym;
            where there are several streams, each by that with its number.
    """

    name = "record"
    lossless = True

    def __init__(self, folder: Path) -> None:
        self._root = Path(folder)
        self._writers: dict[str, SessionWriter] = {}
        self._factors: dict[str, float] = {}
        self._syncer = Syncer()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The session folders, in the order of the streams."""
        return tuple(writer.folder for writer in self._writers.values())

    def begun(self) -> str:
        """Return where the session folders are."""
        return "recorded in " + ", ".join(str(folder) for folder in self.folders)

    def begin(self, streams: Sequence[StreamInfo]) -> None:
        """Make the folders.

        Raises:
            OutputError: They cannot be made or written.
            SignalError: A source's unit is not one of a voltage.
        """
        self._factors = {stream.name: microvolts_per(stream.unit) for stream in streams}
        make_sessions_folder(self._root)
        who, day = default_subject(self._root), today()
        for number, stream in enumerate(streams, start=1):
            subject = who if len(streams) == 1 else f"{who}-{number}"
            info = SessionInfo(
                subject=subject,
                session=day,
                run=next_run(self._root, subject, day),
                ch_names=tuple(stream.ch_names),
                sfreq=stream.sfreq,
                rails_uv=stream.rails_uv,
                device=stream.device,
                source=source_kind(stream.name),
                contract_sha256=sha256_bytes(stream.contract.to_json().encode()),
                model=stream.model,
                model_sha256=stream.model_sha256,
                profile=stream.profile,
                mains_hz=stream.mains_hz,
            )
            self._writers[stream.name] = SessionWriter(self._root, info, self._syncer)

    def chunk(self, stream: str, chunk: Chunk) -> None:
        """Record samples."""
        self._writers[stream].write(chunk.samples * self._factors[stream], chunk.timestamps)

    def decision(self, decision: Decision) -> None:
        """Record a decision."""
        only = next(iter(self._writers))
        name = only if decision.stream is None else decision.stream
        writer = self._writers[name]
        try:
            line = dataclasses.replace(decision, stream=None).to_json()
        except ValueError as error:
            # A figure that is no number must not cost the signal.
            writer.event("decision-unwritable", str(error))
        else:
            writer.decision(line)

    def notice(self, stream: str, notice: Notice) -> None:
        """Record what befell a stream."""
        self._writers[stream].event(notice.kind, notice.text, n=notice.n, sample=notice.sample)

    def close(self) -> None:
        """End every session in good order.

        Raises:
            OutputError: The disk is full or failed; what was recorded until then is kept.
        """
        failure: OutputError | None = None
        failed = next((writer.failed for writer in self._writers.values() if writer.failed), "")
        for writer in self._writers.values():
            # One that fails ends the recording of all, before its time.
            writer.failed = writer.failed or failed
            try:
                writer.close()
            except OutputError as error:
                failure = failure or error
        self._syncer.close()
        if failure is not None:
            raise failure

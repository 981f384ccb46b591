"""A recording played as an LSL stream of this process, as a device sends it, through the stream engine."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence

from mimamba_edge.data.recording import Recording
from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sources.spec import open_source
from tests.stream.sources.lsl_world import Outlet, pylsl

__all__ = ["play_by_lsl"]


def play_by_lsl(runner: Runner, recording: Recording, sinks: Sequence[Sink]) -> None:
    """Send all samples, and end when all of them have arrived.

    Each chunk waits until those before it have arrived and are decided on. Sent faster than real time,
    windows would else wait for the model on a busy machine and give way to newer ones, as they do live.
    """
    name, shift = uuid.uuid4().hex, pylsl.local_clock() - recording.timestamps[0]
    ended = threading.Event()
    with Outlet(name, recording.ch_names) as outlet:
        source = open_source(f"lsl:name={name}")
        engine = StreamEngine(runner, [source], sinks=list(sinks))
        (stream,) = engine.streams

        def until_decided(sent: int) -> None:
            while (stream.decoder.report["samples"] < sent or stream.waiting) and not ended.wait(2e-4):
                pass

        def push() -> None:
            outlet.wait_for_consumer()
            for at in range(0, len(recording.samples), 12):
                part = slice(at, at + 12)
                outlet.push(recording.samples[part], recording.timestamps[part] + shift)
                until_decided(min(part.stop, len(recording.samples)))
            engine.stop()

        pusher = threading.Thread(target=push, daemon=True)
        pusher.start()
        summary = engine.run(seconds=120)["streams"][source.name]
        ended.set()
        pusher.join(30)
    counted = {key: summary[key] for key in ("samples", "dropped", "overruns")}
    assert counted == {"samples": len(recording.samples), "dropped": 0, "overruns": 0}

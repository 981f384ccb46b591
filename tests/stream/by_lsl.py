"""A recording played as an LSL stream of this process, as a device sends it, through the stream engine."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence

from mimamba_edge.data.recording import Recording
from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sources.spec import open_source
from tests.stream.sources.lsl_world import Outlet, pylsl

__all__ = ["play_by_lsl"]


def play_by_lsl(runner: Runner, recording: Recording, sinks: Sequence[Sink]) -> None:
    """Send all samples, and end when all of them have arrived."""
    name, shift = uuid.uuid4().hex, pylsl.local_clock() - recording.timestamps[0]
    with Outlet(name, recording.ch_names) as outlet:
        source = open_source(f"lsl:name={name}")
        engine = StreamEngine(runner, [source], sinks=list(sinks))

        def received() -> int:
            return int(engine.summary()["streams"][source.name]["samples"])

        def push() -> None:
            outlet.wait_for_consumer()
            for at in range(0, len(recording.samples), 12):
                part = slice(at, at + 12)
                outlet.push(recording.samples[part], recording.timestamps[part] + shift)
                _until(lambda at=at: received() > at - 200)
            _until(lambda: received() >= len(recording.samples))
            engine.stop()

        pusher = threading.Thread(target=push, daemon=True)
        pusher.start()
        summary = engine.run(seconds=60)
        pusher.join(30)
    assert summary["streams"][source.name]["samples"] == len(recording.samples)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(5e-4)

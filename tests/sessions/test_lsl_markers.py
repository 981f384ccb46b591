"""Markers of an LSL stream beside an LSL signal, on loopback: trials at the samples that were meant."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.recorder.capture import Capture, Ending, new_session, open_markers
from mimamba_edge.sessions.trials import Epochs
from mimamba_edge.stream.sources import lsl, lsl_network
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.spec import open_source
from tests.stream.sources.lsl_world import Outlet, make_info, pylsl

HOSTILE = 'x\x1b[2J,"\n../../'


def test_markers_on_lsls_clock_find_the_samples_of_an_lsl_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsl_network, "OTHERS_S", 0.1)
    monkeypatch.setattr(lsl, "OFFSET_EVERY_S", 0.05)
    name = f"R{uuid.uuid4().hex[:8]}"
    rng = np.random.default_rng(0)
    samples, times = rng.normal(0, 40, (1536, 4)), pylsl.local_clock() + np.arange(1536) / 256
    marked = {300: "30", 500: HOSTILE, 900: "20"}
    texts = pylsl.StreamOutlet(make_info(f"{name}m", ("marker",), kind="Markers", sfreq=0.0, fmt="string"))
    with Outlet(name) as outlet:
        source = open_source(f"lsl:name={name}")
        (tap,) = open_markers([f"lsl:{name}m"])

        def play() -> None:
            outlet.wait_for_consumer()
            for at in range(0, 1536, 64):
                outlet.push(samples[at : at + 64], times[at : at + 64])
                for sample in [s for s in marked if at <= s < at + 64]:
                    texts.push_sample([marked[sample]], times[sample])

        pulled: list[str] = []
        real = tap.pull

        def counted(timeout_s: float = 0.0) -> tuple[str, float] | None:
            marker = real(timeout_s)
            pulled.extend([] if marker is None else [marker[0]])
            return marker

        monkeypatch.setattr(tap, "pull", counted)
        writer = new_session(tmp_path, source, subject="p01", session="one", run=None)
        ending, player = Ending(), threading.Thread(target=play)

        def watch(capture: Capture, chunk: Chunk) -> None:
            known = getattr(capture.source, "clock_offset_s", None) is not None
            if capture.writer.n == 1536 and len(pulled) == 3 and known:
                ending.by = 15

        player.start()
        Capture(
            source,
            writer,
            markers=[tap],
            epochs=Epochs({"30": "flicker-30hz", "20": "flicker-20hz"}, 0.5, 1.5, 256.0),
        ).run(ending, watch)
        player.join()
    recording = read_recording(writer.folder / "signal.csv")
    assert recording.samples.tobytes() == samples.tobytes()
    assert recording.timestamps.tobytes() == times.tobytes()
    events = [json.loads(line) for line in (writer.folder / "events.jsonl").read_text().splitlines()]
    assert {e["sample"]: e["text"] for e in events if e["kind"] == "marker"} == marked
    trials = read_labels(writer.folder)
    assert [(t.label, round(t.start_s * 256), round(t.stop_s * 256)) for t in trials] == [
        ("flicker-30hz", 428, 684),
        ("flicker-20hz", 1028, 1284),
    ]

"""What a stream recorded gives its decisions again, to the bit, whatever befell it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.stream.decision import softmax
from mimamba_edge.stream.sinks.record import Recorder
from mimamba_edge.stream.sources.base import Chunk, Notice
from mimamba_edge.stream.sources.recording import FileSource
from tests.stream.engines import CONTRACT, Played, formula, hub_of


def _troubled() -> Iterator[Chunk]:
    """30 s of a headset: NaN, a packet twice, half a second lost, one that came late, the clock set back."""
    rng = np.random.default_rng(4)
    n = 30 * 256
    samples = rng.normal(0, 30, (n, 4)) + np.linspace(0, 100, n)[:, None]
    samples[2000:2003, 1] = np.nan
    timestamps = 1.7e9 + np.arange(n) / 256.03 + rng.uniform(0, 0.004, n)
    timestamps[6000:] -= 3.0
    packets = [(samples[at : at + 12], timestamps[at : at + 12]) for at in range(0, n, 12)]
    packets.insert(120, packets[119])
    packets[300], packets[302] = packets[302], packets[300]
    del packets[400:411]
    for number, (rows, times) in enumerate(packets):
        notices = (Notice("marker", "x\x1b[2J", sample=12 * number),) if number == 50 else ()
        yield Chunk(rows.copy(), times.copy(), notices=notices)


@pytest.mark.parametrize("counted", [False, True])
def test_decisions_come_again_from_what_was_recorded(tmp_path: Path, counted: bool) -> None:
    recorder, source = Recorder(tmp_path), Played(_troubled(), live=False)
    source.device = {"packet_counter": counted}
    engine, kept, _ = hub_of(source, sinks=[recorder])
    engine.run()
    (folder,) = recorder.folders
    recording = read_recording(folder / "signal.csv")
    assert recording.counted is counted
    seen = np.concatenate([chunk.samples for chunk in kept.chunks["played"]])
    assert recording.samples.tobytes() == seen.tobytes()
    lines = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert len(lines) == len(kept.decisions) > 200
    again = {(w.start, w.stop): w for w in stream_windows(recording, CONTRACT)}
    assert list(again) == [tuple(line["window"]) for line in lines]
    for line in lines:
        window = again[tuple(line["window"])]
        assert line["reason"] == window.reason
        if window.valid:
            p = softmax(formula(window.data[None]).astype(np.float32)[0], CONTRACT.temperature)
            assert list(line["probs"].values()) == [round(v, 6) for v in p.tolist()]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    kinds = {event["kind"] for event in events}
    assert {"marker", "duplicate", "lost", "clock-step", "ended"} <= kinds
    told = [(notice.kind, notice.n, notice.sample) for _, notice in kept.notices]
    assert [(e["kind"], e["n"], e["sample"]) for e in events[:-1]] == told
    replayed, again_kept, _ = hub_of(FileSource(folder, speed="max"))
    replayed.run()
    assert [(d.window, d.reason, d.probs) for d in again_kept.decisions] == [
        (d.window, d.reason, d.probs) for d in kept.decisions
    ]

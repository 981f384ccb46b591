from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import preprocessor_for_recording, stream_windows
from mimamba_edge.errors import ConfigError, RunnerError, SourceError
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.stream.decision import softmax
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.outcome import check_outcome, describe
from mimamba_edge.stream.serve import stopped_by_signals
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.recording import FileSource
from tests.stream.engines import CONTRACT, Kept, Model, Played, formula, hub_of

KEYS = ["schema", "t_s", "t_unix", "window", "label", "probs", "valid", "reason", "quality", "latency_ms"]
KEYS += ["algorithmic_delay_ms"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with a hole of 50 ms to 1 s in it."""
    path = tmp_path_factory.mktemp("stream") / "a.csv"
    simulated, _ = simulate_recording(["calm", "excited"], seed=4)
    simulated.samples[2000:2100, 1] = np.nan
    write_recording(path, simulated)
    return path


def sizes() -> list[int]:
    """32 sizes of chunks, from one sample to the whole recording."""
    return [*range(1, 26), 32, 33, 100, 256, 257, 1000, 10**6]


@pytest.mark.parametrize("size", sizes())
def test_stream_and_offline_see_the_same_bits(recording: Path, size: int) -> None:
    engine, kept, batches = hub_of(FileSource(recording, speed="max", chunk=size))
    engine.run()
    decisions, seen = kept.decisions, [batch[0] for batch in batches]
    assert {len(batch) for batch in batches} == {1}
    offline = stream_windows(read_recording(recording), CONTRACT)
    assert [d.window for d in decisions] == [(w.start, w.stop) for w in offline]
    assert [d.reason for d in decisions] == [w.reason for w in offline]
    assert {d.reason for d in decisions} == {None, "gap", "settling"}
    valid = [w for w in offline if w.valid]
    assert len(seen) == len(valid) > 30
    assert all(np.array_equal(a, w.data) for a, w in zip(seen, valid, strict=True))
    for d, w in zip((d for d in decisions if d.valid), valid, strict=True):
        z = np.exp(formula(w.data[None]).astype(np.float32)[0].astype(float) / 2.0)
        assert d.probs == pytest.approx(dict(zip(CONTRACT.class_names, z / z.sum(), strict=True)), abs=2e-6)
        assert d.label == CONTRACT.class_names[int(np.argmax(z))]


@pytest.mark.data
def test_a_real_recording_is_decided_on_from_settling_to_the_end(recordings: Path) -> None:
    engine, kept, batches = hub_of(FileSource(recordings / "run-06.csv", speed="max"))
    engine.run()
    decisions, seen = kept.decisions, [batch[0] for batch in batches]
    offline = stream_windows(read_recording(recordings / "run-06.csv"), CONTRACT)
    assert all(np.array_equal(a, w.data) for a, w in zip(seen, (w for w in offline if w.valid), strict=True))
    reasons = [d.reason for d in decisions]
    assert reasons.index(None) < 30
    assert set(reasons[reasons.index(None) :]) == {None}
    assert len(decisions) == (30732 // 2 - 128) // 16 + 1


def test_a_line_holds_what_it_promises(recording: Path) -> None:
    engine, kept, _ = hub_of(FileSource(recording, speed="max"))
    summary = engine.run()
    lines = [json.loads(decision.to_json()) for decision in kept.decisions]
    for line in lines:
        assert list(line) == KEYS
        assert (line["label"] is None) == (line["probs"] is None) == (not line["valid"])
        assert (line["reason"] is None) == line["valid"]
        assert line["t_unix"] is None
        assert line["t_s"] == pytest.approx(line["window"][1] / 128, abs=0.03)
        assert line["latency_ms"] >= 0
        assert set(line["quality"]) == {"TP10", "AF7"}
    path = preprocessor_for_recording(read_recording(recording), CONTRACT)
    assert lines[0]["algorithmic_delay_ms"] == pytest.approx(path.algorithmic_delay_ms(), abs=1e-3)
    text, decided = describe(summary), sum(line["valid"] for line in lines)
    assert f"{len(lines)} windows: {decided} decided" in text
    assert "100 NaN" in text
    assert "1 marked" in text


def test_latency_is_from_the_newest_sample_to_the_decision(recording: Path) -> None:
    now = [100.0]

    def slow(windows: np.ndarray) -> None:
        now[0] += 0.004

    model, kept = Model(before=slow), Kept()
    engine = StreamEngine(
        model.runner, [FileSource(recording, speed="max")], sinks=[kept], clock=lambda: now[0]
    )
    summary = engine.run()
    assert {d.latency_ms for d in kept.decisions} == {0.0, 4.0}
    assert {d.latency_ms for d in kept.decisions if d.valid} == {4.0}
    latency = summary["streams"][str(recording)]["latency_ms"]
    assert latency == pytest.approx({"p50": 4.0, "p99": 4.0, "max": 4.0}, rel=0.01)
    # Live samples bring along when they came.
    a = read_recording(recording)
    chunk = Chunk(a.samples[:2560], a.timestamps[:2560], arrived=99.0, t_unix=1.7e9)
    engine = StreamEngine(model.runner, [Played([chunk])], sinks=[kept := Kept()], clock=lambda: now[0])
    engine.begin()
    now[0] = 100.0
    engine.run()
    valid = [d for d in kept.decisions if d.valid]
    assert [d.latency_ms for d in valid] == [pytest.approx(1004 + 4 * i) for i in range(len(valid))]
    assert {d.t_unix for d in kept.decisions} == {1.7e9}


def test_real_time_keeps_the_pace_of_the_samples(recording: Path) -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    source = FileSource(recording, speed="realtime", chunk=12, clock=lambda: now[0], sleep=sleep)
    seen = 0
    for chunk in source.chunks():
        seen += len(chunk.samples)
        assert len(chunk.samples) == len(chunk.timestamps)
        assert now[0] - 100.0 == pytest.approx(seen / 256.0)
    with pytest.raises(ConfigError, match="speed"):
        FileSource(recording, speed="fast")


def test_softmax_survives_large_logits() -> None:
    p = softmax(np.array([1000.0, 0.0, -1000.0], np.float32), 1.0)
    assert p.tolist() == [1.0, 0.0, 0.0]
    assert softmax(np.array([1.0, 2.0], np.float32), 2.0)[1] == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_a_source_that_does_not_fit_names_what_was_found(recording: Path) -> None:
    source = FileSource(recording, speed="max")
    source.ch_names = ("Fz", "Cz", "Pz", "Oz")
    with pytest.raises(SourceError, match=r"(?s)a\.csv: .*TP10, AF7\n.*Fz, Cz, Pz, Oz.*--map"):
        hub_of(source)
    with pytest.raises(SourceError, match=r"(?s)of the model: AF7 \(by the map: AF9\)\n.*Fz, Cz, Pz, Oz"):
        hub_of(source, channel_map={"TP10": "Cz", "AF7": "AF9"})
    with pytest.raises(ConfigError, match="does not have"):
        hub_of(source, channel_map={"Oz": "Cz"})


def test_channels_go_by_the_map(recording: Path) -> None:
    source = FileSource(recording, speed="max")
    source.ch_names = ("Fz", "Cz", "Pz", "Oz")
    engine, kept, _ = hub_of(source, channel_map={"TP10": "Oz", "AF7": "Cz"})
    engine.run()
    plain, expected, _ = hub_of(FileSource(recording, speed="max"))
    plain.run()
    assert [d.probs for d in kept.decisions] == [d.probs for d in expected.decisions]
    assert kept.infos[0].channel_map == {"TP10": "Oz", "AF7": "Cz"}


def test_logits_that_are_no_numbers_end_the_stream(recording: Path) -> None:
    calls = []

    def fails(windows: np.ndarray) -> np.ndarray:
        calls.append(1)
        return np.full((len(windows), 3), np.nan if len(calls) > 5 else 0.0, np.float32)

    runner = FunctionRunner(fails, CONTRACT, artifact="m.onnx")
    engine = StreamEngine(runner, [FileSource(recording, speed="max")], sinks=[kept := Kept()])
    with pytest.raises(RunnerError, match=r"m\.onnx gave logits that are not finite"):
        engine.run()
    assert len([d for d in kept.decisions if d.valid]) == 4
    assert kept.closed == 1


def test_a_recording_too_short_for_a_window_is_no_success(recording: Path) -> None:
    engine, _, _ = hub_of(FileSource(recording, speed="max"))
    summary = engine.run(seconds=0.5)
    assert summary["streams"][str(recording)]["samples"] == 128
    with pytest.raises(SourceError, match=r"(?s)shorter than one window.*128 samples.*1 s"):
        check_outcome(summary, engine.failures, CONTRACT)


def test_seconds_are_of_signal_where_it_is_not_live(recording: Path) -> None:
    engine, kept, _ = hub_of(FileSource(recording, speed="max", chunk=1000))
    summary = engine.run(seconds=4.5)
    assert summary["streams"][str(recording)]["samples"] == 4.5 * 256
    assert sum(len(chunk.samples) for chunk in kept.chunks[str(recording)]) == 4.5 * 256


class _Interrupted(FileSource):
    def chunks(self) -> Iterator[Chunk]:
        for number, chunk in enumerate(super().chunks()):
            if number == 200:
                signal.raise_signal(signal.SIGINT)
            yield chunk


def test_ctrl_c_ends_in_good_order(recording: Path) -> None:
    engine, kept, _ = hub_of(_Interrupted(recording, speed="max"))
    with stopped_by_signals(engine) as came:
        summary = engine.run()
    assert came == [signal.SIGINT]
    assert 0 < summary["streams"][str(recording)]["samples"] < 3584
    assert kept.closed == 1
    assert kept.decisions


def test_a_reader_that_goes_away_ends_it_quietly(recording: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.stream.engines import Model\n"
        "from mimamba_edge.stream.engine import StreamEngine\n"
        "from mimamba_edge.stream.sinks.spec import open_sink\n"
        "from mimamba_edge.stream.sources.recording import FileSource\n"
        "sinks = [open_sink('jsonl:-')]\n"
        "e = StreamEngine(Model().runner, [FileSource(sys.argv[1])], sinks=sinks, note=print)\n"
        "e.run(); assert e.left_alone\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(recording), root], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert json.loads(pipe.readline())["reason"] == "settling"
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 0

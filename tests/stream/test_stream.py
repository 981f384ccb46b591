from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.errors import ConfigError, RunnerError, SourceError
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.decision import softmax
from mimamba_edge.stream.engine import Engine
from mimamba_edge.stream.lines import write_lines
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.recording import FileSource

CONTRACT = Contract(
    ch_names=("TP10", "AF7"),
    sfreq=128.0,
    n_times=128,
    hop=16,
    class_names=("calm", "excited", "bored"),
    filters=default_filters(128.0, 50.0),
    mains_hz=50.0,
    scaling=Scaling("robust", (0.0, 1.0), (10.0, 20.0)),
    temperature=2.0,
)
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


def _logits(windows: np.ndarray) -> np.ndarray:
    return np.stack([windows.mean(axis=(1, 2)), windows[:, 0].std(axis=1), windows[:, 1, 0]], axis=1)


def _engine(source: Any, **options: Any) -> tuple[Engine, list[np.ndarray]]:
    seen: list[np.ndarray] = []

    def fn(windows: np.ndarray) -> np.ndarray:
        seen.append(windows[0].copy())
        return _logits(windows).astype(np.float32)

    return Engine(FunctionRunner(fn, CONTRACT), source, **options), seen


@pytest.mark.parametrize("size", [1, 7, 12, 256, 10**6])
def test_stream_and_offline_see_the_same_bits(recording: Path, size: int) -> None:
    engine, seen = _engine(FileSource(recording, speed="max", chunk=size))
    decisions = list(engine.decisions())
    offline = stream_windows(read_recording(recording), CONTRACT)
    assert [d.window for d in decisions] == [(w.start, w.stop) for w in offline]
    assert [d.reason for d in decisions] == [w.reason for w in offline]
    assert {d.reason for d in decisions} == {None, "gap", "settling"}
    valid = [w for w in offline if w.valid]
    assert len(seen) == len(valid) > 30
    assert all(np.array_equal(a, w.data) for a, w in zip(seen, valid, strict=True))
    for d, w in zip((d for d in decisions if d.valid), valid, strict=True):
        z = np.exp(_logits(w.data[None]).astype(np.float32)[0].astype(float) / 2.0)
        assert d.probs == pytest.approx(dict(zip(CONTRACT.class_names, z / z.sum(), strict=True)), abs=2e-6)
        assert d.label == CONTRACT.class_names[int(np.argmax(z))]


@pytest.mark.data
def test_a_real_recording_is_decided_on_from_settling_to_the_end(recordings: Path) -> None:
    engine, seen = _engine(FileSource(recordings / "run-06.csv", speed="max"))
    decisions = list(engine.decisions())
    offline = stream_windows(read_recording(recordings / "run-06.csv"), CONTRACT)
    assert all(np.array_equal(a, w.data) for a, w in zip(seen, (w for w in offline if w.valid), strict=True))
    reasons = [d.reason for d in decisions]
    assert reasons.index(None) < 30
    assert set(reasons[reasons.index(None) :]) == {None}
    assert len(decisions) == (30732 // 2 - 128) // 16 + 1


def test_a_line_holds_what_it_promises(recording: Path) -> None:
    engine, _ = _engine(FileSource(recording, speed="max"))
    out, err = io.StringIO(), io.StringIO()
    assert write_lines(engine, out, err) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    for line in lines:
        assert list(line) == KEYS
        assert (line["label"] is None) == (line["probs"] is None) == (not line["valid"])
        assert (line["reason"] is None) == line["valid"]
        assert line["t_unix"] is None
        assert line["t_s"] == pytest.approx(line["window"][1] / 128, abs=0.03)
        assert line["latency_ms"] >= 0
        assert set(line["quality"]) == {"TP10", "AF7"}
    assert lines[0]["algorithmic_delay_ms"] == pytest.approx(engine.path.algorithmic_delay_ms(), abs=1e-3)
    decided = sum(line["valid"] for line in lines)
    assert f"{len(lines)} windows: {decided} decided" in err.getvalue()
    assert "100 NaN" in err.getvalue()
    assert "1 marked" in err.getvalue()


def test_latency_is_from_the_newest_sample_to_the_decision(recording: Path) -> None:
    ticks = iter(range(10**6))
    engine, _ = _engine(FileSource(recording, speed="max"), clock=lambda: next(ticks) * 0.004)
    # One tick when the chunk arrives, one when its only window is decided on.
    assert {d.latency_ms for d in engine.decisions()} == {4.0}
    assert engine.summary()["latency_ms"] == pytest.approx({"p50": 4.0, "p99": 4.0, "max": 4.0})


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
    engine, _ = _engine(source, wall=lambda: 1.7e9 + now[0])
    first = next(engine.decisions())
    assert first.t_unix == pytest.approx(1.7e9 + now[0])
    with pytest.raises(ConfigError, match="speed"):
        FileSource(recording, speed="fast")


def test_softmax_survives_large_logits() -> None:
    p = softmax(np.array([1000.0, 0.0, -1000.0], np.float32), 1.0)
    assert p.tolist() == [1.0, 0.0, 0.0]
    assert softmax(np.array([1.0, 2.0], np.float32), 2.0)[1] == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_a_source_that_does_not_fit_names_what_was_found(recording: Path) -> None:
    source = FileSource(recording, speed="max")
    source.ch_names = ("Fz", "Cz", "Pz", "Oz")
    with pytest.raises(SourceError, match=r"a\.csv: .*TP10, AF7\n.*Fz, Cz, Pz, Oz"):
        _engine(source)


def test_logits_that_are_no_numbers_end_the_stream(recording: Path) -> None:
    runner = FunctionRunner(lambda w: np.full((1, 3), np.nan, np.float32), CONTRACT, artifact="m.onnx")
    with pytest.raises(RunnerError, match=r"m\.onnx gave logits that are not finite"):
        list(Engine(runner, FileSource(recording, speed="max")).decisions())


class _Interrupted(FileSource):
    def chunks(self) -> Iterator[Chunk]:
        for number, chunk in enumerate(super().chunks()):
            if number == 200:
                raise KeyboardInterrupt
            yield chunk


def test_ctrl_c_ends_with_the_summary(recording: Path) -> None:
    engine, _ = _engine(_Interrupted(recording, speed="max"))
    out, err = io.StringIO(), io.StringIO()
    assert write_lines(engine, out, err) == 130
    assert "2400 samples" in err.getvalue()
    assert all(json.loads(line) for line in out.getvalue().splitlines())


def test_a_reader_that_goes_away_ends_it_quietly(recording: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.stream.test_stream import _engine\n"
        "from mimamba_edge.stream.lines import write_lines\n"
        "from mimamba_edge.stream.sources.recording import FileSource\n"
        "engine, _ = _engine(FileSource(sys.argv[1], speed='max'))\n"
        "sys.exit(write_lines(engine, sys.stdout, sys.stderr))\n"
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

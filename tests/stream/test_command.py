"""The commands ``stream`` and ``simulate`` as a user types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import write_dataset
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.decision import softmax
from tests.modelfiles import answers, tiny_contract, write_model

CONTRACT = tiny_contract(
    sfreq=128.0, n_times=64, hop=32, filters=default_filters(128.0, 60.0), mains_hz=60.0, temperature=50.0
)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mimamba_edge", *arguments]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("command") / "data"
    write_dataset(path, runs=1, trials=2)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    pytest.importorskip("onnx")
    path = folder.parent / "m.onnx"
    write_model(path, CONTRACT)
    return str(path)


@pytest.mark.ort
@pytest.mark.torch
def test_stream_decides_as_the_model_does_offline(folder: Path, model: str) -> None:
    source = folder / "run-01.csv"
    done = _run("stream", model, "--source", str(source), "--speed", "max")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    windows = stream_windows(read_recording(source), CONTRACT)
    assert [tuple(line["window"]) for line in lines] == [(w.start, w.stop) for w in windows]
    for line, w in zip(lines, windows, strict=True):
        assert line["reason"] == w.reason
        if w.valid:
            p = softmax(answers(CONTRACT, w.data[None])[0], CONTRACT.temperature)
            assert list(line["probs"].values()) == pytest.approx(p.tolist(), abs=1e-4)
            assert line["label"] == CONTRACT.class_names[int(np.argmax(p))]
    assert "latency: p50" in done.stderr


@pytest.mark.ort
@pytest.mark.torch
def test_stream_refuses_without_a_trace(folder: Path, model: str) -> None:
    done = _run("stream", model, "--source", str(folder / "none.csv"))
    assert done.returncode == 2
    assert "is not there" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.ort
@pytest.mark.torch
def test_ctrl_c_in_real_time(folder: Path, model: str) -> None:
    command = _command("stream", model, "--source", str(folder / "run-01.csv"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["reason"] == "settling"
    assert first["t_unix"] > 1.7e9
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "windows:" in err
    assert "Traceback" not in err


@pytest.mark.ort
@pytest.mark.torch
def test_a_recording_without_a_window_is_no_success(folder: Path, model: str, tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("\n".join((folder / "run-01.csv").read_text().splitlines()[:60]) + "\n")
    done = _run("stream", model, "--source", str(short), "--speed", "max")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "shorter than one window" in done.stderr
    assert "0.5 s" in done.stderr


def test_simulate(tmp_path: Path) -> None:
    done = _run("simulate", str(tmp_path / "x"), "--runs", "1", "--trials", "2", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["labels.csv", "run-01.csv"]
    again = _run("simulate", str(tmp_path / "x"), "--runs", "1", "--trials", "2")
    assert again.returncode == 2
    assert "is not empty" in again.stderr

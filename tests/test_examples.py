"""Each example runs as it stands, from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimamba_edge.data.simulate import write_dataset

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    env = {**os.environ, "MIMAMBA_CACHE": str(folder / "cache")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_is_short_and_says_how_to_run_it() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    assert [path.name[:3] for path in files] == [f"{i:02}_" for i in range(1, 9)]
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 40, path.name
        assert f"python examples/{path.name}" in text.split('"""')[1], path.name


@pytest.mark.ort
def test_decide_on_a_recording(tmp_path: Path) -> None:
    assert "Counter({" in run("01_decide_on_a_recording.py", tmp_path)


@pytest.mark.ort
def test_decide_on_live_samples(tmp_path: Path) -> None:
    assert "s: " in run("02_decide_on_live_samples.py", tmp_path)


@pytest.mark.ort
@pytest.mark.torch
@pytest.mark.slow
def test_export_and_check(tmp_path: Path) -> None:
    out = run("03_export_and_check.py", tmp_path)
    assert "'model.onnx', 'model.trt.onnx', 'model.ref.npz'" in out


@pytest.mark.ort
@pytest.mark.torch
@pytest.mark.slow
def test_quantise(tmp_path: Path) -> None:
    assert "below the acceptance limits" in (out := run("04_quantise.py", tmp_path)) or "wrote " in out


@pytest.mark.ort
def test_write_a_sink(tmp_path: Path) -> None:
    assert "labels: {" in run("05_write_a_sink.py", tmp_path)


def test_write_a_runner(tmp_path: Path) -> None:
    assert "valid=True" in run("06_write_a_runner.py", tmp_path)


@pytest.mark.torch
@pytest.mark.slow
def test_compare_in_scikit_learn(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'mimamba-edge[research]'")
    assert "valid=True" in run("07_compare_in_scikit_learn.py", tmp_path)


@pytest.mark.torch
def test_compare_in_moabb(tmp_path: Path) -> None:
    pytest.importorskip("moabb", reason="needs MOABB: pip install moabb (in a venv; BSD-3, Python 3.11 on)")
    write_dataset(tmp_path / "eeg", runs=3, trials=6)
    out = run("08_compare_in_moabb.py", tmp_path, "eeg", "1")
    assert "tangent space" in out
    assert "smd" in out

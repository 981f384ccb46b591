"""Live sources through the stream engine: the same decisions as from a file, and boards by the map."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.sources.recording import FileSource
from tests.modelfiles import tiny_contract, write_model
from tests.stream.engines import Kept, Model, hub_of


def test_a_file_and_the_same_samples_by_lsl_give_equal_decisions(tmp_path: Path) -> None:
    pytest.importorskip("pylsl", reason="needs pylsl: pip install 'mimamba-edge[live]'")
    from tests.stream.by_lsl import play_by_lsl

    simulated, _ = simulate_recording(["calm"], seed=2)
    simulated.samples[900:910, 1] = np.nan
    write_recording(tmp_path / "a.csv", simulated)
    file_hub, from_file, _ = hub_of(FileSource(tmp_path / "a.csv", speed="max"))
    file_hub.run()
    play_by_lsl(Model().runner, read_recording(tmp_path / "a.csv"), [from_lsl := Kept()])
    assert len(from_file.decisions) == len(from_lsl.decisions) > 20
    for a, b in zip(from_file.decisions, from_lsl.decisions, strict=True):
        assert (a.window, a.label, a.probs, a.reason, a.quality) == (
            *(b.window, b.label, b.probs, b.reason, b.quality),
        )
        assert b.t_unix is not None
        assert abs(b.t_unix - time.time()) < 100
    assert {d.reason for d in from_lsl.decisions} >= {None, "settling"}


@pytest.mark.ort
@pytest.mark.torch
def test_a_synthetic_board_by_the_map_at_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("brainflow", reason="needs brainflow: pip install 'mimamba-edge[live]'")
    contract = tiny_contract(
        ch_names=("TP9", "AF7", "AF8", "TP10", "Right AUX"),
        **{"sfreq": 128.0, "n_times": 64, "hop": 16, "filters": default_filters(128.0, 60.0)},
        mains_hz=60.0,
    )
    write_model(tmp_path / "m.onnx", contract)
    names = {"TP9": "Fz", "AF7": "C3", "AF8": "C4", "TP10": "Pz", "Right AUX": "Oz"}
    maps = [part for model, source in names.items() for part in ("--map", f"{model}={source}")]
    stream = [sys.executable, "-m", "mimamba_edge", "stream", str(tmp_path / "m.onnx")]
    stream += ["--source", "brainflow:synthetic"]
    done = subprocess.run([*stream, *maps, "--seconds", "3"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["window"][0] for line in lines] == [16 * i for i in range(len(lines))]
    assert len(lines) > 8
    assert set(lines[0]["quality"]) == set(names)
    assert lines[0]["t_unix"] > 1.7e9
    assert "Traceback" not in done.stderr

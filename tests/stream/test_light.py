"""`stream` on a device: what it must not load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mimamba_edge.data.simulate import write_dataset

HEAVY = (
    "torch",
    "onnx",
    "onnxscript",
    "mne",
    "pyxdf",
    "brainflow",
    "pandas",
    "matplotlib",
    "mimamba_edge.export",
)
LIVE = ("pylsl", "pythonosc", "websockets")
CODE = """
import json, sys
from mimamba_edge.cli import main
from mimamba_edge.load import builtin_model
try:
    main(["stream", str(builtin_model()), "--speed", "max", *sys.argv[1:]])
except SystemExit as end:
    assert end.code == 0, end.code
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.ort
def test_a_stream_loads_nothing_of_a_workstation_and_nothing_it_was_not_asked_for(tmp_path: Path) -> None:
    write_dataset(tmp_path / "eeg", runs=1, trials=1)
    lines = tmp_path / "live.jsonl"
    command = [
        sys.executable,
        "-c",
        CODE,
        "--source",
        str(tmp_path / "eeg" / "run-01.csv"),
        "--sink",
        f"jsonl:{lines}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert any(json.loads(line)["valid"] for line in lines.read_text(encoding="utf-8").splitlines())
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "onnxruntime" in loaded
    assert not loaded & {*HEAVY, *LIVE}

"""What is wrong by its name alone is answered at once: before torch, which takes seconds, is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimamba_edge.cli.help import VERBS
from mimamba_edge.data.simulate import write_dataset

pytestmark = pytest.mark.torch  # the verbs look whether it is installed

LINES = """
bench NOSUCH.onnx
bench ckpt.pt --data NOSUCH
build NOSUCH.trt.onnx
calibrate NOSUCH.pt --source simulated: -o p.json
calibrate ckpt.pt --source NOSUCH -o p.json
check-signal --source NOSUCH --model ckpt.pt
check-signal --source simulated: --model NOSUCH.pt
data check NOSUCH
doctor NOSUCH.onnx
evaluate NOSUCH.pt eeg
evaluate ckpt.pt NOSUCH
evaluate ckpt.pt eeg --html /proc/NOSUCH/x.html
export NOSUCH.pt
export ckpt.pt --data NOSUCH
inspect NOSUCH.pt
pack NOSUCH.onnx -o a.tar
parity NOSUCH.pt ckpt.pt
parity ckpt.pt NOSUCH.onnx
parity ckpt.pt ckpt.pt --data NOSUCH
plugin install NOSUCH.tar
predict NOSUCH.onnx eeg -o t.csv
predict ckpt.pt NOSUCH -o t.csv
predict ckpt.pt eeg -o /proc/NOSUCH/t.csv
quantize NOSUCH.onnx --to int8
quantize ckpt.pt --to int8 --data NOSUCH
record --source NOSUCH -o s --yes
report NOSUCH.json
session delete NOSUCH
stream NOSUCH.pt --source simulated:
stream ckpt.pt --source NOSUCH
stream ckpt.pt --source NOSUCH:x
stream ckpt.pt --source simulated: --sink NOSUCH:x
stream ckpt.pt --source simulated: --profile NOSUCH.json
train NOSUCH
train eeg --init NOSUCH.pt
""".strip().splitlines()
_NO_PATH = {"demo", "simulate", "sources"}
"""They read nothing that somebody could misspell."""
_CHILD = """
import contextlib, io, json, sys
from mimamba_edge.cli import main
found = {}
for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main(line.split())
        except SystemExit as end:
            said.write(f"exit {end.code}")
        except ImportError as error:
            said.write(f"imported: {error}")
    found[line] = said.getvalue()
json.dump(found, sys.stdout)
"""


def test_every_verb_that_reads_is_looked_at() -> None:
    assert {line.split()[0] for line in LINES} == set(VERBS) - _NO_PATH


def test_torch_is_not_imported_for_it(tmp_path: Path) -> None:
    fake = tmp_path / "fake" / "torch"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise ImportError('torch')\n")
    write_dataset(tmp_path / "eeg", runs=1, trials=2)
    (tmp_path / "ckpt.pt").write_bytes(b"never opened")
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(LINES),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{fake.parent}:{Path(__file__).parents[2]}"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for line, said in json.loads(done.stdout).items():
        assert "NOSUCH" in said or "/proc" in line, (line, said)
        # `doctor` finds, and so ends with 1.
        assert said.endswith("exit 1" if line.startswith("doctor") else "exit 2"), (line, said)

"""Makes the model that `bench` and a fresh device use when no other is named: trained on simulated EEG.

    python -m benchmarks reference-model        (make reference-model)

Writes ``mimamba_edge/models/reference.onnx``, its manifest and its reference input and output. Run it again
when the export, a function body or the contract changes; ``tests/test_reference_model.py`` says when.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODELS = Path(__file__).resolve().parents[1] / "mimamba_edge" / "models"


def run(arguments: argparse.Namespace) -> int:
    """Simulate, train, export, and keep what a device needs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for words in (
            ["simulate", "eeg", "--seed", "1"],
            ["train", "eeg", "--window", "1", "--sfreq", "128", "-o", "reference.pt"],
            ["export", "reference.pt", "-o", "out/reference.onnx", "--data", "eeg"],
        ):
            subprocess.run([sys.executable, "-m", "mimamba_edge", *words], cwd=folder, check=True)
        MODELS.mkdir(exist_ok=True)
        for path in sorted((folder / "out").iterdir()):
            # A device has no TensorRT plugin for the bare file yet, and never needs both.
            if ".trt." not in path.name:
                shutil.copyfile(path, MODELS / path.name)
                print(f"{MODELS / path.name}: {path.stat().st_size / 1024:.0f} KiB")
    return 0

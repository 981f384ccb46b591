"""The gate of an export: the file as written, run by ONNX Runtime, against the checkpoint in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, PERIODS, Contract
from mimamba_edge.export.families.msimamba.network import MSiMamba
from mimamba_edge.export.onnx.intermediate_outputs import runner_with_periods
from mimamba_edge.export.runner import TorchRunner
from mimamba_edge.parity.compare import Check, Parity, compare_outputs, run_all
from mimamba_edge.parity.gates import gate_for
from mimamba_edge.runtime.base import Arrays
from mimamba_edge.runtime.ort import OrtRunner

__all__ = ["BATCH_RTOL", "answers", "verify"]

BATCH_RTOL = 1e-5
"""How far the answer for a window may depend on its batch, relative to the largest logit."""
_BATCHES = (1, 3)
_IN_BATCHES = 24
"""Windows that are also run in small batches."""


def answers(model: MSiMamba, contract: Contract, windows: NDArray[np.float32]) -> Arrays:
    """Return the logits and periods of a checkpoint's model in PyTorch."""
    with TorchRunner((model, contract)) as runner:
        return run_all(runner, windows)


def verify(path: Path, reference: Arrays, windows: NDArray[np.float32]) -> Parity:
    """Judge a portable file by a checkpoint's answers, and by its own in batches of 1, 3 and all.

    Args:
        path: The file, its manifest beside it.
        reference: What :func:`answers` gave for the windows.
        windows: ``(n, n_chans, n_times)`` float32.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file.
        RunnerError: It cannot run it.
    """
    with OrtRunner(path) as runner:
        got = run_all(runner, windows, batch=len(windows))
        some = windows[:_IN_BATCHES]
        parts = [run_all(runner, some, batch=batch)[LOGITS] for batch in _BATCHES]
    with runner_with_periods(path) as shown:
        got[PERIODS] = run_all(shown, windows)[PERIODS]
    parity = compare_outputs(reference, got, windows, runner.contract, gate_for("fp32"))
    spread = max(float(np.abs(np.subtract(part, got[LOGITS][:_IN_BATCHES])).max()) for part in parts)
    spread /= float(np.abs(reference[LOGITS]).max()) or 1.0
    parity.checks.append(
        Check(
            "same answer in any batch",
            f"{spread:.1e} of max |logit|",
            f"<= {BATCH_RTOL:g}",
            spread <= BATCH_RTOL,
        )
    )
    return parity

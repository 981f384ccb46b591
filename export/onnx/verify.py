"""The gate of an export: the file as written, run by ONNX Runtime, against the checkpoint in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, Contract
from mimamba_edge.export.network import Network
from mimamba_edge.export.onnx.intermediate_outputs import runner_with_auxiliary
from mimamba_edge.export.runner import TorchRunner
from mimamba_edge.parity.compare import Check, Parity
from mimamba_edge.parity.verify import run_all
from mimamba_edge.parity.verify import verify as verify_runner
from mimamba_edge.runtime.base import Arrays
from mimamba_edge.runtime.function import WithAuxiliary
from mimamba_edge.runtime.ort import OrtRunner

__all__ = ["BATCH_RTOL", "answers", "verify"]

BATCH_RTOL = 1e-5
"""How far the answer for a window may depend on its batch, relative to the largest logit."""
_BATCHES = (1, 3)
_IN_BATCHES = 24
"""Windows that are also run in small batches."""


def answers(model: Network, contract: Contract, windows: NDArray[np.float32]) -> Arrays:
    """Return the logits and auxiliary outputs of a checkpoint's model in PyTorch."""
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
    runner = OrtRunner(path)
    with WithAuxiliary(runner, runner_with_auxiliary(path)) as both:
        parity = verify_runner(both, reference, windows, batches=[len(windows)])
        some = windows[:_IN_BATCHES]
        whole = run_all(runner, windows, batch=len(windows))[LOGITS][:_IN_BATCHES]
        parts = [run_all(runner, some, batch=batch)[LOGITS] for batch in _BATCHES]
    spread = max(float(np.abs(np.subtract(part, whole)).max()) for part in parts)
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

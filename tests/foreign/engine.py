"""What stands in an engine's place where TensorRT is a fake: the answers of a model's reference file."""

from __future__ import annotations

import os

import numpy as np

__all__ = ["VARIABLE", "answers"]

VARIABLE = "MIMAMBA_TEST_REFERENCE"
"""Names the file, for child processes too."""


def answers(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the reference's outputs for inputs that are among its own."""
    with np.load(os.environ[VARIABLE]) as held:
        inputs = held["signal"]
        rows = [int(np.abs(inputs - value).reshape(len(inputs), -1).sum(1).argmin()) for value in values]
        return {"output": held["output"][rows]}

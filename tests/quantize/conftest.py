"""The trained model that comes with the package, and windows it knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mimamba_edge.load import builtin_model
from mimamba_edge.runtime.reference import Reference


@pytest.fixture(scope="session")
def trained():
    onnx = pytest.importorskip("onnx")
    return onnx.load(str(builtin_model()))


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference.beside(builtin_model())


@pytest.fixture(scope="session")
def run() -> Callable[..., NDArray[np.float32]]:
    ort = pytest.importorskip("onnxruntime")

    def logits(model, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"windows": windows})[0]

    return logits

"""OpenVINO: runs the standard ops of an exported model on the CPU, for comparison. An optional package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from mimamba_edge.contract import Promise
from mimamba_edge.errors import DependencyError, RunnerError
from mimamba_edge.runtime.base import Arrays, Runner, check_windows

__all__ = ["OpenVinoRunner"]


class OpenVinoRunner(Runner):
    """Runs a model without functions in OpenVINO's CPU plugin, in float32 and for least latency.

    Args:
        model: Gives the bytes of an ONNX file whose function bodies are written out; called to load it.
        promise: What it expects and gives.
        artifact: The file that it was made of.
        threads: Threads of one inference.
    """

    kind = "openvino"
    precision = "fp32"

    def __init__(self, model: Callable[[], bytes], promise: Promise, *, artifact: str, threads: int) -> None:
        self.promise, self.artifact = promise, artifact
        self._model, self._threads = model, threads
        self._request: Any = None

    def activate(self) -> None:
        """Read and compile the model.

        Raises:
            DependencyError: openvino is not installed.
            RunnerError: It does not read the model.
        """
        # The package loads a telemetry client where there is one.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        try:
            openvino = importlib.import_module("openvino")
        except ImportError as error:
            raise DependencyError(
                "openvino cannot be imported", got=error, do="pip install openvino"
            ) from error
        # Its default on some CPUs is bfloat16.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        settings["INFERENCE_NUM_THREADS"] = str(self._threads)
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(self._model()), "CPU", settings)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise RunnerError(
                "OpenVINO does not read the model", got=lines[-1] if lines else error
            ) from error
        self.report = {"openvino": openvino.__version__}

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            RunnerError: The runner is not active, or the windows do not fit.
        """
        if self._request is None:
            raise RunnerError(f"{self.artifact} is not loaded", do="use the runner in a `with` block")
        windows = np.ascontiguousarray(check_windows(feeds, self.promise))
        found = self._request.infer({self.signature.input.name: windows}, share_inputs=True)
        return {tensor.name: np.array(found[tensor.name]) for tensor in self.signature.outputs}

    def deactivate(self) -> None:
        """Release the model."""
        self._request = None

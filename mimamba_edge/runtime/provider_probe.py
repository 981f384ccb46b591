"""Whether an execution provider of ONNX Runtime works here: it runs one node.

``get_available_providers`` lists what a wheel was built with. Whether the driver, the CUDA libraries and
kernels for this GPU are there shows only when a node runs. A provider may crash or hang the process, so each
is tried in a child process.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np

from mimamba_edge.runtime.probe_process import QUOTED, ask

__all__ = ["ONE_NODE", "main", "probe"]

ONE_NODE = (
    b'\x08\x08:4\n\x0b\n\x01x\x12\x01y"\x03Exp\x12\x03one'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04B\x04\n\x00\x10\r"
)
"""A serialised ONNX model: ``y = Exp(x)``, four float32, opset 13.

ONNX Runtime has its own CUDA kernel for it, which must be there for this GPU.
"""

COMMAND = [sys.executable, "-m", "mimamba_edge.runtime.provider_probe"]
_LIMIT_S = 120.0
"""TensorRT's provider builds an engine for the node: some seconds on an Orin."""
_CPU = "CPUExecutionProvider"
_MISSING = re.compile(r"with error: (.+?: cannot open shared object file)")
_OF_CUDA = re.compile(r"CUDA (?:failure|error).*?(?= ; |$)")
"""What CUDA says, behind lines of C++ types and before host name, file and line: ``CUDA failure 35: CUDA
driver version is insufficient for CUDA runtime version ; GPU=-1 ; hostname=...`` (onnxruntime-gpu 1.23.2)."""


def probe(provider: str, limit_s: float = _LIMIT_S) -> str:
    """Return why a provider cannot run one node in a process of its own; empty if it can.

    Args:
        provider: As ONNX Runtime names it.
        limit_s: Seconds after which it is said to hang.
    """
    answer = ask(COMMAND, [provider], limit_s)[provider]
    # Why a library cannot be loaded stands in ONNX Runtime's log only.
    if missing := _MISSING.search(answer.said):
        return missing[1]
    return answer.problem or str(answer.told.get("problem", "told nothing"))


def _problem(provider: str) -> str:
    from mimamba_edge.runtime.ort import load_onnxruntime, preload_cuda

    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if provider != _CPU:
        preload_cuda(ort)
        # Else a provider that cannot be used is left out without an error, and the CPU answers.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session: Any = ort.InferenceSession(ONE_NODE, options, [provider], enable_fallback=0)
    if session.get_providers()[0] != provider:
        return f"was replaced by {session.get_providers()[0]}"
    x = np.array([-1, 0, 0.5, 2], np.float32)
    y = session.run(None, {"x": x})[0]
    return "" if np.allclose(y, np.exp(x), rtol=1e-3) else f"gave wrong numbers: Exp({x}) = {y}"


def main() -> None:
    """Try the provider that is named as argument and print the outcome as JSON."""
    try:
        problem = _problem(sys.argv[1])
    except Exception as error:  # of ONNX Runtime's own classes
        problem = " ".join(str(error).split())
        problem = (found[0] if (found := _OF_CUDA.search(problem)) else problem)[:QUOTED]
    print(json.dumps({"problem": problem}))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()

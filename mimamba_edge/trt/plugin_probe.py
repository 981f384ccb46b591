"""Whether a plugin of TensorRT gives the right numbers here: it builds and runs an engine of one node.

A library may load and fail at its first node: no code for this GPU, another TensorRT than it was built with.
TensorRT, the driver or the plugin may crash or hang the process, so the ops are tried in a child process: one
for all of them, because TensorRT takes seconds to start on a board.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import EngineError, MimambaError
from mimamba_edge.runtime.probe_process import Answer, ask
from mimamba_edge.trt.api import Api, load_tensorrt
from mimamba_edge.trt.buffers import Buffer
from mimamba_edge.trt.cuda import Cuda, load_cuda, quietly
from mimamba_edge.trt.library import find_plugin
from mimamba_edge.trt.one_node import OneNode, one_node
from mimamba_edge.trt.plugin import load_plugin
from mimamba_edge.trt.worker import workspace_bytes

__all__ = ["BOUND", "attempt", "main", "probe"]

COMMAND = [sys.executable, "-m", "mimamba_edge.trt.plugin_probe"]
_LIMIT_S = 180.0
"""An Orin Nano takes some seconds to start TensorRT and some to time its own layers."""
BOUND = 1e-3
"""Largest error that passes, as a share of the largest value: float32 gives about 1e-6."""


def probe(ops: Sequence[str], limit_s: float = _LIMIT_S) -> dict[str, Answer]:
    """Try ops in a process of their own.

    Args:
        ops: Of :data:`mimamba_edge.contract.OPS`.
        limit_s: Seconds after which the process is said to hang.

    Returns:
        What :func:`attempt` tells of each, or why nothing was told.
    """
    return ask(COMMAND, ops, limit_s)


def attempt(ops: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Build and run an engine of one node of each op here, and compare its outputs with those of float64.

    Yields:
        ``tensorrt`` (its version), ``library`` (its path) and ``error`` (largest error as a share of the
        largest value, ``None`` where a value is not finite); or else ``tried`` (whether the plugin was at
        hand), ``kind``, ``what``, ``got`` and ``do`` of an error.
    """
    tried = False
    try:
        api, cuda = load_tensorrt(), load_cuda()
        api.logger.sink = _log
        library = find_plugin(sm=cuda.device().sm)
        tried = True
        load_plugin(api.trt, library, logger=api.logger)
    except MimambaError as error:
        yield from [_failed(error, tried)] * len(ops)
        return
    for op in ops:
        node = one_node(op)
        try:
            got = _run(api, cuda, node)
        except MimambaError as error:
            yield _failed(error, tried)
            continue
        errors = [
            np.abs(got[name] - right).max() / np.abs(right).max() for name, right in node.outputs.items()
        ]
        worst = float(max(errors)) if np.isfinite(errors).all() else None
        yield {"tensorrt": api.version_text, "library": str(library.path), "error": worst}


def _failed(error: MimambaError, tried: bool) -> dict[str, Any]:
    words = None if error.got is None else str(error.got)
    return {"tried": tried, "kind": type(error).__name__, "what": error.what, "got": words, "do": error.do}


def _log(severity: str, text: str) -> None:
    """Leave errors on stderr, which is all that is left of a process that crashes."""
    if "ERROR" in severity:
        sys.stderr.write(f"[{severity}] {text}\n")


def _run(api: Api, cuda: Cuda, node: OneNode) -> dict[str, NDArray[Any]]:
    shapes = {name: (node.shapes[name],) * 3 for name in node.inputs}
    room = min(workspace_bytes(cuda), cuda.device().total_memory_bytes)
    plan = api.build(node.onnx(), shapes=shapes, workspace_bytes=room).plan
    engine = api.deserialize(plan)
    shared = cuda.device().integrated
    with contextlib.ExitStack() as stack:
        stream = cuda.stream()
        stack.callback(quietly, cuda.destroy_stream, stream)
        buffers = {}
        for name, shape in node.shapes.items():
            buffers[name] = Buffer(cuda, shape, shared=shared)
            stack.callback(quietly, buffers[name].close)
        context = engine.create_execution_context()
        if context is None:
            raise EngineError("TensorRT cannot create an execution context", got=api.logger.words())
        for name, buffer in buffers.items():
            if not context.set_tensor_address(name, buffer.address):
                raise EngineError(f"TensorRT refuses the address of {name}", got=api.logger.words())
        for name, buffer in buffers.items():
            # An output that the plugin does not write stays not a number.
            np.copyto(buffer.array, node.inputs.get(name, np.float32(np.nan)))
            buffer.upload(stream)
        if not context.execute_async_v3(int(stream)):
            raise EngineError("TensorRT cannot run the plugin", got=api.logger.words())
        for name in node.outputs:
            buffers[name].download(stream)
        cuda.synchronize(stream)
        got = {name: buffers[name].array.copy() for name in node.outputs}
        del context
    return got


def main() -> None:
    """Try the ops that are named as arguments and print each outcome as a line of JSON."""
    # What TensorRT and plugins print must not stand between the parent and the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        for told in attempt(sys.argv[1:]):
            answers.write(json.dumps(told) + "\n")
            # The next op may end the process.
            answers.flush()


if __name__ == "__main__":
    main()

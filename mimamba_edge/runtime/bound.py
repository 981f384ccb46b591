"""One window through a session of ONNX Runtime by buffers that were bound once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.signature import Signature, Tensor

__all__ = ["BoundRun"]


class BoundRun:
    """Runs batches of one on the CPU without looking up names and making tensors each time.

    Args:
        session: An ``InferenceSession`` on the CPU, whose tensors are those of the signature.
        signature: Names, types and shapes.
    """

    def __init__(self, session: Any, signature: Signature) -> None:
        self._run = session.run_with_iobinding
        self._binding = session.io_binding()
        self._input = np.zeros((1, *signature.input.shape), signature.input.dtype)
        self._outputs = [np.zeros((1, *tensor.shape), tensor.dtype) for tensor in signature.outputs]
        self._binding.bind_input(*_place(signature.input, self._input))
        for tensor, buffer in zip(signature.outputs, self._outputs, strict=True):
            self._binding.bind_output(*_place(tensor, buffer))
        self._lock = threading.Lock()

    def run(self, windows: NDArray[np.generic]) -> list[NDArray[np.generic]] | None:
        """Return the outputs for ``(1, ...)``, which are the caller's; ``None`` while another thread runs."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._input[...] = windows
            self._run(self._binding)
            return [buffer.copy() for buffer in self._outputs]
        finally:
            self._lock.release()


def _place(tensor: Tensor, buffer: NDArray[np.generic]) -> tuple[Any, ...]:
    return tensor.name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data

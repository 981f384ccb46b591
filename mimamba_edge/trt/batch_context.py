"""One batch size of an engine: a context with its shapes, its buffers, and the graph captured from it.

TensorRT's guide ("CUDA Graphs") asks for exactly that: a graph holds the shapes and addresses of its capture
and breaks when the context is changed later, so each batch size has a context of its own.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import EngineError
from mimamba_edge.runtime.base import Arrays
from mimamba_edge.signature import Signature
from mimamba_edge.trt.api import Api
from mimamba_edge.trt.buffers import Buffer
from mimamba_edge.trt.cuda import Cuda, quietly

__all__ = ["BatchContext"]


class BatchContext:
    """Everything that runs ``batch`` windows, made once; :meth:`run` allocates nothing on the device.

    Args:
        api: TensorRT.
        cuda: The CUDA runtime.
        engine: The ``ICudaEngine``, which must outlive the context.
        stream: Where the work goes.
        signature: The model's tensors.
        batch: Windows at a time.
        shared: Whether host and device share their memory.
        graph: Whether to capture a CUDA graph.

    Attributes:
        graph_error: Why there is no graph though one was asked for; ``None`` if all is well.
        warm_up_ms: What the first runs and the capture took.

    Raises:
        EngineError: TensorRT or CUDA refuses; nothing stays allocated.
    """

    def __init__(
        self,
        api: Api,
        cuda: Cuda,
        engine: Any,
        stream: Any,
        signature: Signature,
        batch: int,
        *,
        shared: bool,
        graph: bool,
    ) -> None:
        self._api, self._cuda, self._stream = api, cuda, stream
        self._graph: Any = None
        self.graph_error: str | None = None
        start = time.perf_counter()
        with contextlib.ExitStack() as stack:
            buffers: dict[str, Buffer] = {}
            for tensor in (signature.input, *signature.outputs):
                held = Buffer(cuda, (batch, *tensor.shape), shared=shared, dtype=tensor.dtype)
                stack.callback(quietly, held.close)
                buffers[tensor.name] = held
            self._input, self._buffers = buffers[signature.input.name], buffers
            self._outputs = {tensor.name: buffers[tensor.name] for tensor in signature.outputs}
            # Work that is still queued when something fails must be done before its memory goes.
            stack.callback(quietly, cuda.synchronize, stream)
            self._context = self._new_context(engine, signature.input.name)
            self._input.array[:] = 0
            # TensorRT finishes what a new shape needs in the first enqueue, which cannot be captured.
            self._enqueue()
            cuda.synchronize(stream)
            if graph:
                self._capture()
            stack.callback(quietly, self._drop_graph)
            self._go()
            self._closing = stack.pop_all()
        self.warm_up_ms = (time.perf_counter() - start) * 1e3

    def _new_context(self, engine: Any, windows: str) -> Any:
        self._api.logger.forget()
        context = engine.create_execution_context()
        if context is None:
            raise self._refused(
                "TensorRT cannot create an execution context",
                "free memory: close other programs, or build a plan for a smaller batch",
            )
        if not context.set_input_shape(windows, self._input.array.shape):
            raise self._refused(f"TensorRT refuses the input shape {self._input.array.shape}")
        for name, buffer in self._outputs.items():
            shape = tuple(context.get_tensor_shape(name))
            if shape != buffer.array.shape:
                raise EngineError(
                    f"the engine gives {name} of another shape",
                    got=shape,
                    expected=buffer.array.shape,
                    do="build the plan again from the model's .trt.onnx",
                )
        for name, buffer in self._buffers.items():
            if not context.set_tensor_address(name, buffer.address):
                raise self._refused(f"TensorRT refuses the address of {name}")
        return context

    def _refused(self, what: str, do: str | None = None) -> EngineError:
        words = self._api.logger.words() or "no reason given"
        return EngineError(what, got=words, do=do or "run `mimamba-edge doctor`, or build the plan again")

    def _enqueue(self) -> None:
        """Queue the way of one batch: to the device, through the engine, back."""
        self._input.upload(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise self._refused("TensorRT cannot run the engine")
        for buffer in self._outputs.values():
            buffer.download(self._stream)

    def _capture(self) -> None:
        self._api.logger.forget()
        try:
            self._graph = self._cuda.capture(self._stream, self._enqueue)
        except EngineError as error:
            self.graph_error = f"{error.what}: {error.got}" if error.got else error.what

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._cuda.destroy_graph(self._graph)

    def _go(self) -> None:
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._cuda.synchronize(self._stream)

    def run(self, windows: NDArray[Any]) -> Arrays:
        """Return the outputs ``(batch, ...)`` of windows ``(batch, ...)``, as new arrays.

        Raises:
            EngineError: TensorRT or CUDA failed.
        """
        np.copyto(self._input.array, windows)
        self._go()
        return {name: buffer.array.copy() for name, buffer in self._outputs.items()}

    def close(self) -> None:
        """Release graph, context and buffers, in that order."""
        self._closing.close()
        self._context = None

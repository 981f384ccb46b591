"""A stateful model chunk by chunk: all that it keeps of the past is its states, so memory does not grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import ConfigError, RunnerError
from mimamba_edge.runtime.base import Arrays, check_windows, start_states
from mimamba_edge.runtime.ort import OrtRunner
from mimamba_edge.signature import FREE, Signature

__all__ = ["StatefulRunner"]


class StatefulRunner:
    """Runs a file of ``export --stateful`` in ONNX Runtime on the CPU, one chunk of a sequence after another.

    A context manager. The chunks may be of any length from one step on; what they give is what the whole
    sequence gives at once. For one thread at a time.

    Args:
        path: ``NAME.onnx`` or one of lower precision.
        batch: Sequences side by side.
        threads: Threads inside one op; ``None`` leaves the choice to ONNX Runtime.
        native_ops: Run the scans by the library of native ops, where one is built.

    Attributes:
        signature: Names, types and shapes of the model's tensors, its states among them.

    Raises:
        ArtifactError: The file or its manifest is missing, or they disagree.
        ConfigError: The model has no states, or does not take that batch.
    """

    def __init__(
        self, path: Path | str, *, batch: int = 1, threads: int | None = None, native_ops: bool = True
    ) -> None:
        self._runner = OrtRunner(path, threads=threads, native_ops=native_ops)
        self.signature: Signature = self._runner.signature
        if not self.signature.states:
            raise ConfigError(
                f"{path} has no states: each of its inputs stands for itself",
                do="export the model with --stateful, or run the file by mimamba_edge.load_model",
            )
        if batch < 1 or self.signature.batch not in (None, batch):
            raise ConfigError(
                f"{path} does not take this batch", got=batch, expected=self.signature.batch or "1 or more"
            )
        self._batch = batch
        # What a chunk starts from and what it leaves, in turn: a run that fails leaves its start as it was.
        self._states = [start_states(self.signature, batch) for _ in range(2)]
        self._now = 0
        self._bindings: list[Any] = []
        self._input: NDArray[Any] = np.empty(0)
        self._outputs: Arrays = {}

    def __enter__(self) -> StatefulRunner:
        """Load the model.

        Raises:
            MimambaError: As :meth:`mimamba_edge.runtime.ort.OrtRunner.activate`.
        """
        self._runner.activate()
        shape = [1 if size == FREE else size for size in self.signature.input.shape]
        chunk = np.zeros((self._batch, *shape), self.signature.input.dtype)
        self._runner.infer({self.signature.input.name: chunk})  # a model without an end says so here
        self._bindings = [self._runner.session.io_binding() for _ in range(2)]
        for index, binding in enumerate(self._bindings):
            for state in self.signature.states:
                binding.bind_input(*_place(state.input, self._states[index][state.input]))
                binding.bind_output(*_place(state.output, self._states[1 - index][state.input]))
        self._bind(chunk.shape)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bindings = []
        self._runner.deactivate()

    def _bind(self, shape: tuple[int, ...]) -> None:
        """Make room for chunks of a length."""
        tensor = self.signature.input
        self._input = np.zeros(shape, tensor.dtype)
        length = shape[1 + tensor.shape.index(FREE)]
        self._outputs = {
            one.name: np.zeros(
                (self._batch, *(length if size == FREE else size for size in one.shape)), one.dtype
            )
            for one in self.signature.outputs
        }
        for binding in self._bindings:
            binding.bind_input(*_place(tensor.name, self._input))
            for name, buffer in self._outputs.items():
                binding.bind_output(*_place(name, buffer))

    @property
    def kind(self) -> str:
        """What runs it, as :class:`mimamba_edge.runtime.base.Runner` names it."""
        return self._runner.kind

    def step(self, chunk: NDArray[Any]) -> Arrays:
        """Run the next chunk of the sequence and return its outputs by name, which are the caller's.

        Args:
            chunk: ``(batch, ...)`` as the signature says, with any number of steps from one on.

        Raises:
            RunnerError: Not in a ``with`` block, the chunk does not fit the model, or ONNX Runtime failed;
                the states stay as they were.
        """
        session = self._runner.session
        taken = check_windows({self.signature.input.name: chunk}, self.signature)
        if len(taken) != self._batch:
            raise RunnerError(
                "the chunk does not fit the states",
                got=f"batch {len(taken)}",
                expected=f"batch {self._batch}",
            )
        if taken.shape != self._input.shape:
            self._bind(taken.shape)
        self._input[...] = taken
        try:
            session.run_with_iobinding(self._bindings[self._now])
        except Exception as error:
            raise RunnerError(
                f"ONNX Runtime failed while it ran {self._runner.artifact}", got=error
            ) from error
        self._now = 1 - self._now
        return {name: buffer.copy() for name, buffer in self._outputs.items()}

    def reset(self) -> None:
        """Begin a new sequence."""
        for value in self._states[self._now].values():
            value[...] = 0

    @property
    def states(self) -> Arrays:
        """Copies of the states behind the last chunk, by the names of the inputs that take them.

        Set it to what it was, here or in another runner of the file, and the sequence goes on from there.

        Raises:
            RunnerError: A state that is set is missing, unknown, or of another shape or type.
        """
        return {name: value.copy() for name, value in self._states[self._now].items()}

    @states.setter
    def states(self, states: Mapping[str, NDArray[Any]]) -> None:
        held = self._states[self._now]
        if states.keys() != held.keys():
            raise RunnerError(
                "these are not the states of the model",
                got=sorted(states.keys() - held.keys()) or f"without {sorted(held.keys() - states.keys())}",
                expected="the names in signature.states",
            )
        for name, value in states.items():
            array = np.asarray(value)
            if array.shape != held[name].shape or array.dtype != np.float32:
                raise RunnerError(
                    f"the state {name} does not fit the model",
                    got=f"{array.dtype} {array.shape}",
                    expected=f"float32 {held[name].shape}",
                )
        for name, value in states.items():
            held[name][...] = value


def _place(name: str, buffer: NDArray[Any]) -> tuple[Any, ...]:
    return name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data

"""Whether a module can run chunk by chunk, and what it then hands on from one chunk to the next."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mimamba_edge.errors import ExportError, MimambaError
from mimamba_edge.export.capture import capture
from mimamba_edge.export.capture.carried import SSM, Carried, carried_states
from mimamba_edge.export.foreign.factory import place_of, refusal
from mimamba_edge.export.foreign.flat import flat
from mimamba_edge.export.foreign.inputs import Inputs, Shape
from mimamba_edge.parity.compare import Check
from mimamba_edge.runtime.stateful import StatefulRunner
from mimamba_edge.signature import State

__all__ = ["LARGEST_ERROR", "Stateful", "check_chunks", "examine", "long_sequence", "stepwise"]

LARGEST_ERROR = 1e-5
"""Of an output in chunks, relative to the largest value of the whole sequence's."""
_BLAMED_ERROR = 1e-4
"""The same before the model is exported, where only what looks elsewhere than at the past is looked for."""
_CHUNKS = (1, 7, 64)
_MIXED = (1, 7, 1, 64, 7, 1, 54)
_STEPS = sum(_MIXED)


@dataclass(frozen=True)
class Stateful:
    """How a module runs chunk by chunk.

    Attributes:
        axis: Of its input, on which time runs; the batch is axis 0.
        out_axes: The same of each output in order; ``None``: it has no such axis, the last chunk's counts.
        states: In the order of the layers.
        sequence: ``(batch, ...)``, on which chunks are held against the whole.
    """

    axis: int
    out_axes: tuple[int | None, ...]
    states: tuple[State, ...]
    sequence: NDArray[Any]

    def text(self) -> str:
        """Return in words what a user should know."""
        size = 4 * sum(math.prod(state.shape) for state in self.states)
        states = f"{len(self.states)} states, {size / 1024:,.1f} KiB for each sequence"
        return f"time is axis {self.axis} of the input; {states}"


def examine(model: nn.Module, inputs: Inputs, scans: Mapping[str, str] | None = None) -> Stateful:
    """Find the axis of time and the states of a module, and check that chunks give what the whole gives.

    Args:
        model: In evaluation mode.
        inputs: Of which the first batch is used.
        scans: As :func:`mimamba_edge.export.capture.capture`.

    Raises:
        ExportError: The module has no scans over an axis of its input, or its answers depend on more than the
            past; the message names the module where it is known.
    """
    first = torch.from_numpy(inputs.data[: inputs.shape.batch])
    with capture(model, scans), flat(model), torch.no_grad():
        outputs, carried = _run(model, first)
        axis, longer = _time(model, first, carried)
        _check_states(carried, len(first))
        axes = tuple(_grown(a, b) for a, b in zip(outputs, longer, strict=True))
        sequence = _repeated(first, axis)
        _check_past_only(model, sequence, axis, axes)
    states = tuple(State(name, _after(name), shape) for name, shape in carried.shapes.items())
    return Stateful(axis, axes, states, sequence.numpy())


def long_sequence(shape: Shape, stateful: Stateful) -> Inputs:
    """Return the sequence on which chunks are held against the whole, as an input of the model."""
    data = stateful.sequence
    return Inputs(Shape(shape.batch, data.shape[1:], shape.dtype), data, "", "given")


def _run(
    model: nn.Module, x: Tensor, states: Mapping[str, Tensor] | None = None
) -> tuple[tuple[Tensor, ...], Carried]:
    with carried_states(model, states) as carried:
        try:
            outputs: tuple[Tensor, ...] = model(x)
        except MimambaError:
            raise
        except Exception as error:
            place = place_of(error, model)
            raise ExportError(
                f"the model does not take {tuple(x.shape)}" + (f": module {place} raises" if place else ""),
                got=refusal(error),
                expected="any number of steps, one too: a stateful model is given chunks",
                do="export it without --stateful, or without what fixes the length",
            ) from error
    return outputs, carried


def _time(model: nn.Module, x: Tensor, carried: Carried) -> tuple[int, tuple[Tensor, ...]]:
    """Return the axis that all scans run over, and the outputs for one step more.

    Raises:
        ExportError: There is none.
    """
    if not carried.lengths:
        raise ExportError(
            "the model has no selective scan that could carry a state",
            do="export it without --stateful",
        )
    refused: ExportError | None = None
    for axis in range(1, x.ndim):
        if {*carried.lengths.values()} != {x.shape[axis]}:
            continue
        more = torch.cat([x, x.narrow(axis, 0, 1)], axis)
        try:
            outputs, other = _run(model, more)
        except ExportError as error:
            refused = refused or error
            continue
        if {*other.lengths.values()} == {more.shape[axis]} and other.shapes == carried.shapes:
            return axis, outputs
    if refused is not None:
        raise refused
    steps = ", ".join(f"{name.removesuffix(SSM)[:-1]}: {n}" for name, n in list(carried.lengths.items())[:4])
    raise ExportError(
        "no axis of the input is the time that the scans run over, one step each",
        got=f"input {tuple(x.shape)}, steps of the scans {steps}",
        expected="as many steps as one axis of the input has, and any number of them",
        do="export it without --stateful: what the model scans are no samples of a stream",
    )


def _check_states(carried: Carried, batch: int) -> None:
    for name, value in carried.after.items():
        if value.shape[0] != batch:
            raise ExportError(
                f"the state {name} does not belong to one sequence of the batch",
                got=f"{value.shape[0]} states for a batch of {batch}",
                expected="one of each sequence",
                do="export it without --stateful",
            )


def _grown(a: Tensor, b: Tensor) -> int | None:
    """Return the axis on which an output has one step more; ``None``: it has as many.

    Raises:
        ExportError: It is larger in another way.
    """
    more = [n - m for m, n in zip(a.shape, b.shape, strict=True)] if a.ndim == b.ndim else [0, 2]
    if sorted(more)[-1:] == [1] and more.count(0) == len(more) - 1:
        return more.index(1)
    if not any(more):
        return None
    raise ExportError(
        "an output does not grow with the input step by step",
        got=f"{tuple(a.shape)}, for one step more {tuple(b.shape)}",
        expected="one more on one axis, or the same shape",
    )


def _repeated(x: Tensor, axis: int) -> Tensor:
    """Return as many steps as the checks want, the same again where there are fewer."""
    return x.index_select(axis, torch.arange(_STEPS) % x.shape[axis])


def _after(name: str) -> str:
    """Return the name of what a state is behind a chunk: ``last_`` before its kind."""
    path, _, kind = name.rpartition(".")
    return f"{path}.last_{kind}" if path else f"last_{kind}"


def _split(x: Tensor, axis: int, lengths: Sequence[int]) -> Sequence[Tensor]:
    return torch.split(x, list(lengths), dim=axis)


def _check_past_only(model: nn.Module, x: Tensor, axis: int, axes: Sequence[int | None]) -> None:
    """Refuse a model whose outputs for the past change with what comes later, or with what was forgotten."""
    whole, _ = _run(model, x)
    parts, states = [], None
    for chunk in _split(x, axis, _MIXED):
        outputs, carried = _run(model, chunk, states)
        parts.append(outputs)
        states = carried.after
    error = max(
        _error(_joined([part[i] for part in parts], axis_of), right)
        for i, (right, axis_of) in enumerate(zip(whole, axes, strict=True))
    )
    if not error <= _BLAMED_ERROR:
        place = _blamed(model, x, axis)
        where = "the model's own forward" if place == "" else f"module {place}"
        raise ExportError(
            "the model cannot run chunk by chunk"
            + ("" if place is None else f": {where} looks at more than the past that its states hold"),
            got=f"chunks differ from the whole by {error:.2g} of the largest value"
            if error != math.inf
            else "chunks give outputs of another length than the whole",
            expected="causal scans and causal convolutions; all else step by step (no attention, no scan in "
            "both directions, no mean or norm over time, no positions)",
            do="export it without --stateful: it needs the whole sequence",
        )


def _joined(parts: Sequence[Tensor], axis: int | None) -> Tensor:
    return parts[-1] if axis is None else torch.cat(list(parts), axis)


def _error(got: Tensor, right: Tensor) -> float:
    if got.shape != right.shape:
        return float("inf")
    largest = float(right.abs().max()) if right.is_floating_point() else 1.0
    return float((got.double() - right.double()).abs().max()) / max(largest, 1e-30)


def _blamed(model: nn.Module, x: Tensor, axis: int) -> str | None:
    """Return the path of the innermost module that gives other outputs for equal inputs; ``None``: none."""
    whole = _recorded(model, [x])
    parts = _recorded(model, _split(x, axis, _MIXED))
    for name, calls in whole.items():  # in the order in which they end: the inner ones first
        others = parts.get(name, [])
        if len(calls) != 1 or len(others) != len(_MIXED):
            continue
        given, made = calls[0]
        if _same(given, [one for one, _ in others]) and not _same(made, [one for _, one in others]):
            return name
    return None


def _recorded(model: nn.Module, chunks: Sequence[Tensor]) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Run chunks one after the other; return inputs and outputs of the modules that have one of each."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    with contextlib.ExitStack() as hooks:
        for name, part in model.named_modules():

            def keep(
                _: nn.Module, given: tuple[Any, ...], named: dict[str, Any], made: Any, name: str = name
            ) -> None:
                x = next((one for one in (*given, *named.values()) if isinstance(one, Tensor)), None)
                made = made[0] if isinstance(made, tuple) and made else made
                if x is not None and isinstance(made, Tensor):
                    found.setdefault(name, []).append((x, made))

            hooks.callback(part.register_forward_hook(keep, with_kwargs=True).remove)
        states = None
        for chunk in chunks:
            states = _run(model, chunk, states)[1].after
    return found


def _same(whole: Tensor, parts: Sequence[Tensor]) -> bool:
    """Return whether parts are those of a whole, on whichever axis."""
    for axis in range(whole.ndim):
        sizes = [part.shape[axis] if part.ndim == whole.ndim else -1 for part in parts]
        if sizes == list(_MIXED):
            return _error(torch.cat(list(parts), axis), whole) <= _BLAMED_ERROR
    return _error(parts[-1], whole) <= _BLAMED_ERROR


@contextlib.contextmanager
def stepwise(model: nn.Module, states: Sequence[State]) -> Iterator[None]:
    """Let a captured and flat model take its states behind its input, and give them behind its outputs."""
    forward = model.forward

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        (x, *given), names = tensors, [state.input for state in states]
        with carried_states(model, dict(zip(names, given, strict=True))) as carried:
            outputs: tuple[Tensor, ...] = forward(x)
        return (*outputs, *(carried.after[name] for name in names))

    model.forward = call
    try:
        yield
    finally:
        model.forward = forward


def check_chunks(path: Path, stateful: Stateful, right: Sequence[NDArray[Any]]) -> Check:
    """Hold a file's outputs in chunks of 1, 7, 64 and mixed lengths against those of the whole sequence.

    Args:
        path: The file.
        stateful: What it was exported with.
        right: The model's outputs for the whole sequence.
    """
    x, worst = torch.from_numpy(stateful.sequence), 0.0
    with StatefulRunner(path, batch=len(x)) as runner:
        for size in (*_CHUNKS, 0):
            lengths = [size] * (_STEPS // size) if size else list(_MIXED)
            lengths += [_STEPS - sum(lengths)] * (sum(lengths) < _STEPS)
            runner.reset()
            done = [runner.step(chunk.numpy()) for chunk in _split(x, stateful.axis, lengths)]
            for tensor, axis, value in zip(runner.signature.outputs, stateful.out_axes, right, strict=True):
                parts = [torch.from_numpy(one[tensor.name]) for one in done]
                worst = max(worst, _error(_joined(parts, axis), torch.from_numpy(value)))
    name = f"chunks of {', '.join(map(str, _CHUNKS))}"
    return Check(name, f"{worst:.1e} of the largest value", f"<= {LARGEST_ERROR:g}", worst <= LARGEST_ERROR)

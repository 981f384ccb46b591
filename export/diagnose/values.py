"""Every value of a model's graph, for the search that compares two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from mimamba_edge.export.onnx.intermediate_outputs import with_outputs
from mimamba_edge.runtime.ort import open_session

__all__ = ["feeds_for", "only_batch", "values"]

Array = NDArray[Any]
_BATCH = 16


def feeds_for(model: ModelProto, windows: Array) -> dict[str, Array]:
    """Return windows under the name of a model's input, and zeros for the states of a stateful one."""
    entry, *states = model.graph.input
    feeds = {str(entry.name): windows}
    for state in states:
        sizes = [size.dim_value for size in state.type.tensor_type.shape.dim[1:]]
        feeds[str(state.name)] = np.zeros((len(windows), *sizes), np.float32)
    return feeds


def only_batch(model: ModelProto) -> int:
    """Return the one batch size that a model takes; 0: any."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def values(
    model: ModelProto, windows: NDArray[np.float32], on_step: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """Run a model and return every value of its graph, constants too."""
    held: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]
    session = open_session(_tapped(model, names), name="a model with all its values", threads=1)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    entry, size = str(model.graph.input[0].name), only_batch(model) or _BATCH
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        for name, value in zip(names, session.run(names, feeds_for(model, batch)), strict=True):
            parts[name].append(value)
        on_step(len(batch))
    moving = {entry}
    for node in model.graph.node:
        if moving & set(node.input):
            moving |= set(node.output)
    for name, found in parts.items():
        held[name] = np.concatenate(found) if name in moving and found[0].ndim else found[0]
    return held


def _tapped(model: ModelProto, names: list[str]) -> bytes:
    """Return the model with all its values as outputs; bodies that are left stay."""
    if not model.functions:
        return with_outputs(model, names)
    out = ModelProto()
    out.CopyFrom(model)
    there = {value.name for value in out.graph.output}
    known = {value.name: value for value in out.graph.value_info}
    for name in names:
        if name in there:
            continue
        if name in known:
            out.graph.output.append(known[name])
        else:
            out.graph.output.add().name = name
    content: bytes = out.SerializeToString()
    return content

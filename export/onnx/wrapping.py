"""Circular padding in ops that every runtime knows: ``Pad`` has the mode ``wrap`` only from opset 19 on.

torch's exporter emits it in files of opset 18 all the same. ONNX Runtime takes that, OpenVINO does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

__all__ = ["wrap_by_slices"]

_END = np.iinfo(np.int64).max


def wrap_by_slices(model: ModelProto) -> None:
    """Put slices, joined, in place of each circular padding by constant widths, in place."""
    graph = model.graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.value_info)}
    held = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        names = [*node.input, "", "", ""]
        pads, axes = held.get(names[1]), held.get(names[3])
        if not _wraps(node) or pads is None or (names[3] and axes is None):
            graph.node.append(node)
            continue
        widths = numpy_helper.to_array(pads).reshape(2, -1)
        which = range(ranks.get(names[0], widths.shape[1])) if axes is None else numpy_helper.to_array(axes)
        _add(
            graph,
            node,
            {int(axis): (int(low), int(high)) for axis, low, high in zip(which, *widths, strict=True)},
        )


def _wraps(node: NodeProto) -> bool:
    return node.op_type == "Pad" and any(a.name == "mode" and a.s == b"wrap" for a in node.attribute)


def _add(graph: GraphProto, node: NodeProto, widths: dict[int, tuple[int, int]]) -> None:
    """Add what pads by ``widths`` (before and after, by axis) and gives the output of a node."""
    value, result = node.input[0], node.output[0]

    def made(op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(op, inputs, [name], name=f"{node.name}/{name}", **attributes))
        graph.node[-1].metadata_props.extend(node.metadata_props)
        return name

    def part(whole: str, axis: int, start: int, end: int, name: str) -> str:
        ends = []
        for word, number in (("from", start), ("to", end), ("axis", axis)):
            ends.append(f"{name}_{word}")
            graph.initializer.append(numpy_helper.from_array(np.array([number], np.int64), ends[-1]))
        return made("Slice", [whole, *ends], name)

    for axis, (before, after) in widths.items():
        # A width below zero cuts, as that of Pad does.
        if before < 0 or after < 0:
            value = part(value, axis, max(-before, 0), min(after, 0) or _END, f"{result}_cut_{axis}")
        parts = [value]
        if before > 0:
            parts.insert(0, part(value, axis, -before, _END, f"{result}_before_{axis}"))
        if after > 0:
            parts.append(part(value, axis, 0, after, f"{result}_after_{axis}"))
        if len(parts) > 1:
            value = made("Concat", parts, f"{result}_axis_{axis}", axis=axis)
    if value == node.input[0]:
        made("Identity", [value], result)
    else:
        graph.node[-1].output[0] = result

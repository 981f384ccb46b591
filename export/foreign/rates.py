"""Rates of Mamba-2: one number a head, which the graph need not hold for every channel and state."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from mimamba_edge.export.onnx.schema import DOMAIN, SCAN

__all__ = ["narrow_rates"]

_A = 2
"""Place of A among the op's inputs."""


def narrow_rates(model: ModelProto) -> None:
    """Hold the rates ``A (d, n)`` of scans whose states share them as ``(d, 1)`` and widen them, in place."""
    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if (node.domain, node.op_type) != (DOMAIN, SCAN) or (
            tensor := held.pop(node.input[_A], None)
        ) is None:
            continue
        rates = numpy_helper.to_array(tensor)
        if (
            rates.ndim != 2
            or rates.shape[1] < 2
            or not np.array_equal(rates, np.tile(rates[:, :1], rates.shape[1]))
        ):
            continue
        name, sizes = tensor.name, np.array(rates.shape, dtype=np.int64)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rates[:, :1]), f"{name}/narrow"))
        graph.initializer.append(numpy_helper.from_array(sizes, f"{name}/sizes"))
        widen = helper.make_node("Expand", [f"{name}/narrow", f"{name}/sizes"], [name], name=f"{name}/Expand")
        graph.node.insert(list(graph.node).index(node), widen)
        if name not in {value.name for value in graph.value_info}:
            graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, rates.shape))

"""INT8 for TensorRT: Q/DQ pairs at the large linear layers of the fp16 file.

The recipe is that of ``onnxruntime.quantization.quantize_static`` with symmetric int8, per channel,
``DedicatedQDQPair``, ``AddQDQPairToWeight``, ``QuantizeBias=False`` and no pair at outputs; that function
wants files and a calibration of its own, and its shape inference stops at custom nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.carried import family_in
from mimamba_edge.export.quantize.fp16 import to_fp16
from mimamba_edge.export.quantize.ranges import Range

__all__ = ["add_pairs", "int8_modules", "linear_inputs", "linears", "to_int8_tensorrt"]

_TINY = float(np.finfo(np.float32).tiny)


def int8_modules(model: ModelProto) -> tuple[str, ...]:
    """Return the ends of the names of the modules whose matrix products are INT8; its family says which."""
    family = family_in(model)
    return () if family is None else family.int8_modules


def linears(model: ModelProto) -> list[NodeProto]:
    """Return the matrix products with constant weights that INT8 is for, in order."""
    modules = int8_modules(model)
    weights = {t.name for t in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.name.split("/")[0].endswith(modules)
    ]


def linear_inputs(model: ModelProto) -> list[str]:
    """Return the names of the values that must be calibrated."""
    return [node.input[0] for node in linears(model)]


def to_int8_tensorrt(model: ModelProto, ranges: Mapping[str, Range]) -> ModelProto:
    """Return the portable model with INT8 linear layers, everything else as in the fp16 file.

    Args:
        model: A portable fp32 model; unchanged.
        ranges: Of every value that :func:`linear_inputs` names.

    Raises:
        ExportError: No such layer, or a range is missing.
    """
    out = ModelProto()
    out.CopyFrom(model)
    chosen = linears(out)
    if not chosen:
        raise ExportError(
            "the model has no linear layer to quantise", expected=f"modules named {int8_modules(model)}"
        )
    for node in chosen:
        if node.input[0] not in ranges:
            raise ExportError("a value was not calibrated", got=node.input[0], expected=sorted(ranges))
        add_pairs(out, node, ranges[node.input[0]])
    return to_fp16(out)


def add_pairs(model: ModelProto, node: NodeProto, span: Range) -> None:
    """Put Q/DQ pairs before both inputs of a MatMul, Gemm or Conv, in place.

    One scale for the activations; one for each output channel of the weights.
    """
    graph = model.graph
    weight = next(numpy_helper.to_array(t) for t in graph.initializer if t.name == node.input[1])
    turned = node.op_type == "Conv" or any(a.name == "transB" and a.i for a in node.attribute)
    out_axis = 0 if turned else 1
    others = tuple(i for i in range(weight.ndim) if i != out_axis)
    scales = {
        node.input[0]: np.float32(max(abs(span.low), abs(span.high), 127 * _TINY) / 127),
        node.input[1]: np.maximum(np.abs(weight).max(axis=others) / 127, _TINY).astype(np.float32),
    }
    at = list(graph.node).index(node)
    for i, which in enumerate(("input", "weight")):
        value, stem = node.input[i], f"{node.name}/{which}"
        scale = scales[value]
        for name, array in (("scale", scale), ("zero_point", np.zeros(scale.shape, np.int8))):
            graph.initializer.append(numpy_helper.from_array(np.asarray(array), f"{stem}/{name}"))
        axis: dict[str, Any] = {"axis": out_axis} if scale.ndim else {}
        names = [f"{stem}/scale", f"{stem}/zero_point"]
        for op, source, target in (
            ("QuantizeLinear", value, f"{stem}/int8"),
            ("DequantizeLinear", f"{stem}/int8", f"{stem}/dequantized"),
        ):
            pair = helper.make_node(op, [source, *names], [target], name=f"{stem}/{op}", **axis)
            graph.node.insert(at, pair)
            at += 1
        node.input[i] = f"{stem}/dequantized"

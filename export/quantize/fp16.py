"""fp16 with islands of fp32: a typed graph, so that no builder flag decides what is rounded.

``onnxconverter_common.float16`` with a block list was tried: it rounds the weights of blocked nodes to fp16
and casts them back, and casts the windows before the node that must see them in fp32. Here every value gets
its type from the node that makes it, and a cast stands only where two types meet.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper, shape_inference

from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.functions import attach_functions
from mimamba_edge.export.onnx.schema import DOMAIN, register

__all__ = ["HALF", "to_fp16"]

_F32, _F16 = TensorProto.FLOAT, TensorProto.FLOAT16
_FLOATS = (_F32, _F16)
_LARGEST = float(np.finfo(np.float16).max)
HALF = {"Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "Mul", "Relu", "Sigmoid", "Sub", "Tanh"}
"""Computed in fp16. Whatever else computes is fp32: sums of many terms, what divides by them, powers."""
_MOVING = {
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
} | {
    "Transpose",
    "Unsqueeze",
}
"""Give their first input's type on."""


def to_fp16(model: ModelProto) -> ModelProto:
    """Return the portable model in fp16: same inputs and outputs (fp32), bodies of the custom ops in fp16.

    Matrix products, convolutions and elementwise ops are fp16; LayerNorm, softmax and reductions fp32. Of a
    custom node the tensors of type T are fp16 and the others fp32 (its schema): the windows, A, D, biases and
    states are never rounded. What INT8 pairs feed is fp32.

    Args:
        model: A portable fp32 model; unchanged.

    Raises:
        ExportError: A weight is beyond the range of fp16.
    """
    register()
    out = ModelProto()
    out.CopyFrom(model)
    _Typed(out).run()
    attach_functions(out)
    return out


class _Typed:
    """Walks the graph once, in its (topological) order."""

    def __init__(self, model: ModelProto) -> None:
        graph = self._graph = model.graph
        self._weights = {t.name: t for t in graph.initializer}
        self._kind = {t.name: t.data_type for t in graph.initializer}
        self._kind |= {v.name: v.type.tensor_type.elem_type for v in graph.input}
        self._info = {v.name: v for v in (*graph.value_info, *graph.input)}
        inferred = shape_inference.infer_shapes(model).graph.value_info
        self._before = {v.name: v.type.tensor_type.elem_type for v in (*inferred, *graph.output)}
        self._dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
        self._made: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        graph = self._graph
        outputs = {value.name: value.type.tensor_type.elem_type for value in graph.output}
        for node in graph.node:
            wanted, made = self._rule(node)
            for i, kind in enumerate(wanted):
                node.input[i] = self._as(node.input[i], kind)
            for name, kind in zip(node.output, made, strict=True):
                self._kind[name] = kind
            self._nodes.append(node)
            for i, name in enumerate(node.output):
                if name in outputs and outputs[name] != self._kind[name]:
                    node.output[i] = f"{name}/fp16"
                    self._kind[node.output[i]] = self._kind[name]
                    cast = helper.make_node("Cast", [node.output[i]], [name], to=outputs[name])
                    cast.name = f"{name}/Cast"
                    self._nodes.append(cast)
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in self._nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        for name, value in self._info.items():
            if value.type.tensor_type.elem_type in _FLOATS:
                value.type.tensor_type.elem_type = self._kind[name]
        used = {name for node in nodes for name in node.input}
        kept = [t for t in graph.initializer if t.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)

    def _rule(self, node: NodeProto) -> tuple[list[int], list[int]]:
        """Return the element types of a node's inputs and outputs."""
        held = [self._kind[name] for name in node.input]
        if node.domain == DOMAIN:
            schema = defs.get_schema(node.op_type, node.domain)
            made: list[int] = [
                _F16 if schema.outputs[i].type_str == "T" else _F32 for i in range(len(node.output))
            ]
            formals = [schema.inputs[i].type_str for i in range(len(node.input))]
            return [_F16 if formal == "T" else _F32 for formal in formals], made
        if node.op_type == "QuantizeLinear":  # opset 18 knows it for fp32 only
            return [_F32, *held[1:]], [held[2]]
        if node.op_type == "DequantizeLinear":
            return held, [held[1]]
        if node.op_type in _MOVING:
            kind = held[0]
        elif self._dequantized & set(node.input):
            kind = _F32  # TensorRT fuses the pairs with the product when both have one type
        else:
            half = node.op_type in HALF and any(held_kind in _FLOATS for held_kind in held)
            kind = _F16 if half else _F32
            before = [self._before.get(name, _F32) for name in node.output]
            made = [kind if one in _FLOATS else one for one in before]
            return [kind if held_kind in _FLOATS else held_kind for held_kind in held], made
        return [kind if held_kind in _FLOATS else held_kind for held_kind in held], [kind] * len(node.output)

    def _as(self, name: str, kind: int) -> str:
        """Return the name of a value in another element type, made once."""
        if self._kind[name] == kind:
            return name
        key = (name, kind)
        if key not in self._made:
            self._made[key] = self._half_weight(name) if name in self._weights else self._cast(name, kind)
            self._kind[self._made[key]] = kind
        return self._made[key]

    def _half_weight(self, name: str) -> str:
        value = numpy_helper.to_array(self._weights[name])
        largest = float(np.abs(value).max(initial=0.0))
        if largest > _LARGEST:
            raise ExportError(
                f"weight {name} does not fit in fp16",
                got=f"|w| up to {largest:g}",
                expected=f"at most {_LARGEST:g}",
                do="keep this model in fp32",
            )
        half = numpy_helper.from_array(value.astype(np.float16), f"{name}/fp16")
        self._graph.initializer.append(half)
        return half.name

    def _cast(self, name: str, kind: int) -> str:
        out = f"{name}/{'fp16' if kind == _F16 else 'fp32'}"
        cast = helper.make_node("Cast", [name], [out], to=kind)
        cast.name = f"{out}/Cast"
        self._nodes.append(cast)
        if name in self._info:
            copy = self._graph.value_info.add()
            copy.CopyFrom(self._info[name])
            copy.name, copy.type.tensor_type.elem_type = out, kind
            self._info[out] = copy
            self._kind[out] = kind
        return out

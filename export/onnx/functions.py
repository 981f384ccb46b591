"""Function bodies: which nodes get which, and models of one node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from mimamba_edge.contract import OPS
from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.mstb_body import MstbSpec, mstb_function
from mimamba_edge.export.onnx.scan_body import ScanSpec, scan_function
from mimamba_edge.export.onnx.schema import DOMAIN, MSTB, SCAN, register

__all__ = [
    "IR_VERSION",
    "attach_functions",
    "attributes",
    "custom_nodes",
    "one_node_model",
    "specs",
    "without_functions",
]

IR_VERSION = 10
"""Of every file; ONNX Runtime reads it from 1.18 on."""

_Shape = Sequence[int | str]
_Types = Mapping[str, tuple[int, _Shape]]


def custom_nodes(model: ModelProto) -> list[NodeProto]:
    """Return the graph's nodes of our domain, in order."""
    return [node for node in model.graph.node if node.domain == DOMAIN]


def attributes(node: NodeProto) -> dict[str, int | float]:
    """Return the numbers among a node's attributes."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _types(model: ModelProto) -> dict[str, tuple[int, _Shape]]:
    out: dict[str, tuple[int, _Shape]] = {}
    graph = model.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        out[value.name] = tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim]
    for initializer in graph.initializer:
        out[initializer.name] = initializer.data_type, list(initializer.dims)
    return out


def _spec(node: NodeProto, types: _Types) -> ScanSpec | MstbSpec:
    """Return what the node's body must be made for.

    Raises:
        ExportError: A size is not known.
    """
    values = attributes(node)
    wanted = ("u", "B") if node.op_type == SCAN else ("x", "w1")
    tensors = []
    for name, which in zip(wanted, (0, 3) if node.op_type == SCAN else (0, 1), strict=True):
        kind, shape = types.get(node.input[which], (0, ()))
        # Axis 0 of activations is the batch, which stays open; weights have none.
        if not kind or not all(isinstance(size, int) for size in (shape if name == "w1" else shape[1:])):
            raise ExportError(
                f"node {node.name}: the size of its input {name} is not fixed",
                got=list(shape),
                expected="numbers on every axis but the batch",
            )
        tensors.append((kind, [size if isinstance(size, int) else 0 for size in shape]))
    (kind, first), (weight_kind, second) = tensors
    if node.op_type == SCAN:
        flags = ("has_z", "delta_softplus", "reverse", "return_last_state")
        return ScanSpec(
            length=first[1],
            width=first[2],
            groups=second[2],
            states=second[3],
            kind=kind,
            **{name: bool(values[name]) for name in flags},
        )
    return MstbSpec(
        length=first[1],
        channels=first[2],
        features=second[0],
        kernel=second[2],
        kind=weight_kind,
        top_k=int(values["top_k"]),
        min_bin=int(values["min_bin"]),
        max_bin=int(values["max_bin"]),
        weighting=int(values["weighting"]),
        amplitude_scale=float(values["amplitude_scale"]),
    )


def specs(model: ModelProto) -> list[ScanSpec | MstbSpec]:
    """Return what the body of each custom node must be made for, in order.

    Raises:
        ExportError: A size is not known.
    """
    types = _types(model)
    return [_spec(node, types) for node in custom_nodes(model)]


def attach_functions(model: ModelProto) -> None:
    """Give every op of the graph one body that fits all its nodes.

    Several bodies of one op would be told apart by ``overload``, which ONNX Runtime 1.23 ignores without a
    word: every node would run the last body in the file.

    Raises:
        ExportError: A size is not known, or two nodes of an op differ in more than their direction.
    """
    held: dict[str, ScanSpec | MstbSpec] = {}
    for node, spec in zip(custom_nodes(model), specs(model), strict=True):
        before = held.setdefault(node.op_type, spec)
        if spec == before:
            continue
        if isinstance(spec, ScanSpec) and isinstance(before, ScanSpec):
            spec, before = (dataclasses.replace(s, reverse=None) for s in (spec, before))
        if spec != before:
            raise ExportError(
                f"node {node.name}: a file holds one body per op, and this node needs another one",
                got=spec,
                expected=before,
            )
        held[node.op_type] = spec
    bodies = (scan_function(s) if isinstance(s, ScanSpec) else mstb_function(s) for s in held.values())
    del model.functions[:]
    model.functions.extend(bodies)
    model.ir_version = IR_VERSION


def without_functions(model: ModelProto) -> ModelProto:
    """Return the model without the bodies of its ops."""
    bare = ModelProto()
    bare.CopyFrom(model)
    del bare.functions[:]
    return bare


_FORMALS = {
    SCAN: (("u", "delta", "A", "B", "C", "D", "delta_bias", "initial_state", "z"), ("y", "last_state")),
    MSTB: (("x", "w1", "b1", "w2", "b2"), ("y",)),
}
_ALWAYS_F32 = {"A", "D", "delta_bias", "initial_state", "x", "b1", "b2", "last_state"}


def one_node_model(
    op: str, shapes: Mapping[str, _Shape], values: Mapping[str, int | float], kind: int = TensorProto.FLOAT
) -> ModelProto:
    """Return a model of one custom node with its body, all tensors as graph inputs under their formal names.

    Args:
        op: :data:`SCAN` or :data:`MSTB`.
        shapes: Of every input; a name in place of a number leaves a batch axis open.
        values: The node's attributes.
        kind: Element type T.
    """
    register()
    inputs = [name for name in _FORMALS[op][0] if name in shapes]
    outputs = [name for name in _FORMALS[op][1] if name == "y" or values["return_last_state"]]

    first = shapes[inputs[0]]
    out_shapes = {"y": first, "last_state": (first[0], *shapes.get("A", ()))}

    def info(name: str, shape: _Shape) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT if name in _ALWAYS_F32 else kind, shape)

    attributes: dict[str, Any] = dict(values)  # make_node's own keywords have other types
    graph = helper.make_graph(
        [helper.make_node(op, inputs, outputs, name=op, domain=DOMAIN, **attributes)],
        op,
        [info(name, shapes[name]) for name in inputs],
        [info(name, out_shapes[name]) for name in outputs],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, OPS[op])]
    model = helper.make_model(graph, opset_imports=opsets)
    attach_functions(model)
    return model

"""Function bodies: which nodes get which, and models of one node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from mimamba_edge.contract import OPS
from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.body import OPSET, Body
from mimamba_edge.export.onnx.choice import Alternative, choice, size_of
from mimamba_edge.export.onnx.linear_attention import MICROSOFT
from mimamba_edge.export.onnx.mstb_body import MstbSpec, mstb_function
from mimamba_edge.export.onnx.scan_body import LINEAR_ATTENTION, STANDARD, ScanSpec, scan_function
from mimamba_edge.export.onnx.schema import DEFAULTS, DOMAIN, MSTB, SCAN, register

__all__ = [
    "IR_VERSION",
    "Types",
    "attach_functions",
    "attributes",
    "custom_nodes",
    "form_of",
    "linear_attention_model",
    "one_node_model",
    "spec_of",
    "specs",
    "types_in",
    "without_functions",
]

IR_VERSION = 10
"""Of every file; ONNX Runtime reads it from 1.18 on."""

_Shape = Sequence[int | str]
Types = Mapping[str, tuple[int, _Shape]]


def custom_nodes(model: ModelProto) -> list[NodeProto]:
    """Return the graph's nodes of our domain, in order."""
    return [node for node in model.graph.node if node.domain == DOMAIN]


def attributes(node: NodeProto) -> dict[str, int | float]:
    """Return the numbers among a node's attributes."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def types_in(model: ModelProto) -> dict[str, tuple[int, _Shape]]:
    """Return element type and shape of the graph's values, as far as the file says them."""
    out: dict[str, tuple[int, _Shape]] = {}
    graph = model.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        out[value.name] = tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim]
    for initializer in graph.initializer:
        out[initializer.name] = initializer.data_type, list(initializer.dims)
    return out


def spec_of(node: NodeProto, types: Types) -> ScanSpec | MstbSpec:
    """Return what the node's body must be made for.

    Raises:
        ExportError: A size is not known.
    """
    values = attributes(node)
    wanted = ("u", "B") if node.op_type == SCAN else ("x", "w1")
    tensors = []
    for name, which in zip(wanted, (0, 3) if node.op_type == SCAN else (0, 1), strict=True):
        kind, shape = types.get(node.input[which], (0, ()))
        # Axis 0 of activations is the batch, which stays open; weights have none. Scans take any length.
        fixed = shape if name == "w1" else shape[1:] if node.op_type == MSTB else shape[2:]
        if not kind or not fixed or not all(isinstance(size, int) for size in fixed):
            raise ExportError(
                f"node {node.name}: the size of its input {name} is not fixed",
                got=list(shape),
                expected="numbers on every axis but the batch and the length of a scan",
            )
        tensors.append((kind, [size if isinstance(size, int) else 0 for size in shape]))
    (kind, first), (weight_kind, second) = tensors
    if node.op_type == SCAN:
        names = ("has_z", "delta_softplus", "reverse", "return_last_state")
        flags: dict[str, Any] = {name: bool(values[name]) for name in names}
        return ScanSpec(
            length=first[1] or None,
            width=first[2],
            groups=second[2],
            states=second[3],
            kind=kind,
            **flags,
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
        period_rule=int(values.get("period_rule", 0)),
    )


def specs(model: ModelProto) -> list[ScanSpec | MstbSpec]:
    """Return what the body of each custom node must be made for, in order.

    Raises:
        ExportError: A size is not known.
    """
    types = types_in(model)
    return [spec_of(node, types) for node in custom_nodes(model)]


def form_of(model: ModelProto) -> str:
    """Return the form of a model's scans: :data:`LINEAR_ATTENTION` where a body uses that op."""
    used = {opset.domain for function in model.functions for opset in function.opset_import}
    return LINEAR_ATTENTION if MICROSOFT in used else STANDARD


def attach_functions(model: ModelProto, form: str | None = None) -> None:
    """Give every op of the graph one body that fits all its nodes.

    Several bodies of one op would be told apart by ``overload``, which ONNX Runtime 1.23 ignores without a
    word: every node would run the last body in the file. So one body holds them all and chooses by the node
    (:mod:`mimamba_edge.export.onnx.choice`). The nodes of a body must have the same tensors: where scans
    differ in that, gates are written out behind them, and all give their last state.

    Args:
        model: The model, changed in place.
        form: Of the scans; that of the bodies there are, if not given.

    Raises:
        ExportError: A size is not known.
    """
    _same_tensors(model.graph)
    _same_attributes(model.graph)
    found: dict[str, list[ScanSpec | MstbSpec]] = {}
    for node, spec in zip(custom_nodes(model), specs(model), strict=True):
        if isinstance(spec, ScanSpec):
            spec = dataclasses.replace(spec, form=form or form_of(model))
        found.setdefault(node.op_type, []).append(spec)
    scans = [spec for spec in found.get(SCAN, ()) if isinstance(spec, ScanSpec)]
    if any(spec.length is None for spec in scans):  # a body for any length serves all
        found[SCAN] = [dataclasses.replace(spec, length=None) for spec in scans]
    bodies = [_body(op, several, _constant(model, op)) for op, several in found.items()]
    del model.functions[:]
    model.functions.extend(bodies)
    model.ir_version = IR_VERSION


def _same_tensors(graph: GraphProto) -> None:
    """Give all scans a gate or none, and all a last state or none."""
    scans = [node for node in graph.node if node.domain == DOMAIN and node.op_type == SCAN]
    flags = {name: {attributes(node)[name] for node in scans} for name in ("has_z", "return_last_state")}
    for node in scans:
        if len(flags["return_last_state"]) > 1 and not attributes(node)["return_last_state"]:
            _set(node, "return_last_state", 1)
            node.output.append(f"{node.output[0]}/last_state")
        if len(flags["has_z"]) > 1 and attributes(node)["has_z"]:
            _set(node, "has_z", 0)
            y, z = node.output[0], node.input.pop()
            node.output[0] = f"{y}/ungated"
            at = list(graph.node).index(node)
            for op, inputs, output in (
                ("Mul", (f"{y}/ungated", f"{y}/silu"), y),
                ("Mul", (z, f"{y}/sigmoid"), f"{y}/silu"),
                ("Sigmoid", (z,), f"{y}/sigmoid"),
            ):
                graph.node.insert(at + 1, helper.make_node(op, inputs, [output], name=f"{output}/{op}"))


def _same_attributes(graph: GraphProto) -> None:
    """Let all nodes of an op have an attribute or none, since a body that chooses reads it from each."""
    for op, defaults in DEFAULTS.items():
        nodes = [node for node in graph.node if node.domain == DOMAIN and node.op_type == op]
        for name, value in defaults.items():
            lacking = [node for node in nodes if name not in attributes(node)]
            if len(lacking) < len(nodes):
                for node in lacking:
                    node.attribute.append(helper.make_attribute(name, value))


def _set(node: NodeProto, name: str, value: int) -> None:
    next(attribute for attribute in node.attribute if attribute.name == name).i = value


def _function(spec: ScanSpec | MstbSpec) -> FunctionProto:
    return scan_function(spec) if isinstance(spec, ScanSpec) else mstb_function(spec)


_READ = {
    SCAN: {"length": ("u", 0), "width": ("u", 1), "groups": ("B", 1), "states": ("B", 2)},
    MSTB: {"length": ("x", 0), "channels": ("x", 1), "features": ("w1", 0), "kernel": ("w1", 2)},
}
"""Where a field of a specification stands in a node's tensors: input and axis, the batch not counted."""
_WEIGHTS = {
    SCAN: {"A": False, "D": False, "delta_bias": False, "initial_state": True},
    MSTB: dict.fromkeys(("w1", "b1", "w2", "b2"), False),
}
"""Inputs that are weights, and whether they have a batch."""


def _constant(model: ModelProto, op: str) -> set[str]:
    """Return the inputs of an op, by their formal names, that are the same for every input of the graph."""
    moving = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if moving & set(node.input):
            moving |= set(node.output)
    return {
        formal
        for node in custom_nodes(model)
        if node.op_type == op
        for formal, name in zip(_FORMALS[op][0], node.input, strict=False)
        if name not in moving
    }


def _body(op: str, found: Sequence[ScanSpec | MstbSpec], constant: set[str]) -> FunctionProto:
    """Return one body for the nodes of an op."""
    found = list(dict.fromkeys(found))
    if len(found) == 1:
        return _function(found[0])
    both_ways = {dataclasses.replace(spec, reverse=None) for spec in found if isinstance(spec, ScanSpec)}
    if len(both_ways) == 1:
        return _function(both_ways.pop())
    plain = list(dict.fromkeys(dataclasses.replace(spec, kind=TensorProto.FLOAT) for spec in found))
    names = [field.name for field in dataclasses.fields(plain[0])]
    told_by = [name for name in names if len({getattr(spec, name) for spec in plain}) > 1]

    def read(b: Body, field: str) -> str:
        if field not in _READ[op]:
            kind = "float" if isinstance(getattr(plain[0], field), float) else "int"
            return b.op("Reshape", b.attribute(field, kind), b.ints(1))
        name, axis = _READ[op][field]
        return b.op("Gather", size_of(b, name, batch=name not in _WEIGHTS[op]), b.ints(axis))

    alternatives = [
        Alternative({name: getattr(spec, name) for name in told_by}, _function(spec), _shapes(spec))
        for spec in plain
    ]
    typed = [name for name in _FORMALS[op][0] if name not in _ALWAYS_F32]
    weights = dict.fromkeys(constant, True) | _WEIGHTS[op]
    return choice(alternatives, read, weights=weights, typed=typed if plain != found else [])


def _shapes(spec: ScanSpec | MstbSpec) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a node's inputs by their formal names, without a batch."""
    if isinstance(spec, ScanSpec):
        length = spec.length or 0  # a Reshape keeps what is 0
        row, shared = (length, spec.width), (length, spec.groups, spec.states)
        rates, width = (spec.width, spec.states), (spec.width,)
        shapes = {"u": row, "delta": row, "A": rates, "B": shared, "C": shared}
        return shapes | {"D": width, "delta_bias": width, "initial_state": rates, "z": row}
    first, second = (spec.features, spec.channels), (spec.channels, spec.features)
    kernel = (spec.kernel, spec.kernel)
    return {
        "x": (spec.length, spec.channels),
        "w1": first + kernel,
        "b1": first[:1],
        "w2": second + kernel,
        "b2": second[:1],
    }


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
    op: str,
    shapes: Mapping[str, _Shape],
    values: Mapping[str, int | float],
    kind: int = TensorProto.FLOAT,
    form: str = STANDARD,
) -> ModelProto:
    """Return a model of one custom node with its body, all tensors as graph inputs under their formal names.

    Args:
        op: :data:`SCAN` or :data:`MSTB`.
        shapes: Of every input; a name in place of a number leaves a batch axis open.
        values: The node's attributes.
        kind: Element type T.
        form: Of a scan.
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
    attach_functions(model, form)
    return model


def linear_attention_model(
    shapes: Mapping[str, _Shape], values: Mapping[str, int | float], kind: int = TensorProto.FLOAT
) -> ModelProto:
    """Return :func:`one_node_model` of a scan whose body is ONNX Runtime's LinearAttention (from 1.25.1)."""
    return one_node_model(SCAN, shapes, values, kind, LINEAR_ATTENTION)

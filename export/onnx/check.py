"""Rules that every exported graph keeps."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, defs

from mimamba_edge.contract import FIELDS, FOREIGN_FAMILY, LOGITS, OPS, WINDOWS, Promise
from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.functions import IR_VERSION, attributes, custom_nodes
from mimamba_edge.export.onnx.plugin_shapes import plugin_faults, shapes_of
from mimamba_edge.export.onnx.schema import DEFAULTS, DOMAIN, SCAN, register
from mimamba_edge.signature import Signature

__all__ = ["NODES_PER_LAYER", "Expected", "check_graph", "expected"]

NODES_PER_LAYER = 40
"""More standard nodes than this per Mamba direction mean that a scan was unrolled: one takes about 20."""
_NODES_AROUND = 20
_UNBOUNDED = 1 << 30


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a model's graph must hold.

    Attributes:
        calls: Number of nodes of each custom op.
        bodies: Whether the custom nodes carry bodies (the portable form) or not (for TensorRT).
        inputs: Names of the graph's inputs.
        outputs: Names of its outputs.
        nodes: Standard nodes there may be; ``None``: as many as a network of ours needs for its scans.
    """

    calls: Mapping[str, int]
    bodies: bool = True
    inputs: tuple[str, ...] = (WINDOWS,)
    outputs: tuple[str, ...] = (LOGITS,)
    nodes: int | None = None


def expected(calls: Mapping[str, int], promise: Promise, *, bodies: bool = True) -> Expected:
    """Return what a graph must hold whose tensors are those of a contract or a signature.

    A model of others may have any number of standard nodes: nobody knows how large it should be.
    """
    if not isinstance(promise, Signature):
        nodes = _UNBOUNDED if promise.family == FOREIGN_FAMILY else None
        return Expected(calls, bodies, nodes=nodes)
    inputs = (promise.input.name, *(state.input for state in promise.states))
    outputs = (*(t.name for t in promise.outputs), *(state.output for state in promise.states))
    return Expected(calls, bodies, inputs, outputs, _UNBOUNDED)


def check_graph(model: ModelProto, expected: Expected) -> None:
    """Check an exported model.

    Raises:
        ExportError: A rule is broken; the message names the node.
    """
    register()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError("the exported graph is not valid ONNX", got=str(error).splitlines()[0]) from error
    functions = {(f.domain, f.name) for f in model.functions}
    for node in model.graph.node:
        _check_node(node, functions, expected)
    if not expected.bodies:
        _check_plugins(model)
    _check_header(model, expected)
    counts = Counter(node.op_type for node in model.graph.node if node.domain == DOMAIN)
    want = {name: count for name, count in expected.calls.items() if count}
    if dict(counts) != want:
        raise ExportError(
            "the graph does not hold one node for each call of an op", got=dict(counts), expected=want
        )
    scans = expected.calls.get(SCAN, 0)
    bound = _bound(scans) if expected.nodes is None else expected.nodes
    standard = sum(node.domain == "" for node in model.graph.node)
    if scans and standard > bound:
        common = ", ".join(
            f"{n} {op}" for op, n in Counter(n.op_type for n in model.graph.node).most_common(4)
        )
        raise ExportError(
            "the graph has so many nodes that a scan must have been unrolled into it",
            got=f"{standard} standard nodes: {common}",
            expected=f"at most {bound}",
        )


def _check_plugins(model: ModelProto) -> None:
    shapes = shapes_of(model.graph)
    for node in custom_nodes(model):
        sizes = ([shapes.get(name) for name in names] for names in (node.input, node.output))
        for fault in plugin_faults(node.op_type, attributes(node), *sizes):
            raise ExportError(f"node {node.name} ({node.op_type}) does not fit its plugin", got=fault)


def _bound(scans: int) -> int:
    return NODES_PER_LAYER * scans + _NODES_AROUND


def _check_header(model: ModelProto, expected: Expected) -> None:
    opsets = {o.domain: o.version for o in model.opset_import}
    want = {"": OPSET, DOMAIN: OPS[SCAN]} if any(expected.calls.values()) else {"": OPSET}
    if opsets != want:
        raise ExportError("the graph imports other opsets", got=opsets, expected=want)
    if model.ir_version > IR_VERSION:
        raise ExportError(
            "the file's IR version is too new", got=model.ir_version, expected=f"at most {IR_VERSION}"
        )
    names = [v.name for v in model.graph.input], [v.name for v in model.graph.output]
    wanted = list(expected.inputs), list(expected.outputs)
    if names != wanted:
        raise ExportError("the graph has other inputs or outputs", got=names, expected=wanted)
    foreign = [f.name for f in model.functions if f.domain != DOMAIN]
    if foreign:
        raise ExportError("functions of the exporter are left in the file", got=foreign)


def _check_node(node: NodeProto, functions: set[tuple[str, str]], expected: Expected) -> None:
    where = f"node {node.name} ({node.op_type})"
    if node.domain not in ("", DOMAIN):
        raise ExportError(f"{where} is of an unknown domain", got=node.domain, expected=DOMAIN)
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    if node.op_type in ("Loop", "Scan", "If") or any(a.type in kinds for a in node.attribute):
        raise ExportError(
            f"{where} is control flow outside the function bodies",
            do="make the model call the custom ops of mimamba_edge.export.ops instead of looping itself",
        )
    if node.domain != DOMAIN:
        return
    if not all((*node.input, *node.output)):
        raise ExportError(f"{where} has an empty name among its inputs or outputs", got=list(node.input))
    if ((node.domain, node.op_type) in functions) != expected.bodies:
        raise ExportError(
            f"{where} {'has no body' if expected.bodies else 'still has a body'}",
            expected="a body" if expected.bodies else "none: TensorRT would take it before the plugin",
        )
    fields = FIELDS.get(node.op_type, ())
    given = {attribute.name for attribute in node.attribute} & set(fields)
    wanted = {
        name
        for name in fields
        if not expected.bodies or defs.get_schema(node.op_type, DOMAIN).attributes[name].required
    }
    if expected.bodies:
        given -= set(DEFAULTS.get(node.op_type, ()))
    if given != wanted:
        raise ExportError(
            f"{where} has other attributes than {'the op' if expected.bodies else 'its plugin'}",
            got=sorted(given),
            expected=sorted(wanted),
        )

"""Function bodies written out in the graph, under names that tell where each value came from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from onnx import FunctionProto, ModelProto, NodeProto

from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.body import rename
from mimamba_edge.export.onnx.choice import chosen, is_choice
from mimamba_edge.export.onnx.functions import Types, spec_of, types_in
from mimamba_edge.export.onnx.linear_attention import MICROSOFT
from mimamba_edge.export.onnx.schema import MSTB, SCAN

__all__ = ["inline", "label"]


def label(node: NodeProto) -> str:
    """Return the name of a node; of one without a name that of its first output, which is unique as well."""
    return node.name or next((name for name in node.output if name), node.op_type)


def inline(model: ModelProto, ops: Collection[str] = (MSTB, SCAN)) -> ModelProto:
    """Return the model with the bodies of some ops in place of their nodes.

    Inner nodes and values are named ``outer node/inner name``, which onnx's own inliner does not promise.

    Args:
        model: With function bodies; unchanged.
        ops: Which ops; the others keep node and body.
    """
    bodies = {(f.domain, f.name): f for f in model.functions if f.name in ops}
    types = types_in(model)
    out = ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    for node in model.graph.node:
        body = bodies.get((node.domain, node.op_type))
        out.graph.node.extend([node] if body is None else _written_out(node, body, types))
    kept = [f for f in model.functions if f.name not in ops]
    del out.functions[:]
    out.functions.extend(kept)
    left = {""} | {node.domain for node in out.graph.node} | {MICROSOFT}
    imports = [o for body in bodies.values() for o in body.opset_import]
    opsets = list({o.domain: o for o in (*imports, *out.opset_import) if o.domain in left}.values())
    del out.opset_import[:]
    out.opset_import.extend(opsets)
    return out


def _written_out(node: NodeProto, body: FunctionProto, types: Types) -> list[NodeProto]:
    names = dict(zip(body.input, node.input, strict=False))
    names.update(zip(body.output, node.output, strict=False))
    prefix = f"{label(node)}/"
    copies = [_copy(inner) for inner in _nodes(node, body, types)]
    for inner in copies:
        _resolve(inner, node)
        rename(inner, lambda name: names.get(name, prefix + name) if name else name)
        _prefix_nodes(inner, prefix)
    return copies


def _nodes(node: NodeProto, body: FunctionProto, types: Types) -> Sequence[NodeProto]:
    """Return the nodes of a body; of one that chooses, what it chooses for a node whose sizes are known."""
    if not is_choice(body):
        return list(body.node)
    try:
        spec = spec_of(node, types)
    except ExportError:
        return list(body.node)
    return chosen(body, lambda field: float(getattr(spec, field)))


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _resolve(inner: NodeProto, node: NodeProto) -> None:
    """Put the node's own attributes in place of references to them."""
    values = {attribute.name: attribute for attribute in node.attribute}
    for attribute in inner.attribute:
        if attribute.ref_attr_name:
            name = attribute.name
            attribute.CopyFrom(values[attribute.ref_attr_name])
            attribute.name = name
        for deeper in attribute.g.node:
            _resolve(deeper, node)


def _prefix_nodes(node: NodeProto, prefix: str) -> None:
    node.name = prefix + (node.name or node.op_type)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            _prefix_nodes(inner, prefix)

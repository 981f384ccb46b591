"""Function bodies written out in the graph, under names that tell where each value came from."""

from __future__ import annotations

from collections.abc import Collection

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

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
    out = ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    for node in model.graph.node:
        body = bodies.get((node.domain, node.op_type))
        out.graph.node.extend([node] if body is None else _written_out(node, body))
    kept = [f for f in model.functions if f.name not in ops]
    del out.functions[:]
    out.functions.extend(kept)
    left = {""} | {node.domain for node in out.graph.node}
    opsets = [o for o in out.opset_import if o.domain in left]
    del out.opset_import[:]
    out.opset_import.extend(opsets)
    return out


def _written_out(node: NodeProto, body: FunctionProto) -> list[NodeProto]:
    names = dict(zip(body.input, node.input, strict=False))
    names.update(zip(body.output, node.output, strict=False))
    copies = [_copy(inner) for inner in body.node]
    for inner in copies:
        _resolve(inner, node)
        _rename(inner, names, f"{label(node)}/")
    return copies


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


def _rename(node: NodeProto, names: dict[str, str], prefix: str) -> None:
    """Rename a node and all it holds; names of a function's values are unique through its subgraphs."""

    def new(name: str) -> str:
        return names.get(name, prefix + name) if name else name

    node.name = prefix + (node.name or node.op_type)
    node.input[:] = [new(name) for name in node.input]
    node.output[:] = [new(name) for name in node.output]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            graph: GraphProto = attribute.g
            for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
                value.name = new(value.name)
            for inner in graph.node:
                _rename(inner, names, prefix)

"""What is done to the traced graph: unread outputs, convolutions, names, notes of the exporter."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs, numpy_helper

from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.schema import DOMAIN, SCAN

__all__ = ["tidy"]

_SCOPES = "pkg.torch.onnx.name_scopes"


def tidy(model: ModelProto) -> None:
    """Make the traced graph lean and readable, in place.

    Nodes are named ``module/Op`` after the module of the torch model that made them, values after their node;
    what the exporter noted on nodes (source lines, paths of this machine) is removed.
    """
    graph = model.graph
    _drop_last_states(graph)
    _slices_into_convolutions(graph)
    _drop_unused_initializers(graph)
    _rename(graph)
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.initializer,
        *graph.value_info,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    graph.name = "MSiMamba"
    model.producer_name, model.producer_version = "mimamba-edge", ""


def _users(graph: GraphProto) -> dict[str, list[NodeProto]]:
    users: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    return users


def _drop_last_states(graph: GraphProto) -> None:
    """Ask a scan for its last state only where somebody reads it."""
    users, results = _users(graph), {value.name for value in graph.output}
    for node in graph.node:
        if node.domain == DOMAIN and node.op_type == SCAN and len(node.output) == 2:
            read = bool(users[node.output[1]]) or node.output[1] in results
            for attribute in node.attribute:
                if attribute.name == "return_last_state":
                    attribute.i = int(read)
            if not read:
                _forget(graph, node.output.pop())


def _forget(graph: GraphProto, value: str) -> None:
    for info in [v for v in graph.value_info if v.name == value]:
        graph.value_info.remove(info)


def _slices_into_convolutions(graph: GraphProto) -> None:
    """Pad a one-dimensional convolution on one side only where a Slice cuts the other side off again."""
    users = _users(graph)
    constants = {
        i.name: numpy_helper.to_array(i) for i in graph.initializer if i.data_type == TensorProto.INT64
    }
    for conv in [n for n in graph.node if n.op_type == "Conv"]:
        after = users[conv.output[0]]
        pads = next((a.ints for a in conv.attribute if a.name == "pads"), [])
        if len(after) != 1 or after[0].op_type != "Slice" or len(pads) != 2:
            continue
        cut = after[0]
        full, kept = _length(graph, conv.output[0]), _length(graph, cut.output[0])
        along = [constants[name].tolist() for name in cut.input[1:] if name in constants]
        if len(along) != 4 or along[2:] != [[2], [1]] or full is None or kept is None:
            continue
        start = along[0][0] if along[0][0] >= 0 else along[0][0] + full
        left, right = pads[0] - start, pads[1] - (full - start - kept)
        if left < 0 or right < 0:
            continue
        pads[:] = [left, right]
        _forget(graph, conv.output[0])
        conv.output[0] = cut.output[0]
        graph.node.remove(cut)


def _length(graph: GraphProto, value: str) -> int | None:
    """Return the size of axis 2 of a value of three axes, if it is known."""
    dims = next((v.type.tensor_type.shape.dim for v in graph.value_info if v.name == value), [])
    return dims[2].dim_value or None if len(dims) == 3 else None


def _drop_unused_initializers(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for initializer in [i for i in graph.initializer if i.name not in used]:
        _forget(graph, initializer.name)
        graph.initializer.remove(initializer)


def _module(node: NodeProto, users: dict[str, list[NodeProto]]) -> str:
    """Return the path of the torch module that a node came from; empty for the network itself."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = ast.literal_eval(entry.value)
            return str(scopes[-2]) if len(scopes) > 1 else ""
    # The exporter's own rewrites carry no scope: the node belongs to whoever reads it first.
    readers = [reader for output in node.output for reader in users[output]]
    return _module(readers[0], users) if readers else ""


def _constant_name(node: NodeProto, index: int) -> str:
    if node.op_type in ("MatMul", "Gemm"):
        return "weight"
    formals = defs.get_schema(node.op_type, OPSET, node.domain).inputs
    return str(formals[min(index, len(formals) - 1)].name)


def _rename(graph: GraphProto) -> None:
    users = _users(graph)
    kept = {value.name for value in (*graph.input, *graph.output)}
    modules = [_module(node, users) for node in graph.node]
    stems = [
        f"{module}/{node.op_type}" if module else node.op_type
        for module, node in zip(modules, graph.node, strict=True)
    ]
    total, seen = Counter(stems), Counter[str]()
    names: dict[str, str] = {}
    for node, stem in zip(graph.node, stems, strict=True):
        node.name = f"{stem}_{seen[stem]}" if total[stem] > 1 else stem
        seen[stem] += 1
        for index, output in enumerate(node.output):
            if output not in kept:
                names[output] = f"{node.name}:{index}" if len(node.output) > 1 else node.name
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name.startswith("val_") and name not in names:
                names[name] = f"{node.name}.{_constant_name(node, index)}"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for named in (*graph.initializer, *graph.value_info):
        named.name = names.get(named.name, named.name)

"""What is done to the traced graph: unread outputs, names, notes of the exporter."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict

from onnx import GraphProto, ModelProto, NodeProto, defs

from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.schema import DOMAIN, SCAN

__all__ = ["tidy"]

_SCOPES = "pkg.torch.onnx.name_scopes"
_NO_MODULE = "_empty_nn_module_stack"
"""Begins what torch calls the module of a node that reads an open size of the inputs."""


def tidy(model: ModelProto, *, name: str) -> None:
    """Make the traced graph lean and readable, in place.

    Nodes are named ``module/Op`` after the module of the torch model that made them, values after their node;
    what the exporter noted on nodes (source lines, paths of this machine) is removed.

    Args:
        model: The model.
        name: Of the graph.
    """
    graph = model.graph
    _drop_last_states(graph)
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
    graph.name = name
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


def _module(node: NodeProto, users: dict[str, list[NodeProto]]) -> str:
    """Return the path of the torch module that a node came from; empty for the network itself."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = ast.literal_eval(entry.value)
            module = str(scopes[-2]) if len(scopes) > 1 else ""
            return "" if module.startswith(_NO_MODULE) else module
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
                stem = f"{node.name}.{_constant_name(node, index)}"
                names[name] = f"{stem}_{index}" if stem in names.values() else stem
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for named in (*graph.initializer, *graph.value_info):
        named.name = names.get(named.name, named.name)

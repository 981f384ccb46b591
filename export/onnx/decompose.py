"""Decomposition of an exported program, only of what must be decomposed.

``torch.onnx.export`` has ``ExportedProgram.run_decompositions`` trace the whole program twice more, which is
half of the time of an export, though nearly all ops have translations of their own. Here those few that have
none are traced alone, each in its place.
"""

from __future__ import annotations

import contextlib
import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

__all__ = ["decomposing_op_by_op"]

_aten = torch.ops.aten
_Table = Mapping[Any, Callable[..., Any]]
_KEPT_META = ("nn_module_stack", "stack_trace", "torch_fn", "source_fn_stack")
_NO_ASSERTIONS = (_aten._assert_tensor_metadata.default,)
_GIVE_THEIR_INPUT = (_aten.alias.default, _aten.detach.default, _aten.detach_.default)
"""In a program where nothing changes in place."""
_TRANSLATED = (_aten.chunk.default, _aten.contiguous.default, _aten.reshape.default)
"""Composite ops with a translation that torch decomposes all the same."""


@contextlib.contextmanager
def decomposing_op_by_op(program: ExportedProgram) -> Iterator[None]:
    """Let a program decompose itself so, when ``torch.onnx.export`` asks it to while the context is open.

    A program with what changes tensors in place, or with subgraphs, is decomposed as torch does it.
    """
    whole: Callable[..., ExportedProgram] = program.run_decompositions
    before = copy.deepcopy(program.graph)

    def take_back() -> None:
        """Undo what was decomposed: torch's own way starts from ops that it knows."""
        program.graph_module.graph = before
        _name_outputs(program)

    def run_decompositions(decomp_table: Any = None, **others: Any) -> ExportedProgram:
        if decomp_table is not None and _decomposed(program, decomp_table):
            return program
        take_back()
        return whole(decomp_table, **others)

    program.run_decompositions = run_decompositions
    try:
        yield
    except Exception:
        take_back()
        raise
    finally:
        del program.run_decompositions


def _decomposed(program: ExportedProgram, table: _Table) -> bool:
    """Decompose what has no translation; return whether that could be done op by op."""
    graph = program.graph
    if not all(_is_functional(node) for node in graph.nodes if node.op == "call_function"):
        return False
    _drop_no_ops(graph)
    try:
        known = torch.export.default_decompositions()
        for node in list(graph.nodes):
            if node.op == "call_function" and _must_go(node.target, table, known):
                _replace(graph, node, table)
    except Exception:  # of any kind: torch's own way is there
        return False
    finally:
        _name_outputs(program)
    graph.eliminate_dead_code()
    graph.lint()
    return True


def _drop_no_ops(graph: Graph) -> None:
    """Take out what gives its input as it is, and assertions about types that are known."""
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in _NO_ASSERTIONS:
            graph.erase_node(node)
        elif node.target in _GIVE_THEIR_INPUT or _is_cast_to_itself(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _is_cast_to_itself(node: Node) -> bool:
    if node.target is not _aten.to.dtype or len(node.args) != 2 or node.kwargs:
        return False
    taken, kind = node.args
    return isinstance(taken, Node) and taken.meta["val"].dtype == kind


def _is_functional(node: Node) -> bool:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target in _GIVE_THEIR_INPUT or not target._schema.is_mutable
    return target is operator.getitem or getattr(target, "__module__", "") in ("_operator", "math")


def _must_go(target: Any, table: _Table, known: _Table) -> bool:
    """Return whether an op has no translation: it is to be decomposed, or composite and never preserved."""
    if target in table:
        return True
    composite = isinstance(target, torch._ops.OpOverload) and target._can_decompose()
    return composite and target not in known and target not in _TRANSLATED


def _replace(graph: Graph, node: Node, table: _Table) -> None:
    """Put in a node's place what it decomposes to.

    Raises:
        Exception: It cannot be traced alone.
    """
    flat, spec = pytree.tree_flatten((node.args, node.kwargs))
    places = [index for index, value in enumerate(flat) if isinstance(value, Node)]

    def call(*values: Any) -> Any:
        given = list(flat)
        for index, value in zip(places, values, strict=True):
            given[index] = value
        args, kwargs = pytree.tree_unflatten(given, spec)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    with torch.no_grad():
        traced = make_fx(call, decomposition_table=dict(table))(
            *(flat[index].meta["val"] for index in places)
        )
    inputs = [inner for inner in traced.graph.nodes if inner.op == "placeholder"]
    held = dict(zip(inputs, (flat[index] for index in places), strict=True))
    about = {key: node.meta[key] for key in _KEPT_META if key in node.meta}
    with graph.inserting_before(node):
        for inner in traced.graph.nodes:
            if inner.op == "call_function":
                held[inner] = graph.node_copy(inner, lambda old: held[old])
                held[inner].meta = {**inner.meta, **about}
            elif inner.op not in ("placeholder", "output"):
                raise ValueError(f"{node.target} decomposes to {inner.op}")
    (result,) = traced.graph.output_node().args
    if isinstance(result, Node):
        node.replace_all_uses_with(held[result])
    else:
        for user in list(node.users):
            if user.target is not operator.getitem:
                raise ValueError(f"{node.target} gives several values")
            user.replace_all_uses_with(held[result[user.args[1]]])  # type: ignore[index]
            graph.erase_node(user)
    graph.erase_node(node)


def _name_outputs(program: ExportedProgram) -> None:
    """Tell the signature the names of what the graph now returns."""
    (results,) = program.graph.output_node().args
    for result, spec in zip(results, program.graph_signature.output_specs, strict=True):
        if isinstance(result, Node):
            spec.arg.name = result.name

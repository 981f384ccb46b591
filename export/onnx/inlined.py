"""The form for runtimes that know no functions, and no Scan that reads values from around it.

Bodies are written out, a choice by a constant is made, and what a Scan reads from around it becomes its own:
a constant stands in the Scan's graph, where loaders fold it into a convolution; anything else is carried from
step to step as a state that does not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from onnx.reference import ReferenceEvaluator

from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.inline import inline, label

__all__ = ["captured", "inlined_faults", "inlined_form"]

_CHOICES = 64
"""Depth of choices inside choices that are made; more mean a fault of ours."""


def inlined_form(model: ModelProto) -> ModelProto:
    """Return a model of standard ops without functions, in which no Scan reads a value from around it.

    Args:
        model: The portable form; unchanged.

    Raises:
        ExportError: An op without a body is left, or the form is not valid ONNX.
    """
    out = inline(model, {f.name for f in model.functions})
    for _ in range(_CHOICES):
        if not _make_choices(out.graph):
            break
    _run_forwards(out.graph)
    _name_types(out)
    shown = _unread(out.graph)  # auxiliary values, which a caller may ask for
    _compute_constants(out.graph)
    _close_scans(out.graph)
    _drop_unread(out.graph, shown)
    # What is noted of inner shapes names the open batch, which contradicts a number that tract is told.
    del out.graph.value_info[:]
    faults = inlined_faults(out)
    if faults:
        raise ExportError("the model has no form without functions", got="; ".join(faults))
    try:
        onnx.checker.check_model(out, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError("the inlined graph is not valid ONNX", got=str(error).splitlines()[0]) from error
    return out


def inlined_faults(model: ModelProto) -> list[str]:
    """Return in words what keeps a model from being of this form."""
    faults = [f"a function {f.domain}.{f.name}" for f in model.functions]
    for node in _all_nodes(model.graph):
        if node.domain not in ("", "ai.onnx"):
            faults.append(f"node {label(node)} is of the domain {node.domain}")
        if node.op_type == "Scan":
            for name in captured(_graphs(node)[0]):
                faults.append(f"node {label(node)} reads {name} from around it")
    return faults


def captured(graph: GraphProto) -> list[str]:
    """Return the values that a subgraph reads and that it does not hold, in order, each once."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    read: dict[str, None] = {}
    for node in graph.node:
        read |= dict.fromkeys(name for name in _reads(node) if name not in own)
        own.update(node.output)
    read |= dict.fromkeys(value.name for value in graph.output if value.name not in own)
    return list(read)


def _graphs(node: NodeProto) -> list[GraphProto]:
    return [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for inner in _graphs(node):
            yield from _all_nodes(inner)


def _reads(node: NodeProto) -> list[str]:
    """Return what a node reads, through its subgraphs as well."""
    inner = [name for graph in _graphs(node) for name in captured(graph)]
    return [name for name in node.input if name] + inner


class _Constants:
    """Values of a graph that do not depend on its inputs.

    Args:
        graph: The whole graph.
    """

    def __init__(self, graph: GraphProto) -> None:
        self._initializers = {t.name: t for t in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._shapes: dict[str, list[int | None]] = {
            value.name: [d.dim_value if d.HasField("dim_value") else None for d in dims]
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.tensor_type.HasField("shape")
            for dims in [value.type.tensor_type.shape.dim]
        }
        self._shapes |= {t.name: list(t.dims) for t in graph.initializer}

    def hold(self, name: str, value: NDArray[Any]) -> TensorProto:
        """Remember a value that was computed; returns it as an initializer."""
        tensor: TensorProto = numpy_helper.from_array(value, name)
        self._initializers[name] = tensor
        return tensor

    def value(self, name: str) -> NDArray[Any] | None:
        """Return a value, or ``None`` where it follows from the graph's inputs."""
        nodes: dict[int, NodeProto] = {}
        leaves: dict[str, TensorProto] = {}
        if not self._collect(name, nodes, leaves):
            return None
        if name in leaves:
            return numpy_helper.to_array(leaves[name])
        output = helper.make_empty_tensor_value_info(name)
        graph = helper.make_graph(list(nodes.values()), "constant", [], [output], list(leaves.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        results: Any = ReferenceEvaluator(model).run(None, {})
        return np.asarray(results[0])

    def _collect(self, name: str, nodes: dict[int, NodeProto], leaves: dict[str, TensorProto]) -> bool:
        """Gather the nodes that a value follows from, in order; False if one has no constant value."""
        if name in leaves or any(name in node.output for node in nodes.values()):
            return True
        if name in self._initializers:
            leaves[name] = self._initializers[name]
            return True
        node = self._producers.get(name)
        if node is None or _graphs(node):
            return False
        if node.op_type == "Shape":
            shape = self._shapes.get(node.input[0])
            cut = {a.name: a.i for a in node.attribute}
            sizes = None if shape is None else shape[cut.get("start", 0) : cut.get("end", len(shape))]
            if sizes is None or None in sizes:
                return False
            leaves[name] = numpy_helper.from_array(np.array(sizes, np.int64), name)
            return True
        if not all(self._collect(one, nodes, leaves) for one in node.input if one):
            return False
        nodes[len(nodes)] = node
        return True


def _make_choices(graph: GraphProto) -> bool:
    """Put the nodes of the branch taken in place of each If of a constant; returns whether there was one."""
    constants, nodes, made = _Constants(graph), list(graph.node), False
    del graph.node[:]
    for node in nodes:
        flag = constants.value(node.input[0]) if node.op_type == "If" else None
        if flag is None:
            graph.node.append(node)
            continue
        made = True
        wanted = "then_branch" if flag.item() else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == wanted)
        graph.initializer.extend(branch.initializer)
        graph.node.extend(branch.node)
        for inner, outer in zip(branch.output, node.output, strict=True):
            graph.node.append(helper.make_node("Identity", [inner.name], [outer], name=outer))
    return made


def _name_types(model: ModelProto) -> None:
    """Let the graph name the element types of its values."""
    known = {value.name for value in model.graph.value_info}
    inferred = onnx.shape_inference.infer_shapes(model)
    model.graph.value_info.extend(v for v in inferred.graph.value_info if v.name not in known)


def _compute_constants(graph: GraphProto) -> None:
    """Put values in place of nodes that compute the same for every input: not all loaders take each."""
    constants, nodes = _Constants(graph), list(graph.node)
    del graph.node[:]
    for node in nodes:
        held = node.op_type == "Constant" or _graphs(node) or len(node.output) != 1
        value = None if held else constants.value(node.output[0])
        if value is None:
            graph.node.append(node)
        else:
            graph.initializer.append(constants.hold(node.output[0], value))


def _close_scans(graph: GraphProto) -> None:
    constants = _Constants(graph)
    values = {value.name: value for value in (*graph.input, *graph.value_info)}
    for node in graph.node:
        if node.op_type == "Scan":
            for name in captured(_graphs(node)[0]):
                value = constants.value(name)
                if value is None:
                    _carry(node, name, values.get(name) or helper.make_empty_tensor_value_info(name))
                else:
                    _hold(node, name, value)


def _run_forwards(graph: GraphProto) -> None:
    """Turn sequences around outside a Scan that reads or writes them backwards: some runtimes cannot."""
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        directions = {a.name: list(a.ints) for a in node.attribute if a.name.endswith("_directions")}
        if node.op_type != "Scan" or not any(map(any, directions.values())):
            graph.node.append(node)
            continue
        _keep(node.attribute, [a for a in node.attribute if a.name not in directions])
        ends = {"starts": -1, "ends": np.iinfo(np.int64).min, "axes": 0, "steps": -1}
        slicing = [f"{label(node)}/turn.{key}" for key in ends]
        graph.initializer.extend(
            numpy_helper.from_array(np.array([end], np.int64), name)
            for name, end in zip(slicing, ends.values(), strict=True)
        )

        def turned(value: str, to: str, slicing: list[str] = slicing) -> NodeProto:
            return helper.make_node("Slice", [value, *slicing], [to], name=to)

        backwards = directions.get("scan_input_directions", [])
        states = len(node.input) - len(backwards)
        for place in [i + states for i, back in enumerate(backwards) if back]:
            graph.node.append(turned(node.input[place], f"{label(node)}/in {place} turned"))
            node.input[place] = graph.node[-1].output[0]
        after = []
        for place, back in enumerate(directions.get("scan_output_directions", []), states):
            if back:
                result, made = node.output[place], f"{label(node)}/out {place} turned"
                node.output[place] = made
                after.append(turned(made, result))
        graph.node.extend([node, *after])


def _hold(node: NodeProto, name: str, value: NDArray[Any]) -> None:
    """Let a Scan's graph hold a constant of its own, under a name that no value around it has."""
    (body,), own = _graphs(node), f"{label(node)}/{name}"
    body.initializer.append(numpy_helper.from_array(value, own))
    _read_instead(body, name, own)


def _carry(node: NodeProto, name: str, value: ValueInfoProto) -> None:
    """Let a Scan carry a value, of the type and sizes noted, as a state that stays as it is."""
    (body,), own = _graphs(node), f"{label(node)}/{name}"
    sequences = next(a.i for a in node.attribute if a.name == "num_scan_inputs")
    states = len(node.input) - sequences
    _read_instead(body, name, own)
    kept = f"{own} kept"
    body.node.append(helper.make_node("Identity", [own], [kept], name=kept))

    def at(items: Any, value: Any, place: int) -> None:
        held = [*items[:place], value, *items[place:]]
        del items[:]
        items.extend(held)

    at(node.input, name, states)
    at(node.output, f"{own} at the end", states)
    for values, called in ((body.input, own), (body.output, kept)):
        noted = ValueInfoProto(name=called)
        noted.type.CopyFrom(value.type)
        at(values, noted, states)


def _read_instead(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        for inner in _graphs(node):
            _read_instead(inner, old, new)
    for value in graph.output:
        value.name = new if value.name == old else value.name


def _unread(graph: GraphProto) -> set[str]:
    """Return the values that no node reads: the results among them."""
    read = {name for node in graph.node for name in _reads(node)}
    return {name for node in graph.node for name in node.output} - read


def _drop_unread(graph: GraphProto, wanted: set[str]) -> None:
    """Remove nodes and weights that only unwanted values follow from."""
    read = set(wanted)
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            read.update(_reads(node))
            kept.append(node)
    _keep(graph.node, reversed(kept))
    _keep(graph.initializer, (t for t in graph.initializer if t.name in read))


def _keep(items: Any, kept: Iterable[Any]) -> None:
    held = list(kept)
    del items[:]
    items.extend(held)

"""One function body for nodes that need different ones: ``If`` on what a node's shapes and attributes say.

A file holds one body per op (:func:`mimamba_edge.export.onnx.functions.attach_functions` says why). All
conditions are constants once a node's shapes are known, and ONNX Runtime's loader leaves one branch of each
node. What that takes, tried with 1.23.2 and 1.31.1:

* A size is read from a Gather of no rows, which has no batch: a shape with an open axis is not folded.
* The loader infers shapes in all branches, and computes what is constant in them, before it drops any. So a
  branch first gives every tensor the shape it is made for. Activations get it by a Reshape, which is free;
  weights by a Slice and a Pad, which cannot fail while the file is loaded and change nothing where they stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, helper

from mimamba_edge.export.onnx.body import Body, rename

__all__ = ["Alternative", "choice", "chosen", "is_choice", "size_of"]

_INNER = "more than one"
_PREFIX = "choice_"
"""Of names outside the alternatives, which keep their own."""


@dataclass(frozen=True)
class Alternative:
    """A body and the nodes that it is for.

    Attributes:
        told_by: What tells them from other nodes: fields of their specification.
        body: The body.
        shapes: Of its inputs, by their formal names, without the batch of activations and states.
    """

    told_by: Mapping[str, int | float]
    body: FunctionProto
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        """Name of its branch."""
        return ",".join(f"{field}={_text(value)}" for field, value in self.told_by.items())


def choice(
    alternatives: Sequence[Alternative],
    read: Callable[[Body, str], str],
    *,
    weights: Mapping[str, bool],
    typed: Sequence[str],
) -> FunctionProto:
    """Return a body that holds alternatives, with the same inputs, outputs and fields in ``told_by``.

    Args:
        alternatives: All; one alone stands in casts.
        read: Adds what a node says of a field: a vector of one number.
        weights: Inputs that may be constants in the file, and whether their first axis is a batch.
        typed: Inputs in the node's type T where that differs between nodes, else none. They become float32,
            and the first output T again.
    """
    first = alternatives[0]
    formals = first.body.input
    b = Body(prefix=_PREFIX)
    held = {name: b.cast(name, TensorProto.FLOAT) for name in formals if name in typed}
    index = _index(b, alternatives, read) if len(alternatives) > 1 else ""
    differing = [name for name in formals if len({one.shapes[name] for one in alternatives}) > 1]

    def branch(body: Body, one: Alternative) -> list[str]:
        names = dict(held)
        for name in differing:
            value, shape = names.get(name, name), one.shapes[name]
            if name in weights:
                names[name] = _weight_of_shape(body, value, shape, batch=weights[name])
            else:
                names[name] = _activation_of_shape(body, value, shape)
        names |= {name: body.name(f"branch_{name}") for name in one.body.output}
        for inner in one.body.node:
            copy = NodeProto()
            copy.CopyFrom(inner)
            rename(copy, lambda name: names.get(name, name))
            copy.name = copy.output[0]
            body.nodes.append(copy)
        return [names[name] for name in one.body.output]

    def either(body: Body, low: int, high: int) -> list[str]:
        """Add what chooses among some alternatives: halves of halves, so that graphs nest no deeper."""
        if high - low == 1:
            return branch(body, alternatives[low])
        middle = (low + high) // 2
        halves = {}
        for name, (start, stop) in {"then_branch": (low, middle), "else_branch": (middle, high)}.items():
            half = Body(body)
            outputs = either(half, start, stop)
            label = alternatives[start].name if stop - start == 1 else _INNER
            halves[name] = half.graph(label, [], [(output, TensorProto.FLOAT) for output in outputs])
        flag = body.op("Less", index, body.const(np.int64(middle)))
        out = tuple(body.name(f"chosen_{name}") for name in first.body.output)
        return list(body.many("If", flag, out=out, **halves))

    y, *others = either(b, 0, len(alternatives))
    b.op("CastLike", y, typed[0], out="y") if typed else b.op("Identity", y, out="y")
    for value, name in zip(others, first.body.output[1:], strict=True):
        b.op("Identity", value, out=name)
    imports = list(first.body.opset_import)
    attributes = list(dict.fromkeys(name for one in alternatives for name in one.body.attribute))
    return helper.make_function(
        first.body.domain,
        first.body.name,
        list(formals),
        list(first.body.output),
        b.nodes,
        imports,
        attributes,
    )


def _index(b: Body, alternatives: Sequence[Alternative], read: Callable[[Body, str], str]) -> str:
    """Add the number of the alternative that fits the node."""
    said = [b.cast(read(b, field), TensorProto.DOUBLE) for field in alternatives[0].told_by]
    table = np.array([list(one.told_by.values()) for one in alternatives], np.float64)
    same = b.op("Equal", b.op("Concat", *said, axis=0), b.const(table))
    all_same = b.op("ReduceMin", b.cast(same, TensorProto.INT32), b.ints(1), keepdims=0)
    return b.op("ArgMax", all_same, axis=0, keepdims=0)


def _activation_of_shape(b: Body, value: str, shape: tuple[int, ...]) -> str:
    """Add ``value (batch, ...)`` with all axes but the batch as the branch expects them."""
    return b.op("Reshape", value, b.ints(0, *shape))


def _weight_of_shape(b: Body, value: str, shape: tuple[int, ...], *, batch: bool) -> str:
    """Add ``value`` with its last axes cut or filled up to a shape, whatever it has."""
    axes = b.ints(*range(-len(shape), 0))
    zeros = (0,) * len(shape)
    cut = b.op("Slice", value, b.ints(*zeros), b.ints(*shape), axes)
    lacking = b.op("Sub", b.ints(*shape), size_of(b, cut, batch=batch))
    pads = b.op("Concat", b.ints(*zeros), lacking, axis=0)
    return b.op("Pad", cut, pads, b.f32(0.0), axes)


def size_of(b: Body, value: str, *, batch: bool) -> str:
    """Add the shape of a value, without its first axis if that is a batch, so that the loader knows it."""
    if not batch:
        return b.op("Shape", value)
    return b.op("Shape", b.op("Gather", value, b.ints(), axis=0), start=1)


def is_choice(function: FunctionProto) -> bool:
    """Return whether a body is one that :func:`choice` made."""
    return any(node.op_type == "If" and node.output[0].startswith(_PREFIX) for node in function.node)


def chosen(function: FunctionProto, values: Callable[[str], float]) -> list[NodeProto]:
    """Return the nodes that a :func:`choice` leaves of itself for a node.

    Args:
        function: The body.
        values: The node's value of a field.
    """
    nodes = _without_choices(function.node, values)
    needed, kept = set(function.output), list[NodeProto]()
    for node in reversed(nodes):
        # An alternative may give values that only a debugger reads: they stay.
        if needed & set(node.output) or not node.output[0].startswith(_PREFIX):
            needed |= {name for inner in _with_inner(node) for name in inner.input}
            kept.append(node)
    return kept[::-1]


def _without_choices(nodes: Iterable[NodeProto], values: Callable[[str], float]) -> list[NodeProto]:
    out = []
    for node in nodes:
        if node.op_type != "If" or not node.output[0].startswith(_PREFIX):
            out.append(node)
            continue
        graph = next(a.g for a in node.attribute if _fits(a.g, values))
        out += _without_choices(graph.node, values)
        for value, name in zip(graph.output, node.output, strict=True):
            out.append(helper.make_node("Identity", [value.name], [name], name=name))
    return out


def _fits(graph: GraphProto, values: Callable[[str], float]) -> bool:
    """Return whether a branch, or one in it, is the one for these values."""
    if graph.name != _INNER:
        fields = (pair.split("=") for pair in graph.name.split(","))
        return all(_text(values(field)) == value for field, value in fields)
    return any(_fits(a.g, values) for node in graph.node if node.op_type == "If" for a in node.attribute)


def _with_inner(node: NodeProto) -> Iterator[NodeProto]:
    yield node
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _with_inner(inner)


def _text(value: float) -> str:
    return f"{float(value):.9g}"

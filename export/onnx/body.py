"""A small collector of nodes, for function bodies and their subgraphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, helper, numpy_helper

__all__ = ["OPSET", "Body", "rename"]

OPSET = 18
"""Version of the standard ops in every file."""


class Body:
    """Nodes of a function body or of a subgraph. Names of values are unique within one function.

    Args:
        parent: The body around a subgraph.
        prefix: Of all names; a subgraph has its parent's.

    Attributes:
        nodes: What was collected, in order.
    """

    def __init__(self, parent: Body | None = None, prefix: str = "") -> None:
        self.nodes: list[NodeProto] = []
        self._prefix: str = prefix if parent is None else parent._prefix
        self._taken: dict[str, int] = {} if parent is None else parent._taken
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def name(self, stem: str) -> str:
        """Return a name that no other value of the function has."""
        count = self._taken.get(stem, 0)
        self._taken[stem] = count + 1
        return f"{self._prefix}{stem}_{count}" if count else f"{self._prefix}{stem}"

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.many(kind, *inputs, out=(out or self.name(kind.lower()),), **attributes)[0]

    def many(self, kind: str, *inputs: str, out: tuple[str, ...], **attributes: Any) -> tuple[str, ...]:
        """Add a node with the outputs named and return their names."""
        self.nodes.append(helper.make_node(kind, inputs, out, name=out[0], **attributes))
        return out

    def const(self, value: NDArray[Any] | np.generic) -> str:
        """Return the name of a constant; equal ones are kept once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.op(
                "Constant", value=numpy_helper.from_array(array), out=self.name("const")
            )
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """Return the name of a constant int64 vector."""
        return self.const(np.array(values, np.int64))

    def f32(self, value: float) -> str:
        """Return the name of a constant float32 scalar."""
        return self.const(np.float32(value))

    def attribute(self, name: str, kind: str = "int") -> str:
        """Return the name of a scalar that holds an INT (or FLOAT) attribute of the node that is run."""
        out = self.op("Constant", out=self.name(name))
        number = AttributeProto.AttributeType.Value(kind.upper())
        reference = AttributeProto(name=f"value_{kind}", ref_attr_name=name, type=number)
        self.nodes[-1].attribute.append(reference)
        return out

    def cast(self, value: str, kind: int, *, needed: bool = True) -> str:
        """Return ``value`` as another element type."""
        return self.op("Cast", value, to=kind) if needed else value

    def graph(
        self, name: str, inputs: list[tuple[str, int, list[int | str | None]]], outputs: list[tuple[str, int]]
    ) -> GraphProto:
        """Return the nodes as a subgraph.

        Args:
            name: Of the graph.
            inputs: Name, element type and shape of each; empty for a branch of ``If``.
            outputs: Name and element type of each.
        """
        return helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info(*one, None) for one in outputs],
        )

    def gelu(self, x: str) -> str:
        """Add the erf form of GELU, its nodes in the order that ONNX Runtime fuses into one."""
        one = self.op("Add", self.op("Erf", self.op("Div", x, self.f32(np.sqrt(2.0)))), self.f32(1.0))
        return self.op("Mul", self.op("Mul", x, one), self.f32(0.5))

    def silu(self, x: str) -> str:
        """Add ``x * sigmoid(x)``."""
        return self.op("Mul", x, self.op("Sigmoid", x))


def rename(node: NodeProto, new: Callable[[str], str]) -> None:
    """Rename the values that a node reads and gives, also in the graphs it holds, and those graphs' nodes."""
    node.input[:] = [new(name) for name in node.input]
    node.output[:] = [new(name) for name in node.output]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            graph: GraphProto = attribute.g
            for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
                value.name = new(value.name)
            for inner in graph.node:
                rename(inner, new)

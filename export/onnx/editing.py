"""A graph that is being rewritten: who makes and reads a value, its shape, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, ValueInfoProto, helper, numpy_helper

__all__ = ["Editor", "Shape"]

Shape = list[int | str]
"""Sizes of a value, names in place of those that are open."""


class Editor:
    """Changes a graph in place; its nodes stay in topological order.

    Args:
        graph: The graph, without subgraphs that read its values.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self._outputs = {value.name for value in graph.output}

    def producer(self, name: str) -> NodeProto | None:
        """Return the node that makes a value; ``None`` for inputs and weights."""
        return next((node for node in self.graph.node if name in node.output), None)

    def users(self, name: str) -> list[NodeProto]:
        """Return the nodes that read a value."""
        return [node for node in self.graph.node if name in node.input]

    def is_output(self, name: str) -> bool:
        """Return whether a value is one of the graph's outputs."""
        return name in self._outputs

    def info(self, name: str) -> ValueInfoProto | None:
        """Return what the graph says of a value that is no weight."""
        graph = self.graph
        values = (*graph.value_info, *graph.input, *graph.output)
        return next((value for value in values if value.name == name), None)

    def shape(self, name: str) -> Shape | None:
        """Return the shape of a value; ``None`` if it is not known."""
        for tensor in self.graph.initializer:
            if tensor.name == name:
                return list(tensor.dims)
        info = self.info(name)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        return [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]

    def width(self, name: str) -> int | None:
        """Return the size of a value's last axis; ``None`` if it is not known or open."""
        shape = self.shape(name)
        return shape[-1] if shape and isinstance(shape[-1], int) and shape[-1] else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return a weight's numbers; ``None`` for what is computed."""
        tensor = next((one for one in self.graph.initializer if one.name == name), None)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def describe(self, name: str, like: str, shape: Shape | None = None, kind: int | None = None) -> None:
        """Say of a value what is known of another one, but for its shape or element type."""
        info = self.info(like)
        if info is None:
            return
        shape = self.shape(like) if shape is None else shape
        made = helper.make_tensor_value_info(name, kind or info.type.tensor_type.elem_type, shape)
        self.forget([name])
        self.graph.value_info.append(made)

    def forget(self, names: Sequence[str]) -> None:
        """Say nothing more of values."""
        for value in [value for value in self.graph.value_info if value.name in names]:
            self.graph.value_info.remove(value)

    def add_weight(self, name: str, array: NDArray[Any]) -> str:
        """Add a weight, if it is not there, and return its name."""
        if self.constant(name) is None:
            self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def insert(self, node: NodeProto, *, after: NodeProto | None) -> None:
        """Insert a node behind another one; at the beginning if that is ``None``."""
        names = [one.output[0] for one in self.graph.node]
        self.graph.node.insert(0 if after is None else names.index(after.output[0]) + 1, node)

    def remove(self, node: NodeProto) -> None:
        """Remove a node; its outputs must have no users."""
        self.forget(list(node.output))
        self.graph.node.remove(node)

    def read_instead(self, old: str, new: str, users: Sequence[NodeProto] | None = None) -> None:
        """Let nodes (all, if none are named) read another value."""
        for node in self.users(old) if users is None else users:
            node.input[:] = [new if name == old else name for name in node.input]

    def drop_unused(self) -> None:
        """Remove what no output of the graph depends on: nodes, weights, notes on values."""
        needed, nodes = set(self._outputs), []
        for node in reversed(self.graph.node):
            if needed & set(node.output):
                needed |= set(node.input)
                nodes.append(NodeProto.FromString(node.SerializeToString()))
        del self.graph.node[:]
        self.graph.node.extend(reversed(nodes))
        for values in (self.graph.initializer, self.graph.value_info):
            kept = [value for value in values if value.name in needed]
            kept = [type(value).FromString(value.SerializeToString()) for value in kept]
            del values[:]
            values.extend(kept)

"""How the node of one name differs in two files: attributes, wiring, weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

__all__ = ["PASSING", "differences"]

PASSING = ("Cast", "QuantizeLinear", "DequantizeLinear", "Identity")
"""Give on what they were given, in another type: their output stands for their input."""


def differences(reference: ModelProto, candidate: ModelProto, name: str) -> list[str]:
    """Return how the node of this name, its weights and its wiring differ in the two files."""
    nodes = [next((n for n in m.graph.node if n.name == name), None) for m in (reference, candidate)]
    old, new = nodes
    if new is None:
        return []
    if old is None:
        return [f"only the candidate has this node: {new.op_type} of {', '.join(new.input)}"]
    return [
        *_attributes(old, new),
        *_wiring(reference, candidate, old, new),
        *_weights(reference, candidate, old, new),
    ]


def _attributes(old: NodeProto, new: NodeProto) -> Iterator[str]:
    held = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in (old, new)]
    for key in sorted(held[0].keys() | held[1].keys()):
        if held[0].get(key) != held[1].get(key):
            yield f"attribute {key}: {held[1].get(key)}, in the reference {held[0].get(key)}"


def _wiring(reference: ModelProto, candidate: ModelProto, old: NodeProto, new: NodeProto) -> Iterator[str]:
    made = {name: node for node in candidate.graph.node for name in node.output}

    def origin(name: str) -> str:
        while name in made and made[name].op_type in PASSING:
            name = made[name].input[0]
        return name.removesuffix("/fp16").removesuffix("/fp32")

    for index, (a, b) in enumerate(zip(old.input, new.input, strict=False)):
        if a != origin(b):
            yield f"input {index}: {origin(b)}, in the reference {a}"


def _weights(reference: ModelProto, candidate: ModelProto, old: NodeProto, new: NodeProto) -> Iterator[str]:
    held = [{t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (reference, candidate)]
    for a, b in zip(old.input, new.input, strict=False):
        if a not in held[0] or b not in held[1]:
            continue
        x, y = held[0][a], held[1][b]
        if x.shape == y.shape and not np.array_equal(x.astype(y.dtype), y):
            count = int((x.astype(y.dtype) != y).sum())
            yield f"weight {b}: {count} of {x.size} numbers differ, by up to {np.abs(x - y).max():.3g}"

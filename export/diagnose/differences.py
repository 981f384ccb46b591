"""How a node differs from its twin in another file: op, attributes, wiring, outputs, weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from mimamba_edge.export.onnx.pairs import PASSING

__all__ = ["differences"]


def differences(
    reference: ModelProto,
    candidate: ModelProto,
    old: NodeProto | None,
    new: NodeProto,
    stands_for: Mapping[str, str],
) -> list[str]:
    """Return how a node, its weights and its wiring differ from its twin's, in words.

    Args:
        reference: The file that counts as right.
        candidate: The other one.
        old: The node's twin in the reference, or ``None``.
        new: The node in the candidate.
        stands_for: The reference's value for each of the candidate's that has one.
    """
    if old is None:
        return [f"only the candidate has this node: {new.op_type} of {', '.join(new.input)}"]
    return [
        *_op(old, new),
        *_attributes(old, new),
        *_wiring(reference, candidate, old, new, stands_for),
        *_outputs(old, new),
        *_weights(reference, candidate, old, new),
    ]


def _op(old: NodeProto, new: NodeProto) -> Iterator[str]:
    names = [".".join(filter(None, (node.domain, node.op_type))) for node in (old, new)]
    if names[0] != names[1]:
        yield f"op {names[1]}, in the reference {names[0]}"


def _attributes(old: NodeProto, new: NodeProto) -> Iterator[str]:
    held = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in (old, new)]
    for key in sorted(held[0].keys() | held[1].keys()):
        if held[0].get(key) != held[1].get(key):
            yield f"attribute {key}: {held[1].get(key)}, in the reference {held[0].get(key)}"


def _wiring(
    reference: ModelProto,
    candidate: ModelProto,
    old: NodeProto,
    new: NodeProto,
    stands_for: Mapping[str, str],
) -> Iterator[str]:
    made = {name: node for node in candidate.graph.node for name in node.output}
    weights = [{t.name for t in model.graph.initializer} for model in (reference, candidate)]

    def origin(name: str) -> str:
        while name in made and made[name].op_type in PASSING:
            name = made[name].input[0]
        return name.removesuffix("/fp16").removesuffix("/fp32")

    if len(old.input) != len(new.input):
        yield f"{len(new.input)} inputs, in the reference {len(old.input)}"
    for index, (a, b) in enumerate(zip(old.input, new.input, strict=False)):
        given = origin(b)
        if a in weights[0] and given in weights[1] and given not in weights[0]:
            continue  # a weight under another name: its numbers tell
        meant = stands_for.get(given, given)
        if a != meant:
            known = "" if meant == given else f", which stands for {meant}"
            yield f"input {index}: {given}{known}, in the reference {a}"


def _outputs(old: NodeProto, new: NodeProto) -> Iterator[str]:
    if list(old.output) != list(new.output) and sorted(old.output) == sorted(new.output):
        yield f"outputs exchanged: {', '.join(new.output)}, in the reference {', '.join(old.output)}"


def _weights(reference: ModelProto, candidate: ModelProto, old: NodeProto, new: NodeProto) -> Iterator[str]:
    held = [{t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (reference, candidate)]
    for a, b in zip(old.input, new.input, strict=False):
        if a not in held[0] or b not in held[1]:
            continue
        x, y = held[0][a], held[1][b]
        if x.shape == y.shape and not np.array_equal(x.astype(y.dtype), y, equal_nan=x.dtype.kind == "f"):
            other = x.astype(y.dtype) != y
            with np.errstate(all="ignore"):
                most = np.abs(x.astype(np.float64) - y.astype(np.float64))[other].max()
            far = f"by up to {most:.3g}" if np.isfinite(most) else "by more than can be counted"
            yield f"weight {b}: {int(other.sum())} of {x.size} numbers differ, {far}"

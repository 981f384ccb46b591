"""Which nodes of two graphs are the same: by name, else by op, order and the shapes of what they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from mimamba_edge.export.onnx.inline import label

__all__ = ["PASSING", "Pairs", "pair_nodes"]

PASSING = ("Cast", "QuantizeLinear", "DequantizeLinear", "Identity")
"""Give on what they were given, in another type: their output stands for their input."""

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Pairs:
    """The reference's node for each of the candidate's that has one.

    Attributes:
        twins: By position in the candidate's graph.
        by_structure: Positions of those that were not found by their names.
        alone: Labels of the candidate's nodes that have none, but for those that only give on a value.
    """

    twins: dict[int, NodeProto]
    by_structure: frozenset[int]
    alone: list[str]


def pair_nodes(reference: ModelProto, candidate: ModelProto, expected: Values, got: Values) -> Pairs:
    """Pair the nodes of two graphs.

    Nodes of one name are a pair if they have the same op or give the same shapes. Between those that were
    found so, the rest are aligned by op and shapes (longest matching blocks, as ``difflib`` finds them); in
    a gap with as many nodes on either side, by place and shapes: a changed op.

    Args:
        reference: The graph that counts as right.
        candidate: The other one.
        expected: Values of the reference by name, for their shapes.
        got: Values of the candidate by name.
    """
    known = [i for i, node in enumerate(reference.graph.node) if _counts(node)]
    asked = [i for i, node in enumerate(candidate.graph.node) if _counts(node)]
    old, new = list(reference.graph.node), list(candidate.graph.node)
    unique = Counter(old[i].name for i in known)
    by_name = {old[i].name: i for i in known if old[i].name and unique[old[i].name] == 1}

    def shapes(node: NodeProto, values: Values) -> tuple[Any, ...]:
        return tuple(values[name].shape if name in values else None for name in node.output)

    found: dict[int, int] = {}
    for i in asked:
        twin = by_name.get(new[i].name)
        if twin is None or twin in found.values():
            continue
        if new[i].op_type == old[twin].op_type or shapes(new[i], got) == shapes(old[twin], expected):
            found[i] = twin

    def key(node: NodeProto, values: Values, name: str | None) -> tuple[Any, ...]:
        return (name,) if name is not None else (node.domain, node.op_type, shapes(node, values))

    named = {twin: old[twin].name for twin in found.values()}
    left = [key(old[i], expected, named.get(i)) for i in known]
    right = [key(new[i], got, named.get(found.get(i, -1))) for i in asked]
    aligned: dict[int, int] = {}
    for tag, a, a_end, b, b_end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "replace" and a_end - a == b_end - b):
            for i, j in zip(range(a, a_end), range(b, b_end), strict=True):
                one, two = known[i], asked[j]
                free = one not in named and two not in found
                if free and shapes(old[one], expected) == shapes(new[two], got):
                    aligned[two] = one
    twins = {i: old[twin] for i, twin in sorted((found | aligned).items())}
    alone = [label(new[i]) for i in asked if i not in twins]
    return Pairs(twins, frozenset(aligned), alone)


def _counts(node: NodeProto) -> bool:
    return node.op_type != "Constant" and node.op_type not in PASSING

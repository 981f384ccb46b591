"""Where two models part: the first node whose output leaves its tolerance though its inputs do not.

Both files are run with all values of their graphs as outputs and compared in topological order. Nodes are
matched by name, else by structure (:mod:`mimamba_edge.export.onnx.pairs`). What only the candidate has (Cast,
QuantizeLinear, DequantizeLinear) is compared with the value that it stands for. A custom node is judged by
its outputs. Where it is the one that is named, and both files are fp32 and hold the same nodes in its body,
the first of those that differs is told too; subgraphs of Scan and If are not looked into.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from mimamba_edge.export.diagnose.differences import differences
from mimamba_edge.export.diagnose.values import feeds_for, only_batch, values
from mimamba_edge.export.onnx.inline import inline, label
from mimamba_edge.export.onnx.intermediate_outputs import with_outputs
from mimamba_edge.export.onnx.pairs import PASSING, Pairs, pair_nodes
from mimamba_edge.export.onnx.schema import DOMAIN, MSTB
from mimamba_edge.export.quantize.fp16 import HALF
from mimamba_edge.export.quantize.int8_tensorrt import int8_modules
from mimamba_edge.parity.tolerances import GROWTH, STEPS, TOLERANCES

__all__ = ["Bisection", "Step", "bisect", "half_bound"]

Array = NDArray[Any]
_ORDER = list(TOLERANCES)


@dataclass(frozen=True)
class Step:
    """One node's output against the reference's.

    Attributes:
        node: Its name in the file; of one without a name that of its first output.
        place: Its position in the file's graph.
        twin: The reference's node that it was compared with; empty if it only gives on a value.
        inside: The node inside its body, or empty.
        op: Its type.
        module: Of the torch model, that made it.
        value: Name of the output.
        error: Worst over the windows, in units of the tolerance's kind; infinite where values are not finite
            or of another shape.
        tolerance: Bound.
        precision: That the bound is of.
        window: Index of the window with the worst error.
        note: Why the error is infinite, or empty.
    """

    node: str
    place: int
    twin: str
    inside: str
    op: str
    module: str
    value: str
    error: float
    tolerance: float
    precision: str
    window: int
    note: str = ""

    @property
    def within(self) -> bool:
        """Whether the output is within its tolerance."""
        return self.error <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; an infinite error is ``None``, because JSON knows no infinity."""
        return {**asdict(self), "error": self.error if math.isfinite(self.error) else None}


@dataclass(frozen=True)
class Bisection:
    """What was found.

    Attributes:
        first: The first node that leaves its tolerance, or ``None``.
        before: The last few within theirs before it.
        differences: How the two files differ at that node, in words.
        compared: Number of values compared.
        windows: Number of windows.
        by_structure: Number of the candidate's nodes that were matched by structure, not by name.
        alone: The candidate's nodes that could not be compared.
    """

    first: Step | None
    before: list[Step]
    differences: list[str]
    compared: int
    windows: int
    by_structure: int
    alone: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self)
        plain["first"] = None if self.first is None else self.first.to_dict()
        plain["before"] = [step.to_dict() for step in self.before]
        plain["found"] = self.first is not None
        return plain


@dataclass
class _Walk:
    """Two graphs compared: each value that can be, in the candidate's order."""

    pairs: Pairs
    stands_for: dict[str, str]
    steps: list[Step] = field(default_factory=list)


def bisect(
    reference: ModelProto,
    candidate: ModelProto,
    windows: NDArray[np.float32],
    precision: str,
    *,
    on_step: Callable[[int], None] = lambda _: None,
) -> Bisection:
    """Name the first node of ``candidate`` that leaves its tolerance.

    Args:
        reference: Portable fp32 model.
        candidate: Portable model of the same network.
        windows: ``(n, c, l)`` scaled.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``: what the candidate is meant to be.
        on_step: Told how many windows were run, twice each.

    Raises:
        ArtifactError: A model cannot be loaded.
    """
    meant = _precisions(reference, precision, candidate)
    walk = _walk(reference, candidate, windows, meant, on_step)
    steps = walk.steps

    def told(step: Step) -> list[str]:
        node = candidate.graph.node[step.place]
        return differences(reference, candidate, walk.pairs.twins.get(step.place), node, walk.stands_for)

    first = next((i for i, step in enumerate(steps) if not step.within), None)
    if first is None:
        # Noise may hide what a node does otherwise; that it is another node cannot be noise. Nodes matched by
        # structure are left out: another exporter may wire the same arithmetic otherwise.
        named = walk.pairs.twins.keys() - walk.pairs.by_structure
        first = next((i for i, step in enumerate(steps) if step.place in named and told(step)), None)
    structure, alone = len(walk.pairs.by_structure), walk.pairs.alone
    if first is None:
        return Bisection(None, steps[-3:], [], len(steps), len(windows), structure, alone)
    found = steps[first]
    if precision == "fp32":
        found = _inside(reference, candidate, windows, found, walk.pairs)
    words = [*([found.note] if found.note else []), *told(found)]
    before = steps[max(0, first - 3) : first]
    return Bisection(found, before, words, len(steps), len(windows), structure, alone)


def half_bound(reference: ModelProto, candidate: ModelProto, windows: NDArray[np.float32]) -> Step | None:
    """Return the fp16 value that is furthest off where every node really computes in fp16.

    ONNX Runtime's CPU computes fp16 nodes in fp32 and rounds what they give. onnx's reference evaluator also
    accumulates in fp16, which TensorRT's kernels do not: a worst case.

    Args:
        reference: Portable fp32 model.
        candidate: The fp16 one.
        windows: A few, ``(n, c, l)`` scaled.
    """
    from onnx.reference import ReferenceEvaluator

    names = [name for node in candidate.graph.node for name in node.output]
    windows = windows[: only_batch(candidate) or len(windows)]
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(onnx.load_from_string(with_outputs(inline(candidate), names))).run(
            names, feeds_for(candidate, windows)
        )
    got = dict(zip(names, found, strict=True))
    steps = _compare(
        reference, candidate, values(reference, windows), got, _precisions(reference, "fp16", candidate)
    )
    return max((s for s in steps.steps if s.precision == "fp16"), key=lambda step: step.error, default=None)


def _walk(
    plain: ModelProto,
    other: ModelProto,
    windows: NDArray[np.float32],
    meant: _Meant,
    on_step: Callable[[int], None] = lambda _: None,
) -> _Walk:
    """Return the comparison of every value that can be compared, in the candidate's order."""
    expected, got = (values(model, windows, on_step) for model in (plain, other))
    return _compare(plain, other, expected, got, meant)


def _compare(
    plain: ModelProto,
    other: ModelProto,
    expected: dict[str, Array],
    got: dict[str, Array],
    meant: _Meant,
) -> _Walk:
    errors: dict[str, float] = {}
    pairs = pair_nodes(plain, other, expected, got)
    walk = _Walk(pairs, {value.name: value.name for value in (*plain.graph.input, *plain.graph.initializer)})
    for place, node in enumerate(other.graph.node):
        twin = pairs.twins.get(place)
        outputs = [] if twin is None else list(twin.output)
        if sorted(outputs) == sorted(node.output):
            outputs = list(node.output)  # under the same names, in whatever order
        for index, value in enumerate(node.output):
            if index < len(outputs):
                walk.stands_for[value] = outputs[index]
            elif node.op_type in PASSING and node.input[0] in walk.stands_for:
                walk.stands_for[value] = walk.stands_for[node.input[0]]
            else:
                continue
            came_with = max((errors.get(name, 0.0) for name in node.input), default=0.0)
            step = _step(node, value, walk.stands_for[value], expected, got, meant, came_with)
            if step is None:
                errors[value] = came_with
                continue
            relative = node.op_type != "DequantizeLinear"  # whose error counts in steps
            errors[value] = step.error if relative else max(came_with, TOLERANCES["int8"])
            by = "" if twin is None else label(twin)
            named = by or step.node
            module = named.split("/")[0] if "/" in named else ""
            walk.steps.append(replace(step, place=place, twin=by, module=module))
    return walk


def _inside(
    reference: ModelProto, candidate: ModelProto, windows: NDArray[np.float32], found: Step, pairs: Pairs
) -> Step:
    """Return the step with the first node inside its body that differs, if there is one."""
    node, twin = candidate.graph.node[found.place], pairs.twins.get(found.place)
    if node.domain != DOMAIN or twin is None or twin.op_type != node.op_type:
        return found
    bodies = [
        [inner.name for f in model.functions if f.name == node.op_type for inner in f.node]
        for model in (reference, candidate)
    ]
    if bodies[0] != bodies[1]:
        return found
    one, two = (inline(model, [node.op_type]) for model in (reference, candidate))
    for step in _walk(one, two, windows, _Meant({}, {})).steps:
        if step.node.startswith(f"{found.node}/") and not step.within:
            name = step.node.removeprefix(f"{found.node}/")
            return replace(found, inside=f"{step.op} {name}")
    return found


@dataclass(frozen=True)
class _Meant:
    """What the recipe computes each value of the reference in: its own node, and the coarsest on the way.

    ``inputs`` are the reference's; ``read`` the values that nodes of a candidate of
    lower precision compute with: they may be rounded, what is cast down and up again may not.
    """

    own: dict[str, str]
    chain: dict[str, str]
    inputs: tuple[str, ...] = ()
    read: frozenset[str] = frozenset()


def _precisions(plain: ModelProto, precision: str, candidate: ModelProto) -> _Meant:
    paired = any(node.op_type == "QuantizeLinear" for node in candidate.graph.node)
    read = [name for node in candidate.graph.node if node.op_type != "Cast" for name in node.input]
    lower = frozenset(read if precision != "fp32" else ())
    meant, modules = (
        _Meant({}, {}, tuple(value.name for value in plain.graph.input), lower),
        int8_modules(plain),
    )
    for node in plain.graph.node:
        own = "fp32"
        custom = node.domain == DOMAIN
        if precision == "fp16" or paired:
            own = "fp16" if custom or node.op_type in HALF else own
            if paired and node.name.split("/")[0].endswith(modules):
                own = "int8"
        elif precision == "int8" and node.op_type == MSTB:
            own = "int8"
        inherited = [meant.chain[name] for name in node.input if name in meant.chain]
        for value in node.output:
            meant.own[value] = own
            meant.chain[value] = max((own, *inherited), key=_ORDER.index)
    return meant


def _step(
    node: NodeProto,
    value: str,
    twin: str,
    expected: dict[str, Array],
    got: dict[str, Array],
    meant: _Meant,
    came_with: float,
) -> Step | None:
    """Return how far a value is from the one it stands for; ``None`` where they cannot be compared.

    ``came_with``: the worst error of the node's inputs.
    """
    if value not in got or twin not in expected:
        return None
    a, b = expected[twin], got[value]
    if node.op_type == "QuantizeLinear" or not np.issubdtype(a.dtype, np.floating):
        return None  # bins and what is looked up by them: near-ties differ rightly, amplitudes are compared
    precision = meant.chain.get(twin, "fp32")
    if b.dtype == np.float16 and precision == "fp32" and value in meant.read:
        precision = "fp16"  # the cast in front of the first node that computes so
    own = precision if node.op_type in PASSING else meant.own.get(twin, "fp32")
    bound = min(TOLERANCES[precision], TOLERANCES[own] + GROWTH * came_with)
    step = Step(label(node), -1, "", "", node.op_type, "", value, math.inf, bound, precision, 0)
    if a.shape != b.shape:
        if node.op_type in PASSING:
            return None
        return replace(step, note=f"{value} has the shape {b.shape}, in the reference {a.shape}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):  # values that are not finite are told of below
        if node.op_type == "DequantizeLinear":
            errors, bound = _rounding(a, b, constant=twin not in meant.chain and twin not in meant.inputs)
            step = replace(step, tolerance=bound, precision="int8")
        else:
            errors = _relative(a, b)
    window = int(np.argmax(np.where(np.isfinite(errors), errors, np.inf)))
    if np.isfinite(errors[window]):
        return replace(step, error=float(errors[window]), window=window)
    counts = [int((~np.isfinite(x)).sum()) for x in (b, a)]
    note = f"{counts[0]} of {b.size} numbers of {value} are not finite, in the reference {counts[1]}"
    return replace(step, window=window, note=note)


def _relative(a: Array, b: Array) -> NDArray[np.float64]:
    """Return the error of each window, relative to the value's size there or its median over windows."""
    axes = tuple(range(1, a.ndim))
    size, error = np.sqrt((a**2).mean(axis=axes)), np.sqrt(((a - b) ** 2).mean(axis=axes))
    least = max(float(np.median(size)), float(np.finfo(np.float32).tiny))
    relative: NDArray[np.float64] = np.atleast_1d(error / np.maximum(size, least))
    return relative


def _rounding(a: Array, b: Array, *, constant: bool) -> tuple[NDArray[np.float64], float]:
    """Return the error of a Q/DQ pair in steps of the scale that it should have, and what is allowed."""
    if constant:
        step = np.abs(a).max(axis=0) / 127
        return np.atleast_1d((np.abs(a - b) / np.maximum(step, 1e-30)).max()), 0.51
    # Over all windows: a scale that clips a few values clips them in few windows. A uniform error of a whole
    # step has a root mean square of a step by the square root of 12.
    steps = np.sqrt(12 * ((a - b) ** 2).mean()) / (np.abs(a).max() / 127)
    return np.atleast_1d(steps), STEPS

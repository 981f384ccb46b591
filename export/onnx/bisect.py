"""Where two models part: the first node whose output leaves its tolerance though its inputs do not.

Both files are run with all values of their graphs as outputs and compared in topological order. Nodes are
matched by name. What only the candidate has (Cast, QuantizeLinear, DequantizeLinear) is compared with the
value that it stands for. A custom node is judged by its outputs. Where it is the one that is named, and both
files are fp32 and hold the same nodes in its body, the first of those that differs is told too; subgraphs of
Scan and If are not looked into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from mimamba_edge.contract import WINDOWS
from mimamba_edge.export.onnx.differences import PASSING, differences
from mimamba_edge.export.onnx.inline import inline
from mimamba_edge.export.onnx.schema import DOMAIN, MSTB
from mimamba_edge.export.onnx.taps import with_outputs
from mimamba_edge.export.quantize.fp16 import HALF
from mimamba_edge.export.quantize.int8_tensorrt import LINEARS
from mimamba_edge.parity.tolerances import GROWTH, STEPS, TOLERANCES
from mimamba_edge.runtime.ort import open_session

__all__ = ["Bisection", "Step", "bisect", "half_bound"]

Array = NDArray[Any]
_ORDER = list(TOLERANCES)
_BATCH = 16


@dataclass(frozen=True)
class Step:
    """One node's output against the reference's.

    Attributes:
        node: Its name in the file.
        inside: The node inside its body, or empty.
        op: Its type.
        module: Of the torch model, that made it.
        value: Name of the output.
        error: Worst over the windows, in units of the tolerance's kind.
        tolerance: Bound.
        precision: That the bound is of.
        window: Index of the window with the worst error.
    """

    node: str
    inside: str
    op: str
    module: str
    value: str
    error: float
    tolerance: float
    precision: str
    window: int

    @property
    def within(self) -> bool:
        """Whether the output is within its tolerance."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Bisection:
    """What was found.

    Attributes:
        first: The first node that leaves its tolerance, or ``None``.
        before: The last few within theirs before it.
        differences: How the two files differ at that node, in words.
        compared: Number of values compared.
        windows: Number of windows.
    """

    first: Step | None
    before: list[Step]
    differences: list[str]
    compared: int
    windows: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self)
        plain["found"] = self.first is not None
        return plain


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
    steps = list(_walk(reference, candidate, windows, meant, on_step))
    first = next((i for i, step in enumerate(steps) if not step.within), None)
    if first is None:
        # Noise may hide what a node does otherwise; that it is another node cannot be noise.
        first = next((i for i, step in enumerate(steps) if _other(reference, candidate, step)), None)
    if first is None:
        return Bisection(None, steps[-3:], [], len(steps), len(windows))
    found = steps[first]
    if precision == "fp32":
        found = _inside(reference, candidate, windows, found)
    told = differences(reference, candidate, found.node)
    return Bisection(found, steps[max(0, first - 3) : first], told, len(steps), len(windows))


def _other(reference: ModelProto, candidate: ModelProto, step: Step) -> bool:
    """Return whether both files have the node, and it is not the same."""
    known = any(node.name == step.node for node in reference.graph.node)
    return known and bool(differences(reference, candidate, step.node))


def half_bound(reference: ModelProto, candidate: ModelProto, windows: NDArray[np.float32]) -> Step | None:
    """Return the fp16 value that is furthest off where every node really computes in fp16.

    ONNX Runtime's CPU computes fp16 nodes in fp32 and rounds what they give. onnx's reference evaluator also
    accumulates in fp16, which TensorRT's kernels do not: a pessimistic bound.

    Args:
        reference: Portable fp32 model.
        candidate: The fp16 one.
        windows: A few, ``(n, c, l)`` scaled.
    """
    from onnx.reference import ReferenceEvaluator

    names = [name for node in candidate.graph.node for name in node.output]
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(onnx.load_from_string(with_outputs(inline(candidate), names))).run(
            names, {WINDOWS: windows}
        )
    got = dict(zip(names, found, strict=True))
    steps = _compare(
        reference, candidate, _values(reference, windows), got, _precisions(reference, "fp16", candidate)
    )
    return max((s for s in steps if s.precision == "fp16"), key=lambda step: step.error, default=None)


def _walk(
    plain: ModelProto,
    other: ModelProto,
    windows: NDArray[np.float32],
    meant: _Meant,
    on_step: Callable[[int], None] = lambda _: None,
) -> Iterator[Step]:
    """Return the comparison of every value that can be compared, in the candidate's order."""
    expected, got = (_values(model, windows, on_step) for model in (plain, other))
    return _compare(plain, other, expected, got, meant)


def _compare(
    plain: ModelProto,
    other: ModelProto,
    expected: dict[str, Array],
    got: dict[str, Array],
    meant: _Meant,
) -> Iterator[Step]:
    errors: dict[str, float] = {}
    stands_for = {value.name: value.name for value in plain.graph.input}
    stands_for |= {t.name: t.name for t in plain.graph.initializer}
    by_name = {node.name: node for node in plain.graph.node}
    for node in other.graph.node:
        twin = by_name.get(node.name)
        for index, value in enumerate(node.output):
            if twin is not None and index < len(twin.output):
                stands_for[value] = twin.output[index]
            elif node.op_type in PASSING and node.input[0] in stands_for:
                stands_for[value] = stands_for[node.input[0]]
            else:
                continue
            came_with = max((errors.get(name, 0.0) for name in node.input), default=0.0)
            step = _step(node, value, stands_for[value], expected, got, meant, came_with)
            if step is None:
                errors[value] = came_with
                continue
            relative = node.op_type != "DequantizeLinear"  # whose error counts in steps
            errors[value] = step.error if relative else max(came_with, TOLERANCES["int8"])
            yield step


def _inside(reference: ModelProto, candidate: ModelProto, windows: NDArray[np.float32], found: Step) -> Step:
    """Return the step with the first node inside its body that differs, if there is one."""
    node = next((n for n in candidate.graph.node if n.name == found.node and n.domain == DOMAIN), None)
    if node is None:
        return found
    bodies = [
        [inner.name for f in model.functions if f.name == node.op_type for inner in f.node]
        for model in (reference, candidate)
    ]
    if bodies[0] != bodies[1]:
        return found
    one, two = (inline(model, [node.op_type]) for model in (reference, candidate))
    inner = _walk(one, two, windows, _Meant({}, {}))
    for step in inner:
        if step.node.startswith(f"{found.node}/") and not step.within:
            name = step.node.removeprefix(f"{found.node}/")
            return replace(found, inside=f"{step.op} {name}")
    return found


def _values(
    model: ModelProto, windows: NDArray[np.float32], on_step: Callable[[int], None] = lambda _: None
) -> dict[str, Array]:
    """Run a model and return every value of its graph, constants too."""
    held: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]
    session = open_session(_tapped(model, names), name="a model with all its values", threads=1)
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for start in range(0, len(windows), _BATCH):
        batch = windows[start : start + _BATCH]
        for name, value in zip(names, session.run(names, {WINDOWS: batch}), strict=True):
            parts[name].append(value)
        on_step(len(batch))
    moving = {WINDOWS}
    for node in model.graph.node:
        if moving & set(node.input):
            moving |= set(node.output)
    for name, found in parts.items():
        held[name] = np.concatenate(found) if name in moving and found[0].ndim else found[0]
    return held


def _tapped(model: ModelProto, names: list[str]) -> bytes:
    """Return the model with all its values as outputs; bodies that are left stay."""
    if not model.functions:
        return with_outputs(model, names)
    out = ModelProto()
    out.CopyFrom(model)
    there = {value.name for value in out.graph.output}
    known = {value.name: value for value in out.graph.value_info}
    for name in names:
        if name in there:
            continue
        if name in known:
            out.graph.output.append(known[name])
        else:
            out.graph.output.add().name = name
    content: bytes = out.SerializeToString()
    return content


@dataclass(frozen=True)
class _Meant:
    """What the recipe computes each value of the reference in: its own node, and the coarsest on the way."""

    own: dict[str, str]
    chain: dict[str, str]


def _precisions(plain: ModelProto, precision: str, candidate: ModelProto) -> _Meant:
    paired = any(node.op_type == "QuantizeLinear" for node in candidate.graph.node)
    meant = _Meant({}, {})
    for node in plain.graph.node:
        own = "fp32"
        custom = node.domain == DOMAIN
        if precision == "fp16" or paired:
            own = "fp16" if custom or node.op_type in HALF else own
            if paired and node.name.split("/")[0].endswith(LINEARS):
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
    if a.shape != b.shape or node.op_type == "QuantizeLinear":
        return None
    precision = meant.chain.get(twin, "fp32")
    own = precision if node.op_type in PASSING else meant.own.get(twin, "fp32")
    bound = min(TOLERANCES[precision], TOLERANCES[own] + GROWTH * came_with)
    if not np.issubdtype(a.dtype, np.floating):
        return None  # bins and what is looked up by them: near-ties differ rightly, amplitudes are compared
    a, b = a.astype(np.float64), b.astype(np.float64)
    if node.op_type == "DequantizeLinear":
        errors, bound, precision = (
            *_rounding(a, b, constant=twin not in meant.chain and twin != WINDOWS),
            "int8",
        )
    else:
        errors = _relative(a, b)
    window = int(np.argmax(np.where(np.isfinite(errors), errors, np.inf)))
    worst = float(errors[window]) if np.isfinite(errors[window]) else float("inf")
    module = node.name.split("/")[0] if "/" in node.name else ""
    return Step(node.name, "", node.op_type, module, value, worst, bound, precision, window)


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

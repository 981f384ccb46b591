"""ONNX function body of SelectiveScan in standard ops.

States are laid out ``(b, g, n, d/g)``: the long axis is innermost, so that ONNX Runtime's broadcasts run over
whole rows and the sum over states is one batched MatMul. A short scan is unrolled, its decays one node. A
long one is a Scan over chunks of steps, each unrolled, and the steps left over are unrolled beside it: a
chunk filled up with step sizes of 0 would give NaN where A is minus infinity. A scan of any length is a Scan
over single steps.

What a chunk is depends on the size of a state, d * n. Nodes on small states cost what any node costs: the
decays of all steps are one node, cut into steps. Of large states every pass over memory counts: each step
computes its own, and nothing of that size is cut or joined. In ONNX Runtime 1.31 on x86-64 that takes 0.82 to
0.98 and 0.79 to 1.01 of what chunks of four steps with decays at once take, in the same memory: some twice
its inputs. All else that was tried takes longer, in the same units: log-depth scans 1.1 to 11, differences of
cumulative sums 1.9 to 5, sections of a chunk side by side 0.94 to 1.9, LinearAttention 1.3 to 9.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import FunctionProto, TensorProto, helper

from mimamba_edge.export.onnx.body import OPSET, Body
from mimamba_edge.export.onnx.linear_attention import MICROSOFT, attend
from mimamba_edge.export.onnx.schema import DOMAIN, SCAN

__all__ = ["FORMS", "LINEAR_ATTENTION", "STANDARD", "ScanSpec", "scan_function"]

_UNROLLED = 16
"""Longest scan that is unrolled."""
_LARGE = 1 << 13
"""Numbers in a state above which it is large."""
_F32 = TensorProto.FLOAT

STANDARD = "standard"
"""Form of a body: ops of the ONNX standard alone."""
LINEAR_ATTENTION = "linear-attention"
"""The recurrence is one node of ONNX Runtime's own LinearAttention."""
FORMS = (STANDARD, LINEAR_ATTENTION)


@dataclass(frozen=True)
class ScanSpec:
    """What a body is made for.

    Attributes:
        length: l; ``None``: any.
        width: d.
        groups: g.
        states: n.
        kind: Element type T of the tensors, a value of ``TensorProto.DataType``.
        has_z: Whether there is a gate.
        delta_softplus: Whether the step sizes pass a softplus.
        reverse: Whether the scan runs from ``t = l - 1`` to 0; ``None``: the node's attribute says.
        return_last_state: Whether there is a second output.
        form: :data:`STANDARD` or :data:`LINEAR_ATTENTION`.
    """

    length: int | None
    width: int
    groups: int
    states: int
    kind: int
    has_z: bool
    delta_softplus: bool
    reverse: bool | None
    return_last_state: bool
    form: str = STANDARD


def scan_function(spec: ScanSpec) -> FunctionProto:
    """Return the body for one specification; the batch stays open."""
    b = Body()
    other = spec.kind != _F32
    u, delta, B, C = (b.cast(name, _F32, needed=other) for name in ("u", "delta", "B", "C"))
    dt = b.op("Add", delta, "delta_bias")
    if spec.delta_softplus:
        dt = _softplus(b, dt)
    y, last = _scan(b, spec, dt, u, B, C)
    y = b.op("Add", y, b.op("Mul", u, "D"))
    if spec.has_z:
        y = b.op("Mul", y, b.silu(b.cast("z", _F32, needed=other)))
    b.op("Cast" if other else "Identity", y, out="y", **({"to": spec.kind} if other else {}))
    inputs = ["u", "delta", "A", "B", "C", "D", "delta_bias", "initial_state"]
    outputs = ["y"]
    if spec.has_z:
        inputs.append("z")
    if spec.return_last_state:
        if spec.form == STANDARD:
            last = b.op("Transpose", last, perm=[0, 1, 3, 2])
        outputs.append(b.op("Reshape", last, b.ints(-1, spec.width, spec.states), out="last_state"))
    imports = [helper.make_opsetid("", OPSET)]
    if spec.form == LINEAR_ATTENTION:
        imports.append(helper.make_opsetid(MICROSOFT, 1))
    flags = ["has_z", "delta_softplus", "reverse", "return_last_state"]
    return helper.make_function(DOMAIN, SCAN, inputs, outputs, b.nodes, imports, attributes=flags)


def _scan(b: Body, spec: ScanSpec, dt: str, u: str, B: str, C: str) -> tuple[str, str]:
    """Add the recurrence; returns ``y (b, l, d)`` before skip and gate, and the last state."""
    per_group, g, n = spec.width // spec.groups, spec.groups, spec.states
    if spec.form == LINEAR_ATTENTION:
        rates, state = "A", "initial_state"
    else:
        rates = b.op("Transpose", b.op("Reshape", "A", b.ints(g, per_group, n)), perm=[0, 2, 1])
        state = b.op("Reshape", "initial_state", b.ints(-1, g, per_group, n))
        state = b.op("Transpose", state, perm=[0, 1, 3, 2])
    values = (dt, b.op("Mul", dt, u), B, C, rates, state)

    def build(body: Body, reverse: bool) -> tuple[str, str]:
        if spec.form == LINEAR_ATTENTION:
            return attend(body, (spec.width, g, n), reverse, *values)
        if spec.length is None:
            return _of_any_length(body, spec, reverse, *values)
        unrolled = spec.length <= _UNROLLED
        return (_unrolled if unrolled else _chunked)(body, spec, spec.length, reverse, *values)

    if spec.reverse is not None:
        return build(b, spec.reverse)
    # A choice by a constant: the loader keeps one branch.
    branches = {}
    for name, reverse in (("then_branch", True), ("else_branch", False)):
        branch = Body(b)
        outputs = build(branch, reverse)
        branches[name] = branch.graph(name, [], [(output, _F32) for output in outputs])
    backwards = b.cast(b.attribute("reverse"), TensorProto.BOOL)
    y, last = b.many("If", backwards, out=(b.name("either_y"), b.name("either_state")), **branches)
    return y, last


def _softplus(b: Body, x: str) -> str:
    """Add ``log(1 + exp(x))`` to about one unit in the last place over the whole range.

    ``relu(x) + log1p(e)`` with ``e = exp(-|x|)`` and ``log1p(e) = log(s) + (e - (s - 1))``, ``s = 1 + e``
    as rounded: nodes for which ONNX Runtime has vector code, which its Softplus lacks.
    """
    e = b.op("Exp", b.op("Neg", b.op("Abs", x)))
    s = b.op("Add", e, b.f32(1.0))
    low = b.op("Sub", e, b.op("Sub", s, b.f32(1.0)))
    return b.op("Add", b.op("Relu", x), b.op("Add", b.op("Log", s), low))


def _steps(
    b: Body, steps: int, reverse: bool, dt: str, drive: str, B: str, C: str, rates: str, state: str
) -> tuple[str, str]:
    """Add unrolled steps, time on axis 1.

    Args:
        b: Where to.
        steps: How many, l.
        reverse: From the last to the first.
        dt: Step sizes ``(b, l, g, 1, d/g)``.
        drive: Step sizes times input, same shape.
        B: ``(b, l, g, n, 1)``.
        C: ``(b, l, g, 1, n)``.
        rates: ``(g, n, d/g)``.
        state: ``(b, g, n, d/g)``.

    Returns:
        Outputs ``(b, l, g, 1, d/g)`` and the last state.
    """
    order = range(steps - 1, -1, -1) if reverse else range(steps)

    def pieces(value: str, stem: str) -> tuple[str, ...]:
        if steps == 1:
            return (value,)
        names = tuple(b.name(stem) for _ in range(steps))
        return b.many("Split", value, axis=1, num_outputs=steps, out=names)

    decays = pieces(b.op("Exp", b.op("Mul", dt, rates)), "decay")
    drives = pieces(b.op("Mul", B, drive), "drive")
    state = b.op("Unsqueeze", state, b.ints(1))  # with its time axis on: no Squeeze a step
    states = [""] * steps
    for t in order:
        state = states[t] = b.op("Add", b.op("Mul", decays[t], state), drives[t], out=b.name("state"))
    held = b.op("Concat", *states, axis=1) if steps > 1 else state
    return b.op("MatMul", C, held), b.op("Squeeze", state, b.ints(1))


def _single_steps(
    b: Body, steps: int, reverse: bool, dt: str, drive: str, B: str, C: str, rates: str, state: str
) -> tuple[str, str]:
    """Add the same for large states: nothing of their size is cut or joined."""
    order = range(steps - 1, -1, -1) if reverse else range(steps)

    def pieces(value: str, stem: str) -> tuple[str, ...]:
        names = tuple(b.name(stem) for _ in range(steps))
        return b.many("Split", value, axis=1, num_outputs=steps, out=names)

    sizes, drives = pieces(dt, "step_dt"), pieces(drive, "step_drive")
    inputs, outputs = pieces(B, "step_B"), pieces(C, "step_C")
    state = b.op("Unsqueeze", state, b.ints(1))
    ys = [""] * steps
    for t in order:
        kept = b.op("Mul", b.op("Exp", b.op("Mul", sizes[t], rates)), state)
        state = b.op("Add", kept, b.op("Mul", inputs[t], drives[t]), out=b.name("state"))
        ys[t] = b.op("MatMul", outputs[t], state)
    return b.op("Concat", *ys, axis=1), b.op("Squeeze", state, b.ints(1))


def _rows(b: Body, spec: ScanSpec, dt: str, drive: str, B: str, C: str) -> tuple[str, str, str, str]:
    """Add the tensors of all steps as :func:`_steps` takes them."""
    shape = b.ints(0, 0, spec.groups, 1, -1)
    dt, drive = b.op("Reshape", dt, shape), b.op("Reshape", drive, shape)
    return dt, drive, b.op("Unsqueeze", B, b.ints(4)), b.op("Unsqueeze", C, b.ints(3))


def _unrolled(
    b: Body,
    spec: ScanSpec,
    length: int,
    reverse: bool,
    dt: str,
    drive: str,
    B: str,
    C: str,
    rates: str,
    state: str,
) -> tuple[str, str]:
    y, last = _steps(b, length, reverse, *_rows(b, spec, dt, drive, B, C), rates, state)
    return b.op("Reshape", y, b.ints(0, 0, -1)), last


def _is_large(spec: ScanSpec) -> bool:
    return spec.width * spec.states > _LARGE


def _chunk(spec: ScanSpec) -> int:
    """Return the steps of one iteration of a long scan."""
    return 4 if _is_large(spec) else 8


def _chunked(
    b: Body,
    spec: ScanSpec,
    length: int,
    reverse: bool,
    dt: str,
    drive: str,
    B: str,
    C: str,
    rates: str,
    state: str,
) -> tuple[str, str]:
    """Add a Scan over whole chunks and the steps left over, at the end of time: a reverse scan's first."""
    left = length % _chunk(spec)
    if not left:
        return _whole_chunks(b, spec, length, reverse, dt, drive, B, C, rates, state)
    sizes = b.ints(length - left, left)
    parts = [
        b.many("Split", value, sizes, axis=1, out=(b.name("chunks"), b.name("rest")))
        for value in (dt, drive, B, C)
    ]
    chunks, rest = zip(*parts, strict=True)
    if reverse:
        last, state = _unrolled(b, spec, left, reverse, *(*rest, rates, state))
        first, state = _whole_chunks(b, spec, length - left, reverse, *(*chunks, rates, state))
    else:
        first, state = _whole_chunks(b, spec, length - left, reverse, *(*chunks, rates, state))
        last, state = _unrolled(b, spec, left, reverse, *(*rest, rates, state))
    return b.op("Concat", first, last, axis=1), state


def _whole_chunks(
    b: Body,
    spec: ScanSpec,
    length: int,
    reverse: bool,
    dt: str,
    drive: str,
    B: str,
    C: str,
    rates: str,
    state: str,
) -> tuple[str, str]:
    g, n, per_group = spec.groups, spec.states, spec.width // spec.groups
    size = _chunk(spec)
    chunks = length // size
    turn = [1, 0, 2, 3, 4, 5]  # chunks first, as Scan wants them; and back

    def cut(value: str, shape: list[int]) -> str:
        return b.op("Transpose", b.op("Reshape", value, b.ints(0, chunks, size, *shape)), perm=turn)

    row = [g, 1, per_group]
    sequences = [cut(dt, row), cut(drive, row), cut(B, [g, n, 1]), cut(C, [g, 1, n])]
    # Scan wants the state in its final shape: one of batch 1 is spread over the batch.
    batch = b.op("Concat", b.op("Shape", dt, end=1), b.ints(1, 1, 1), axis=0)
    s = Body(b)
    names = ("chunk_dt", "chunk_drive", "chunk_B", "chunk_C")
    steps = _single_steps if _is_large(spec) else _steps
    y, last = steps(s, size, reverse, *names, rates, "chunk_state")
    shapes: list[list[int | str | None]] = [
        [None, size, *row],
        [None, size, *row],
        [None, size, g, n, 1],
        [None, size, g, 1, n],
    ]
    body = s.graph(
        "chunk",
        [
            ("chunk_state", _F32, [None, g, n, per_group]),
            *((name, _F32, shape) for name, shape in zip(names, shapes, strict=True)),
        ],
        [(last, _F32), (y, _F32)],
    )
    final, ys = b.many(
        "Scan",
        b.op("Expand", state, batch),
        *sequences,
        body=body,
        num_scan_inputs=4,
        scan_input_directions=[int(reverse)] * 4,
        scan_output_directions=[int(reverse)],
        out=(b.name("scan_state"), b.name("scan_y")),
    )
    return b.op("Reshape", b.op("Transpose", ys, perm=turn), b.ints(0, length, spec.width)), final


def _of_any_length(
    b: Body, spec: ScanSpec, reverse: bool, dt: str, drive: str, B: str, C: str, rates: str, state: str
) -> tuple[str, str]:
    """Add a Scan over steps, one an iteration; only the recurrence of small states is inside."""
    g, n, per_group = spec.groups, spec.states, spec.width // spec.groups
    turn = [1, 0, 2, 3, 4]  # steps first, as Scan wants them; and back
    dt, drive, B, C = _rows(b, spec, dt, drive, B, C)
    held: list[int | str | None] = [None, g, n, per_group]
    shapes = [held, held]
    s = Body(b)
    if _is_large(spec):
        row: list[int | str | None] = [None, g, 1, per_group]
        sequences = {"step_dt": dt, "step_drive": drive, "step_B": B, "step_C": C}
        shapes = [row, row, [None, g, n, 1], [None, g, 1, n]]
        decay = s.op("Exp", s.op("Mul", "step_dt", rates))
        term = s.op("Mul", "step_B", "step_drive")
    else:
        sequences = {
            "step_decay": b.op("Exp", b.op("Mul", dt, rates)),
            "step_term": b.op("Mul", B, drive),
        }
        decay, term = sequences
    after = s.op("Add", s.op("Mul", decay, "step_state"), term, out=s.name("state"))
    made = s.op("MatMul", "step_C", after) if _is_large(spec) else s.op("Identity", after)
    body = s.graph(
        "step",
        [
            (name, int(_F32), shape)
            for name, shape in zip(("step_state", *sequences), (held, *shapes), strict=True)
        ],
        [(after, _F32), (made, _F32)],
    )
    batch = b.op("Concat", b.op("Shape", dt, end=1), b.ints(1, 1, 1), axis=0)
    final, ys = b.many(
        "Scan",
        b.op("Expand", state, batch),
        *(b.op("Transpose", value, perm=turn) for value in sequences.values()),
        body=body,
        num_scan_inputs=len(sequences),
        scan_input_directions=[int(reverse)] * len(sequences),
        scan_output_directions=[int(reverse)],
        out=(b.name("scan_state"), b.name("scan_y")),
    )
    ys = b.op("Transpose", ys, perm=turn)
    y = ys if _is_large(spec) else b.op("MatMul", C, ys)
    return b.op("Reshape", y, b.ints(0, 0, spec.width)), final

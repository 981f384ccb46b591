"""SelectiveScan in PyTorch: a plain reference and the custom op ``mimamba::selective_scan``.

Channel-last layout ``(b, l, d)``. All arithmetic is float32 whatever the type of the tensors (float64 for
float64 ones), rounded once on store. Equal to ``selective_scan_fn`` of state-spaces/mamba up to layout for
time-varying real B and C.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mimamba_edge.errors import ConfigError
from mimamba_edge.export.ops.scan_blocks import gradients, scan, step_sizes
from mimamba_edge.export.ops.scan_inputs import ScanInputs

__all__ = ["run_scan", "selective_scan", "selective_scan_ref"]

_BLOCK = 256
"""Steps whose decays are held at once: bounds the memory of a long scan without gradients."""
_MAX_STATE = 256


_GIVEN = """Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor D, Tensor delta_bias,
Tensor initial_state, Tensor? z, bool delta_softplus, bool reverse"""


def _check(given: ScanInputs) -> None:
    """Raise ConfigError naming the first tensor whose shape or type does not fit, and what would."""
    u, A, B, initial_state = given.u, given.A, given.B, given.initial_state
    if u.ndim != 3 or min(u.shape[1:]) < 1:
        raise ConfigError(
            "selective_scan: u has a wrong shape", got=tuple(u.shape), expected="(b, l, d), all >= 1"
        )
    batch, length, width = u.shape
    if A.ndim != 2 or A.shape[0] != width or not 1 <= A.shape[1] <= _MAX_STATE:
        raise ConfigError(
            "selective_scan: A has a wrong shape",
            got=tuple(A.shape),
            expected=f"(d, n) = ({width}, 1 to {_MAX_STATE})",
        )
    n = A.shape[1]
    if B.ndim != 4 or B.shape[2] < 1 or width % B.shape[2]:
        raise ConfigError(
            "selective_scan: B has a wrong shape",
            got=tuple(B.shape),
            expected=f"(b, l, g, n) = ({batch}, {length}, a divisor of {width}, {n})",
        )
    groups = B.shape[2]
    first = 1 if initial_state.ndim and initial_state.shape[0] == 1 else batch
    shapes: dict[str, tuple[Any, ...]] = {
        "delta": (batch, length, width),
        "B": (batch, length, groups, n),
        "C": (batch, length, groups, n),
        "D": (width,),
        "delta_bias": (width,),
        "initial_state": (first, width, n),
        "z": (batch, length, width),
    }
    real = torch.float64 if u.dtype == torch.float64 else torch.float32
    if u.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise ConfigError("selective_scan: u has a wrong type", got=u.dtype, expected="a floating-point type")
    for name, shape in shapes.items():
        tensor = getattr(given, name)
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ConfigError(
                f"selective_scan: {name} has a wrong shape", got=tuple(tensor.shape), expected=shape
            )
    for name in ("A", *shapes):
        tensor = getattr(given, name)
        expected = u.dtype if name in ("delta", "B", "C", "z") else real
        if tensor is not None and tensor.dtype != expected:
            raise ConfigError(
                f"selective_scan: {name} has a wrong type beside u of {u.dtype}",
                got=tensor.dtype,
                expected=expected,
            )


def selective_scan_ref(*given: Any, **named: Any) -> tuple[Tensor, Tensor]:
    """Run the scan in plain torch operations; arguments as :func:`selective_scan`."""
    inputs = ScanInputs(*given, **named)
    _check(inputs)
    u, delta, A, B, C, D, delta_bias, initial_state, z, delta_softplus, reverse = inputs
    real = A.dtype
    batch, length, _ = u.shape
    groups, n = B.shape[2:]
    split = (groups, -1)
    x = u.to(real)
    dt = step_sizes(delta, delta_bias, delta_softplus)
    rates = torch.unflatten(A, 0, split)
    state = torch.unflatten(initial_state.expand(batch, -1, -1), 1, split)
    outputs: dict[int, Tensor] = {}
    starts = range(0, length, _BLOCK)
    for start in reversed(starts) if reverse else starts:
        part = slice(start, min(start + _BLOCK, length))
        steps = range(part.stop - part.start)
        decay = torch.exp(torch.unflatten(dt[:, part], 2, split).unsqueeze(-1) * rates)
        drive = torch.unflatten(dt[:, part] * x[:, part], 2, split).unsqueeze(-1)
        drive = drive * B[:, part].to(real).unsqueeze(3)
        states: dict[int, Tensor] = {}
        for t in reversed(steps) if reverse else steps:
            state = torch.addcmul(drive[:, t], decay[:, t], state)
            states[t] = state
        held = torch.stack([states[t] for t in steps], dim=1)
        outputs[start] = (held * C[:, part].to(real).unsqueeze(3)).sum(-1).flatten(2)
    y = torch.cat([outputs[start] for start in starts], dim=1) + D * x
    if z is not None:
        y = y * F.silu(z.to(real))
    return y.to(u.dtype), state.reshape(batch, -1, n)


@torch.library.custom_op("mimamba::selective_scan", mutates_args=(), schema=f"({_GIVEN}) -> (Tensor, Tensor)")
def scan_op(*given: Any) -> tuple[Tensor, Tensor]:
    inputs = ScanInputs(*given)
    with torch.autocast(inputs.u.device.type, enabled=False):
        return scan(inputs)


@scan_op.register_fake
def _(*given: Any) -> tuple[Tensor, Tensor]:
    inputs = ScanInputs(*given)
    _check(inputs)
    return inputs.u.new_empty(inputs.u.shape), inputs.A.new_empty((inputs.u.shape[0], *inputs.A.shape))


@torch.library.custom_op(
    "mimamba::selective_scan_backward",
    mutates_args=(),
    schema=f"(Tensor grad_y, Tensor grad_last, {_GIVEN}) -> Tensor[]",
)
def _scan_backward_op(grad_y: Tensor, grad_last: Tensor, *given: Any) -> list[Tensor]:
    with torch.autocast(grad_y.device.type, enabled=False):
        return gradients(grad_y, grad_last, ScanInputs(*given))


@_scan_backward_op.register_fake
def _(grad_y: Tensor, grad_last: Tensor, *given: Any) -> list[Tensor]:
    *tensors, z = given[:9]
    last = grad_y.new_empty(0) if z is None else z.new_empty(z.shape)
    return [*(t.new_empty(t.shape) for t in tensors), last]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.delta_softplus, ctx.reverse = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    grads = _scan_backward_op(grad_y, grad_last, *tensors, ctx.delta_softplus, ctx.reverse)
    return *grads[:8], (None if tensors[8] is None else grads[8]), None, None


scan_op.register_autograd(_backward, setup_context=_setup_context)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    initial_state: Tensor,
    z: Tensor | None = None,
    *,
    delta_softplus: bool,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run the selective scan through the custom op, so that an export keeps it as one node.

    ``h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t``, ``y_t = C_t h_t + D u_t``, times ``silu(z_t)`` if given.

    Equivalent to::

        dt = F.softplus(delta + delta_bias) if delta_softplus else delta + delta_bias
        B, C = (torch.repeat_interleave(m, u.shape[2] // m.shape[2], dim=2) for m in (B, C))
        y, h = torch.empty_like(u), initial_state.expand(len(u), -1, -1)
        steps = range(u.shape[1])
        for t in reversed(steps) if reverse else steps:
            h = torch.exp(dt[:, t, :, None] * A) * h + (dt * u)[:, t, :, None] * B[:, t]
            y[:, t] = (h * C[:, t]).sum(-1) + D * u[:, t]
        y, last_state = y if z is None else y * F.silu(z), h

    Args:
        u: Input ``(b, l, d)`` of type T (float16, bfloat16, float32 or float64).
        delta: Step sizes before bias ``(b, l, d)`` T.
        A: Decay rates ``(d, n)``, n up to 256, float32 (float64 where T is).
        B: Input maps ``(b, l, g, n)`` T; channel ``i`` belongs to group ``i // (d // g)``.
        C: Output maps ``(b, l, g, n)`` T.
        D: Skip ``(d,)``, type of A.
        delta_bias: ``(d,)``, type of A.
        initial_state: ``(1, d, n)`` or ``(b, d, n)``, type of A.
        z: Gate ``(b, l, d)`` T.
        delta_softplus: Pass ``delta + delta_bias`` through a softplus (threshold 20).
        reverse: Run from ``t = l - 1`` to 0: the state enters at the end and leaves at 0.

    Returns:
        ``y (b, l, d)`` T and ``last_state (b, d, n)``. Scanning two parts with the state handed on equals
        scanning the whole.

    Raises:
        ConfigError: A tensor has a shape or type that does not fit; the message names it.
    """
    return run_scan(ScanInputs(u, delta, A, B, C, D, delta_bias, initial_state, z, delta_softplus, reverse))


def run_scan(given: ScanInputs) -> tuple[Tensor, Tensor]:
    """Run :func:`selective_scan` on arguments that are held together."""
    _check(given)
    result: tuple[Tensor, Tensor] = scan_op(*given)
    return result

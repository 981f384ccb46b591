"""SelectiveScan and its gradients in vectorised torch operations, a cache's worth of states at a time.

The states ``(b, l, d, n)`` are ``n`` times as many numbers as the input. They are made for some windows and
some steps at once, in buffers that are used again, and made a second time for the gradients: to compute them
again costs less than to fetch them from memory. The channels lie innermost, ``(m, t, g, n, d // g)``, so that
every operation and every sum runs over long rows.

All arithmetic has the type of ``A``; the order of all sums depends on the shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mimamba_edge.export.ops.scan_inputs import ScanInputs

__all__ = ["gradients", "scan", "step_sizes"]

_STATES = 1 << 17
"""Numbers of one buffer, if one step of one window is not more: 512 KiB of float32 stay in a cache."""


def step_sizes(delta: Tensor, delta_bias: Tensor, delta_softplus: bool) -> Tensor:
    """Return ``delta`` with its bias and through the softplus, in the bias's type."""
    dt = delta.to(delta_bias.dtype) + delta_bias
    return F.softplus(dt) if delta_softplus else dt


@dataclass(frozen=True)
class _Problem:
    """The scan's tensors, turned for its loops.

    Attributes:
        dt: Step sizes ``(b, l, g, 1, e)``, ``e = d // g``.
        drive: ``dt * u``, the same shape.
        B: ``(b, l, g, n, 1)``.
        C: ``(b, l, g, n, 1)``.
        rates: ``A`` as ``(g, n, e)``.
        first: State before the first step ``(b, g, n, e)``.
        reverse: Whether the scan runs from the last step to the first.
    """

    dt: Tensor
    drive: Tensor
    B: Tensor
    C: Tensor
    rates: Tensor
    first: Tensor
    reverse: bool

    @classmethod
    def of(cls, given: ScanInputs) -> tuple[Tensor, _Problem]:
        """Return ``u`` in the type of ``A``, and the problem."""
        A, groups = given.A, given.B.shape[2]
        x = given.u.to(A.dtype)
        rows = _rows(step_sizes(given.delta, given.delta_bias, given.delta_softplus), groups)
        return x, cls(
            rows,
            rows * _rows(x, groups),
            given.B.to(A.dtype).unsqueeze(4),
            given.C.to(A.dtype).unsqueeze(4),
            _turned(A, groups).contiguous(),
            _turned(given.initial_state.expand(len(x), -1, -1), groups),
            given.reverse,
        )

    def parts(self) -> Iterator[tuple[slice, list[slice]]]:
        """Yield some windows and the blocks of steps they are scanned in, in the order of the scan."""
        batch, length = self.dt.shape[:2]
        one = self.rates.numel()
        steps = max(1, min(length, _STATES // one))
        windows = max(1, _STATES // (one * steps))
        blocks = [slice(t, min(t + steps, length)) for t in range(0, length, steps)]
        for start in range(0, batch, windows):
            yield slice(start, min(start + windows, batch)), blocks[::-1] if self.reverse else blocks

    def buffer(self) -> Tensor:
        """Return room for the states of the largest block."""
        windows, blocks = next(self.parts())
        steps = max(block.stop - block.start for block in blocks)
        return self.dt.new_empty((windows.stop - windows.start) * steps * self.rates.numel())

    def order(self, block: slice) -> list[int]:
        """Return the steps of a block, counted from its start, in the order of the scan."""
        steps = range(block.stop - block.start)
        return list(reversed(steps) if self.reverse else steps)

    def states(
        self, at: tuple[slice, slice], before: Tensor, decay: Tensor, states: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the decays and the states of a block, in the two buffers, each ``(m, t, g, n, e)``."""
        dt, drive = self.dt[at], self.drive[at]
        shape = (*dt.shape[:2], *self.rates.shape)
        decays = torch.mul(dt, self.rates, out=_view(decay, shape)).exp_()
        held = torch.mul(drive, self.B[at], out=_view(states, shape))
        of_step, by_step = decays.unbind(1), held.unbind(1)
        for t in self.order(at[1]):
            before = by_step[t].addcmul_(of_step[t], before)
        return decays, held


def _rows(x: Tensor, groups: int) -> Tensor:
    """Return ``(b, l, d)`` as ``(b, l, g, 1, e)``."""
    return torch.unflatten(x, 2, (groups, 1, -1))


def _turned(x: Tensor, groups: int) -> Tensor:
    """Return ``(..., d, n)`` as ``(..., g, n, e)``."""
    return torch.unflatten(x, -2, (groups, -1)).transpose(-1, -2)


def _turned_back(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).flatten(-3, -2).contiguous()


def _empty(like: Tensor) -> Tensor:
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def _view(buffer: Tensor, shape: tuple[int, ...]) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)


def scan(given: ScanInputs) -> tuple[Tensor, Tensor]:
    """Return ``y`` and ``last_state`` as :func:`mimamba_edge.export.ops.scan.selective_scan` does."""
    u, z = given.u, given.z
    x, p = _Problem.of(given)
    y, last = _empty(x), _empty(p.first)
    buffers = p.buffer(), p.buffer()
    for windows, blocks in p.parts():
        state = p.first[windows]
        for block in blocks:
            at = windows, block
            _, held = p.states(at, state, *buffers)
            y[at] = torch.matmul(p.C[at].mT, held).flatten(2)
            state = held[:, p.order(block)[-1]].clone()
        last[windows] = state
    y.addcmul_(given.D, x)
    if z is not None:
        y *= F.silu(z.to(x.dtype))
    return y.to(u.dtype), _turned_back(last)


def gradients(grad_y: Tensor, grad_last: Tensor, given: ScanInputs) -> list[Tensor]:
    """Return the gradients of the nine tensors of :func:`scan`, an empty one for a missing z."""
    u, delta, _, B, C, D, delta_bias, initial_state, z, delta_softplus, _ = given
    real, groups = given.A.dtype, B.shape[2]
    x, p = _Problem.of(given)
    dt = p.dt.flatten(2)
    grad = grad_y.to(real)
    if z is not None:
        gate = z.to(real)
        open_ = torch.sigmoid(gate)
        grad = grad * gate * open_
    sums = _Sums(
        p, _rows(grad, groups), torch.zeros_like(p.rates), _empty(p.B), _empty(p.C), *map(_empty, (x, x, x))
    )
    grad_first = _turned(grad_last.to(real), groups).clone()
    buffers = p.buffer(), p.buffer(), p.buffer()
    for windows, blocks in p.parts():
        entries = _entries(p, windows, blocks, buffers)
        for block, entry in zip(reversed(blocks), reversed(entries), strict=True):
            sums.add((windows, block), entry, grad_first[windows], buffers)
    grad_z = u.new_empty(0)
    if z is not None:
        ungated = sums.seen.addcmul_(D, x)
        grad_z = (grad_y.to(real) * ungated * open_ * (1 + gate * (1 - open_))).to(z.dtype)
    grad_dt = sums.decayed.addcmul_(sums.driven, x)
    if delta_softplus:
        grad_dt *= torch.sigmoid(delta.to(real) + delta_bias)
    grad_state = _turned_back(grad_first)
    return [
        sums.driven.mul_(dt).addcmul_(grad, D).to(u.dtype),
        grad_dt.to(delta.dtype),
        _turned_back(sums.rates),
        sums.B.squeeze(4).to(B.dtype),
        sums.C.squeeze(4).to(C.dtype),
        (grad * x).sum((0, 1)),
        grad_dt.sum((0, 1)),
        grad_state.sum(0, keepdim=True) if initial_state.shape[0] != len(u) else grad_state,
        grad_z,
    ]


def _entries(p: _Problem, windows: slice, blocks: list[slice], buffers: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the state before each block of some windows."""
    entries = [p.first[windows]]
    for block in blocks[:-1]:
        _, held = p.states((windows, block), entries[-1], *buffers[:2])
        entries.append(held[:, p.order(block)[-1]].clone())
    return entries


@dataclass(frozen=True)
class _Sums:
    """What the gradients need of all states, summed over the states' ``n``, over channels or over steps.

    The worth of a state is the gradient that reaches it: through its own output and through the next state.

    Attributes:
        problem: The scan.
        grad: Gradient of the ungated outputs ``(b, l, g, 1, e)``.
        rates: Gradient of the rates ``(g, n, e)``.
        B: Gradient ``(b, l, g, n, 1)``.
        C: The same of C.
        seen: Output of the states ``(b, l, d)``.
        driven: Gradient of ``drive`` ``(b, l, d)``.
        decayed: Gradient of the step sizes through the decays ``(b, l, d)``.
    """

    problem: _Problem
    grad: Tensor
    rates: Tensor
    B: Tensor
    C: Tensor
    seen: Tensor
    driven: Tensor
    decayed: Tensor

    def add(self, at: tuple[slice, slice], entry: Tensor, carry: Tensor, buffers: tuple[Tensor, ...]) -> None:
        """Add a block.

        Args:
            at: Windows and steps.
            entry: State before the block ``(m, g, n, e)``.
            carry: Worth of the state after the block to all that follows; becomes that of ``entry``.
            buffers: Three.
        """
        p, grad = self.problem, self.grad[at]
        order = p.order(at[1])
        decay, held = p.states(at, entry, *buffers[:2])
        self.C[at] = torch.matmul(held, grad.mT)
        self.seen[at] = torch.matmul(p.C[at].mT, held).flatten(2)
        worth = torch.mul(grad, p.C[at], out=_view(buffers[2], held.shape))
        worth[:, order[-1]] += carry
        of_step, by_step = decay.unbind(1), worth.unbind(1)
        for t, after in zip(order[-2::-1], order[:0:-1], strict=True):
            by_step[t].addcmul_(of_step[after], by_step[after])
        self.B[at] = torch.matmul(worth, p.drive[at].mT)
        self.driven[at] = torch.matmul(p.B[at].mT, worth).flatten(2)
        worth *= decay
        carry.copy_(worth[:, order[0]])
        # Times the state before each step: what the logarithm of its decay is worth.
        early, late = (slice(1, None), slice(-1)) if p.reverse else (slice(-1), slice(1, None))
        worth[:, late] *= held[:, early]
        worth[:, order[0]] *= entry
        self.rates.add_(torch.mul(worth, p.dt[at], out=decay).sum((0, 1)))
        self.decayed[at] = torch.mul(worth, p.rates, out=decay).sum(3).flatten(2)

"""Stand-ins for the kernels of Mamba-2: its scan is Mamba-1's with the same numbers for many channels.

A head's channels share step, bias and D, and all states of a head share one A. So the scan over ``headdim``
channels times ``nheads`` heads is ours with these repeated; groups of B and C are the same thing in both.
Source: ``ssd_selective_scan`` of state-spaces/mamba, mamba_ssm/ops/triton/ssd_combined.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mimamba_edge.errors import ExportError
from mimamba_edge.export.capture.adapters import Function, binder, convolved, name_of, normed, run_scan

__all__ = ["chunk_scan", "gated_norm", "other_scan", "split_conv_scan"]

_STATES = ("initial_states", "seq_idx", "cu_seqlens")
_ANY_STEP = (0.0, float("inf"))


def _refuse(given: Mapping[str, Any], where: str, asked: str) -> None:
    if used := [name for name in _STATES if given.get(name) is not None]:
        raise ExportError(f"{where} is called with arguments that cannot be exported", got=used)
    if given.get(asked):
        raise ExportError(f"{where} is asked for its states, which cannot be exported", got=asked)


def _split(x: Tensor, *sizes: int) -> Tensor:
    """Return ``(..., n)`` as ``(..., *sizes)``."""
    return x.reshape(*x.shape[:-1], *sizes)


def _scan(given: Mapping[str, Any], where: str) -> tuple[Tensor, Tensor]:
    """Run our op on tensors of heads.

    Args:
        given: ``x`` and ``z (b, l, h, p)``, ``dt (b, l, h)``, ``A (h)``, ``B`` and ``C (b, l, g, n)``,
            ``D (h)`` or ``(h, p)``, ``dt_bias (h)``, ``dt_softplus``, ``dt_limit``.
        where: The function in whose place this runs.

    Returns:
        y ``(b, l, h, p)`` and the last state ``(b, h, p, n)``.
    """
    x, dt, bias, D, z = given["x"], given["dt"], given.get("dt_bias"), given.get("D"), given.get("z")
    heads, width = x.shape[2], x.shape[3]
    softplus = bool(given.get("dt_softplus", False))
    limit = tuple(given.get("dt_limit") or _ANY_STEP)
    if limit != _ANY_STEP:
        dt = dt if bias is None else dt + bias
        dt, bias, softplus = (F.softplus(dt) if softplus else dt).clamp(*limit), None, False

    def of_heads(value: Tensor) -> Tensor:
        """Repeat ``(..., h)`` for the channels of each head; ``(..., h, p)`` is there already."""
        wide = value if value.shape[-1] == width and value.ndim > 1 else value.unsqueeze(-1)
        return wide.expand(*wide.shape[:-1], width).flatten(-2)

    steps = dt.unsqueeze(-1).expand(*dt.shape, width).flatten(-2)
    tensors = {
        "u": x.flatten(-2),
        "delta": steps,
        "A": given["A"].repeat_interleave(width).unsqueeze(-1).expand(-1, given["B"].shape[-1]),
        "B": given["B"],
        "C": given["C"],
        "D": None if D is None else of_heads(D),
        "z": None if z is None else z.flatten(-2),
        "delta_bias": None if bias is None else of_heads(bias),
    }
    y, state = run_scan(tensors, where, delta_softplus=softplus)
    return _split(y, heads, width), state.reshape(state.shape[0], heads, width, -1)


def chunk_scan(original: Function) -> Function:
    """Return a stand-in for ``mamba_chunk_scan_combined``."""
    bind, where = binder(original), name_of(original)

    def scan(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        _refuse(given, where, "return_varlen_states")
        y, state = _scan(given, where)
        return (y, state) if given.get("return_final_states") else y

    return scan


def split_conv_scan(original: Function) -> Function:
    """Return a stand-in for ``mamba_split_conv1d_scan_combined``: from ``in_proj`` to the block's output."""
    bind, where = binder(original), name_of(original)

    def block(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        _refuse(given, where, "return_final_states")
        D, groups = given["D"], given["ngroups"]
        heads = D.shape[0]
        width = D.shape[1] if D.ndim == 2 else given["headdim"]
        inner, rows = heads * width, given["zxbcdt"]
        states = (rows.shape[-1] - 2 * inner - heads) // 2
        z, taken, dt = torch.split(rows, [inner, inner + 2 * states, heads], dim=-1)
        taken = convolved(
            taken.transpose(1, 2), given["conv1d_weight"], given["conv1d_bias"], given["activation"]
        ).transpose(1, 2)
        x, B, C = torch.split(taken, [inner, states, states], dim=-1)
        weight = given["rmsnorm_weight"]
        tensors = {
            "x": _split(x, heads, width),
            "B": _split(B, groups, -1),
            "C": _split(C, groups, -1),
            "z": _split(z, heads, width) if weight is None else None,
            "dt": dt,
            "dt_softplus": True,
        }
        y, _ = _scan({**given, **tensors}, where)
        y = y.flatten(-2)
        if weight is not None:
            y = _gated(y, z, weight, given["rmsnorm_eps"], None, before=given["norm_before_gate"])
        out = given["outproj_weight"]
        return y if out is None else F.linear(y, out, given["outproj_bias"])

    return block


def _gated(
    x: Tensor, z: Tensor | None, weight: Tensor, eps: float, group: int | None, *, before: bool
) -> Tensor:
    gate = None if z is None else F.silu(z)
    x = x if gate is None or before else x * gate
    if group is None:
        y = normed(x, weight, eps)
    else:
        y = normed(_split(x, -1, group), None, eps).flatten(-2) * weight
    return y * gate if gate is not None and before else y


def gated_norm(original: Function) -> Function:
    """Return a stand-in for ``rmsnorm_fn``: RMS norm with a gate, over groups."""
    bind = binder(original)

    def norm(*args: Any, **kwargs: Any) -> Tensor:
        given = bind(args, kwargs)
        before = bool(given["norm_before_gate"])
        group = given.get("group_size")
        y = _gated(given["x"], given.get("z"), given["weight"], given["eps"], group, before=before)
        return y if given.get("bias") is None else y + given["bias"]

    return norm


def other_scan(original: Function) -> Function:
    """Return a stand-in that refuses: the scan of Mamba-3, which turns its states."""
    where = name_of(original)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ExportError(
            f"the model runs {where}, a scan of Mamba-3, which has no op here",
            expected="selective scans of Mamba-1, or of Mamba-2",
        )

    return refuse

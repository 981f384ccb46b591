"""A block of Mamba-2 with the call signatures of mamba_ssm; its scan is a plain loop over heads."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.foreign.standins import causal_conv1d_fn

HEADS, WIDTH, STATES, GROUPS = 4, 3, 5, 2
INNER = HEADS * WIDTH


def mamba_chunk_scan_combined(
    x,
    dt,
    A,
    B,
    C,
    chunk_size,
    D=None,
    z=None,
    dt_bias=None,
    initial_states=None,
    seq_idx=None,
    dt_softplus=False,
    dt_limit=(0.0, float("inf")),
    return_final_states=False,
):
    """As mamba_ssm: x (b, l, h, p), dt (b, l, h), B and C (b, l, g, n)."""
    dt = dt if dt_bias is None else dt + dt_bias
    dt = (F.softplus(dt) if dt_softplus else dt).clamp(*dt_limit)
    each = x.shape[2] // B.shape[2]
    h, out = torch.zeros(x.shape[0], x.shape[2], x.shape[3], B.shape[3]), []
    for t in range(x.shape[1]):
        b, c = (torch.stack([m[:, t, i // each] for i in range(x.shape[2])], 1) for m in (B, C))
        step = dt[:, t, :, None, None]
        h = torch.exp(step * A[:, None, None]) * h + step * x[:, t, :, :, None] * b[:, :, None]
        out.append((h * c[:, :, None]).sum(-1))
    y = torch.stack(out, 1)
    y = y if D is None else y + (D[:, None] if D.ndim == 1 else D) * x
    y = y if z is None else y * F.silu(z)
    return (y, h) if return_final_states else y


def rmsnorm_fn(x, weight, bias, z=None, eps=1e-6, group_size=None, norm_before_gate=True):
    """As mamba_ssm's Triton kernel."""
    x = x if z is None or norm_before_gate else x * F.silu(z)
    parts = x.reshape(*x.shape[:-1], -1, group_size or x.shape[-1])
    y = (parts / torch.sqrt((parts**2).mean(-1, keepdim=True) + eps)).reshape(x.shape) * weight
    return y if z is None or not norm_before_gate else y * F.silu(z)


def mamba_split_conv1d_scan_combined(
    zxbcdt,
    conv1d_weight,
    conv1d_bias,
    dt_bias,
    A,
    D,
    chunk_size,
    initial_states=None,
    seq_idx=None,
    dt_limit=(0.0, float("inf")),
    return_final_states=False,
    activation="silu",
    rmsnorm_weight=None,
    rmsnorm_eps=1e-6,
    outproj_weight=None,
    outproj_bias=None,
    headdim=None,
    ngroups=1,
    norm_before_gate=True,
):
    """As mamba_ssm's fused block."""
    z, xBC, dt = torch.split(zxbcdt, [INNER, INNER + 2 * ngroups * STATES, HEADS], dim=-1)
    xBC = causal_conv1d_fn(xBC.transpose(1, 2), conv1d_weight, conv1d_bias, activation).transpose(1, 2)
    x, B, C = torch.split(xBC, [INNER, ngroups * STATES, ngroups * STATES], dim=-1)
    x, B, C, gate = (
        m.reshape(*m.shape[:2], parts, -1)
        for m, parts in ((x, HEADS), (B, ngroups), (C, ngroups), (z, HEADS))
    )
    own = None if rmsnorm_weight is not None else gate
    y = mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size, D, own, dt_bias, None, None, True, dt_limit)
    y = y.flatten(2)
    if rmsnorm_weight is not None:
        y = rmsnorm_fn(y, rmsnorm_weight, None, z, rmsnorm_eps, None, norm_before_gate)
    return y if outproj_weight is None else F.linear(y, outproj_weight, outproj_bias)


class Mamba2(nn.Module):
    """The block; ``norm``: with its gated norm, else the scan has the gate."""

    def __init__(
        self, *, fused=True, norm=True, before=False, wide=False, limit=(0.0, float("inf")), group=None
    ):
        super().__init__()
        self.fused, self.before, self.limit, self.group = fused, before, limit, group
        self.in_proj = nn.Linear(8, 2 * INNER + 2 * GROUPS * STATES + HEADS)
        self.conv1d = nn.Conv1d(INNER + 2 * GROUPS * STATES, INNER + 2 * GROUPS * STATES, 3)
        self.conv1d.weight = nn.Parameter(torch.randn(INNER + 2 * GROUPS * STATES, 3) / 2)
        self.A_log, self.dt_bias = nn.Parameter(torch.rand(HEADS)), nn.Parameter(torch.rand(HEADS))
        self.D = nn.Parameter(torch.rand(HEADS, WIDTH) if wide else torch.rand(HEADS))
        self.weight = nn.Parameter(torch.rand(INNER) + 0.5) if norm else None
        self.out_proj = nn.Linear(INNER, 8)

    def forward(self, u):
        rows, A = self.in_proj(u), -torch.exp(self.A_log)
        weights = self.conv1d.weight, self.conv1d.bias
        if self.fused:
            return mamba_split_conv1d_scan_combined(
                rows,
                *weights,
                self.dt_bias,
                A,
                D=self.D,
                chunk_size=4,
                dt_limit=self.limit,
                rmsnorm_weight=self.weight,
                outproj_weight=self.out_proj.weight,
                outproj_bias=self.out_proj.bias,
                headdim=WIDTH,
                ngroups=GROUPS,
                norm_before_gate=self.before,
            )
        z, xBC, dt = torch.split(rows, [INNER, INNER + 2 * GROUPS * STATES, HEADS], dim=-1)
        xBC = causal_conv1d_fn(xBC.transpose(1, 2), *weights, "silu").transpose(1, 2)
        x, B, C = torch.split(xBC, [INNER, GROUPS * STATES, GROUPS * STATES], dim=-1)
        x, B, C = (m.reshape(*m.shape[:2], n, -1) for m, n in ((x, HEADS), (B, GROUPS), (C, GROUPS)))
        given = {"dt_bias": self.dt_bias, "dt_softplus": True, "dt_limit": self.limit}
        y, _ = mamba_chunk_scan_combined(x, dt, A, B, C, 4, D=self.D, return_final_states=True, **given)
        y = rmsnorm_fn(y.flatten(2), self.weight, None, z, 1e-5, self.group, self.before)
        return self.out_proj(y)


def mamba3_siso_combined(Q, K, V):
    return Q


class Mamba3(nn.Module):
    def forward(self, x):
        return mamba3_siso_combined(x, x, x)

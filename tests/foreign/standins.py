"""Small models with the call signatures of other packages' scans; each runs by a plain loop of its own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

D, N, RANK = 8, 4, 2


def selective_scan_fn(
    u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
):
    """As mamba_ssm: u (b, d, l), B and C (b, n, l) or (b, g, n, l)."""
    dt = delta if delta_bias is None else delta + delta_bias[:, None]
    dt = F.softplus(dt) if delta_softplus else dt
    B, C = (m[:, None] if m.ndim == 3 else m for m in (B, C))
    B, C = (torch.repeat_interleave(m, u.shape[1] // m.shape[1], dim=1) for m in (B, C))
    h, out = torch.zeros(u.shape[0], *A.shape), []
    for t in range(u.shape[2]):
        step = dt[:, :, t, None]
        h = torch.exp(step * A) * h + step * u[:, :, t, None] * B[..., t]
        out.append((h * C[..., t]).sum(-1))
    y = torch.stack(out, 2)
    y = y if D is None else y + D[:, None] * u
    y = y if z is None else y * F.silu(z)
    return (y, h) if return_last_state else y


def causal_conv1d_fn(x, weight, bias=None, activation=None):
    """As causal_conv1d: x (b, d, l), weight (d, k)."""
    y = torch.stack(
        [
            sum(
                weight[:, k] * F.pad(x, (weight.shape[1] - 1, 0))[:, :, t + k] for k in range(weight.shape[1])
            )
            for t in range(x.shape[2])
        ],
        2,
    )
    y = y if bias is None else y + bias[:, None]
    return F.silu(y) if activation == "silu" else y


def _block(xz, conv_weight, conv_bias, x_proj, dt_proj, A, D, delta_bias):
    x, z = xz.chunk(2, dim=1)
    x = causal_conv1d_fn(x, conv_weight[:, 0], conv_bias, "silu")
    dt, B, C = torch.split(x.transpose(1, 2) @ x_proj.T, [dt_proj.shape[1], A.shape[1], A.shape[1]], dim=-1)
    dt = (dt @ dt_proj.T).transpose(1, 2)
    return selective_scan_fn(x, dt, A, B.transpose(1, 2), C.transpose(1, 2), D, z, delta_bias, True)


def mamba_inner_fn(
    xz,
    conv1d_weight,
    conv1d_bias,
    x_proj_weight,
    delta_proj_weight,
    out_proj_weight,
    out_proj_bias,
    A,
    B=None,
    C=None,
    D=None,
    delta_bias=None,
    delta_softplus=True,
):
    """As mamba_ssm's fused block."""
    y = _block(xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A, D, delta_bias)
    return F.linear(y.transpose(1, 2), out_proj_weight, out_proj_bias)


def mamba_inner_fn_no_out_proj(
    xz,
    conv1d_weight,
    conv1d_bias,
    x_proj_weight,
    delta_proj_weight,
    A,
    B=None,
    C=None,
    D=None,
    delta_bias=None,
):
    """As Vim's."""
    return _block(xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, A, D, delta_bias)


def rms_norm_fn(x, weight, bias, residual=None, prenorm=False, residual_in_fp32=False, eps=1e-6):
    """As mamba_ssm's Triton kernel."""
    whole = x if residual is None else x + residual
    y = whole / torch.sqrt((whole**2).mean(-1, keepdim=True) + eps) * weight
    return (y, whole) if prenorm else y


class Mixer(nn.Module):
    """A Mamba block with mamba_ssm's names: three paths to its scan."""

    def __init__(self, path="inner", *, bias=False, conv_bias=True):
        super().__init__()
        self.path = path
        self.in_proj = nn.Linear(D, 2 * D, bias=bias)
        self.conv1d = nn.Conv1d(D, D, 3, groups=D, padding=2, bias=conv_bias)
        self.x_proj = nn.Linear(D, RANK + 2 * N, bias=False)
        self.dt_proj = nn.Linear(RANK, D)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, N + 1).repeat(D, 1)))
        self.D = nn.Parameter(torch.ones(D))
        self.out_proj = nn.Linear(D, D, bias=bias)
        self.norm = nn.Parameter(torch.linspace(0.5, 1.5, D))

    def forward(self, x):
        x, kept = rms_norm_fn(x, self.norm, None, residual=x, prenorm=True)
        xz, A = self.in_proj(x).transpose(1, 2), -torch.exp(self.A_log)
        weights = self.conv1d.weight, self.conv1d.bias, self.x_proj.weight, self.dt_proj.weight
        if self.path == "inner":
            out = self.out_proj.weight, self.out_proj.bias
            return kept + mamba_inner_fn(xz, *weights, *out, A, D=self.D, delta_bias=self.dt_proj.bias)
        if self.path == "both ways":
            given = {"D": self.D, "delta_bias": self.dt_proj.bias}
            y = mamba_inner_fn_no_out_proj(xz, *weights, A, **given)
            y = y + mamba_inner_fn_no_out_proj(xz.flip([-1]), *weights, A, **given).flip([-1])
            return kept + self.out_proj(y.transpose(1, 2))
        return kept + self.out_proj(self._unfused(xz, A).transpose(1, 2))

    def _unfused(self, xz, A):
        u, z = xz.chunk(2, dim=1)
        u = causal_conv1d_fn(u, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu")
        dt, B, C = torch.split(self.x_proj(u.transpose(1, 2)), [RANK, N, N], dim=-1)
        dt = F.linear(dt, self.dt_proj.weight).transpose(1, 2)
        B, C = B.transpose(1, 2), C.transpose(1, 2)
        bias = self.dt_proj.bias
        y, _ = selective_scan_fn(u, dt, A, B, C, self.D, z, bias, True, return_last_state=True)
        return y


class ChannelLast(nn.Module):
    """As TSLib's MambaSimple and mambapy: the scan is a method over (b, l, d), its steps already positive."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(D, D + 2 * N)
        self.A = nn.Parameter(-torch.rand(D, N))
        self.D = nn.Parameter(torch.ones(D))

    def forward(self, x):
        dt, B, C = torch.split(self.proj(x), [D, N, N], dim=-1)
        return self.selective_scan(x, F.softplus(dt), self.A, B, C, self.D)

    def selective_scan(self, u, delta, A, B, C, D):
        turned = (m.transpose(1, 2) for m in (u, delta, B, C))
        u, delta, B, C = turned
        return selective_scan_fn(u, delta, A, B, C, D).transpose(1, 2)


class Simple(nn.Module):
    """A Mamba block as TSLib's MambaSimple and mambapy have it: ``nn.Conv1d`` cut to l, the scan a method."""

    def __init__(self):
        super().__init__()
        self.conv1d = nn.Conv1d(D, D, 4, groups=D, padding=3)
        self.scan = ChannelLast()

    def forward(self, x):
        return x + self.scan(F.silu(self.conv1d(x.transpose(1, 2))[:, :, : x.shape[1]].transpose(1, 2)))


class Causal(nn.Module):
    """Blocks of three packages in a row, step by step but for ``tail``."""

    def __init__(self, tail=None, layers=3):
        super().__init__()
        self.embed = nn.Linear(3, D)
        made = Mixer("inner", bias=True), Mixer("unfused", conv_bias=False), Simple()
        self.layers = nn.ModuleList(made[:layers])
        self.tail = tail
        self.head = nn.Linear(D, 2)

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return {"each": self.head(x if self.tail is None else self.tail(x)), "newest": x[:, -1]}


class Unknown(nn.Module):
    """A recurrence over time that nobody has ever named."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(D, D)

    def forward(self, x):
        decay, h, out = torch.sigmoid(self.gate(x)), torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            h = decay[:, t] * h + x[:, t]
            out.append(h)
        return torch.stack(out, 1)


class Parallel(nn.Module):
    """The same recurrence in log2 l levels: in place, up and down a tree, or each step doubling the reach."""

    def __init__(self, form):
        super().__init__()
        self.form, self.gate = form, nn.Linear(D, D)

    def forward(self, x):
        return getattr(self, self.form)(torch.sigmoid(self.gate(x)), x)

    def doubling(self, a, x):
        reach, length = 1, x.shape[1]
        while reach < length:
            x = x + a * F.pad(x, (0, 0, reach, 0))[:, :length]
            a = a * F.pad(a, (0, 0, reach, 0), value=1.0)[:, :length]
            reach *= 2
        return x

    def tree(self, a, x):
        a, x, length = a.clone(), x.clone(), x.shape[1]
        step = 1
        while step < length:
            here, before = slice(2 * step - 1, None, 2 * step), slice(step - 1, None, 2 * step)
            x[:, here].add_(a[:, here] * x[:, before])
            a[:, here].mul_(a[:, before])
            step *= 2
        while (step := step // 2) > 1:
            here, before = slice(step + step // 2 - 1, None, step), slice(step - 1, length - step // 2, step)
            x[:, here].add_(a[:, here] * x[:, before])
            a[:, here].mul_(a[:, before])
        return x


class Branches(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


class Applies(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _flipped_if_negative(x):
    return x if x.sum() > 0 else -x


def branches_in_a_function():
    return nn.Sequential(nn.Identity(), Applies(_flipped_if_negative))


def branches_at_the_top():
    return Applies(_flipped_if_negative)


def not_in_onnx():
    return nn.Sequential(
        nn.Identity(), Applies(lambda x: x + torch.linalg.eigvals(x[:, :4].view(-1, 2, 2)).real.sum())
    )


def noise():
    return nn.Sequential(nn.Dropout(), Applies(lambda x: x + torch.randn_like(x)))


def over_the_batch():
    return Applies(lambda x: x - x.mean())


def not_finite():
    return Applies(torch.log)


class OneBatch(nn.Module):
    """Works for one batch size only."""

    def forward(self, x):
        return {"left": x.reshape(2, -1)[:, :4], "right": (x.reshape(2, -1).sum(1) > 0)}


class Whole(nn.Module):
    """A model with ``part`` as ``encoder.1``."""

    def __init__(self, part):
        super().__init__()
        self.encoder = nn.Sequential(nn.Identity(), part)
        self.head = nn.Linear(D, 3)

    def forward(self, signal):
        return self.head(self.encoder(signal).mean(1))


def mixers():
    """Two blocks of different lengths, 3 scans."""
    return Whole(nn.Sequential(Mixer("inner", bias=True, conv_bias=False), _Half(Mixer("both ways"))))


class _Half(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x[:, ::2])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(D, 2, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False)[0]


class OnChannels(nn.Module):
    """A layer of ``(b, d, l)`` in a model of ``(b, l, d)``."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


class Positions(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.steps = nn.Parameter(torch.randn(steps, D))

    def forward(self, x):
        return x + self.steps[: x.shape[1]]


class OverTime(nn.Module):
    def forward(self, x):
        return x - x.mean(1, keepdim=True)


LOOK_ELSEWHERE = {
    "both ways": lambda: Mixer("both ways"),
    "attention": Attention,
    "centred convolution": lambda: OnChannels(nn.Conv1d(D, D, 3, padding=1)),
    "norm over time": lambda: OnChannels(nn.GroupNorm(2, D)),
    "mean over time": OverTime,
    "positions": lambda: Positions(500),
    "few positions": lambda: Positions(12),
}
"""Layers that need more than the past or than what states hold."""


def causal():
    return Causal()


def both_ways():
    return Causal(Mixer("both ways"), layers=1)


def unknown():
    return Whole(Unknown())


def branches():
    return nn.Sequential(nn.Identity(), Branches())


def one_batch():
    return OneBatch()


def raises():
    raise RuntimeError("no such dataset")


def nothing():
    return 3


class TwoInputs(nn.Module):
    def forward(self, left, right):
        return left + right


def rejects():
    return Whole(nn.Linear(D + 1, D))


not_callable = 5

"""A speech enhancement network as in onnxruntime's issue 27796: 30 Mamba blocks, 9.6 million parameters.

Own code after the description there and the shape of SEMamba (Chao et al., 2024, arXiv:2405.06573): a
convolutional encoder over magnitude and phase, blocks that scan in both directions over time and over
frequency in turn, decoders of a mask and of a phase. States are ``(batch, 256, 16)``, as in the issue.
Weights are random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.export.capture import as_selective_scan

__all__ = ["BANDS", "BLOCKS", "FRAMES", "SECONDS", "Enhancer", "Mamba", "scan_steps"]

BLOCKS = 30
FRAMES, BANDS = 16, 201
SECONDS = 0.1
"""Of audio at 16 kHz in :data:`FRAMES` steps of 100 samples, spectra of 400."""
_WIDTH, _EXPAND, _STATES, _KERNEL = 128, 2, 16, 4
_RANK = _WIDTH // 16


def scan_steps(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor) -> Tensor:
    """Scan step by step, as mamba_ssm's ``selective_scan_ref``; ``u (b, l, d)``, B and C ``(b, l, n)``."""
    decay = torch.exp(delta.unsqueeze(-1) * A)
    drive = (delta * u).unsqueeze(-1) * B.unsqueeze(2)
    state = torch.zeros(u.shape[0], u.shape[2], A.shape[1])
    ys: list[Tensor] = []
    for t in range(u.shape[1]):
        state = decay[:, t] * state + drive[:, t]
        ys.append(torch.matmul(state, C[:, t].unsqueeze(-1)).squeeze(-1))
    return (torch.stack(ys, 1) + u * D) * F.silu(z)


class Mamba(nn.Module):
    """Mamba-1 (state-spaces/mamba, ``Mamba``), one direction.

    Attributes:
        scripted: A compiled scan to call in place of the plain one, for exports by others.
    """

    scripted: Callable[..., Any] | None = None

    def __init__(self) -> None:
        super().__init__()
        inner = _EXPAND * _WIDTH
        self.in_proj = nn.Linear(_WIDTH, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, _KERNEL, groups=inner, padding=_KERNEL - 1)
        self.x_proj = nn.Linear(inner, _RANK + 2 * _STATES, bias=False)
        self.dt_proj = nn.Linear(_RANK, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, _STATES + 1).repeat(inner, 1)))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, _WIDTH, bias=False)

    @as_selective_scan("channel-last")
    def scan(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor) -> Tensor:
        """Return the gated outputs ``(b, l, d)``."""
        y: Tensor = (Mamba.scripted or scan_steps)(u, delta, A, B, C, D, z)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, l, 128)`` to the same."""
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u = F.silu(self.conv1d(u.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        step, B, C = torch.split(self.x_proj(u), [_RANK, _STATES, _STATES], dim=-1)
        delta = F.softplus(self.dt_proj(step))
        y: Tensor = self.out_proj(self.scan(u, delta, -torch.exp(self.A_log), B, C, self.D, z))
        return y


class Block(nn.Module):
    """A Mamba in each direction of one axis, with residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_WIDTH)
        self.forwards, self.backwards = Mamba(), Mamba()
        self.join = nn.Linear(2 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, l, 128)`` to the same."""
        h = self.norm(x)
        back = torch.flip(self.backwards(torch.flip(h, [1])), [1])
        y: Tensor = x + self.join(torch.cat([self.forwards(h), back], -1))
        return y


def _layer(inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> nn.Module:
    pads = kernel[0] // 2, kernel[1] // 2 if stride == (1, 1) else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, pads),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.PReLU(outputs),
    )


class Enhancer(nn.Module):
    """Magnitude and phase ``(b, 2, frames, 201)`` to the same of cleaner speech."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        super().__init__()
        w = _WIDTH
        wide = [_layer(w, w, (3, 3)) for _ in range(5)]
        self.encoder = nn.Sequential(_layer(2, w, (1, 1)), *wide, _layer(w, w, (1, 3), (1, 2)))
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.mask, self.phase = (
            nn.Sequential(
                *(_layer(w, w, (3, 3)) for _ in range(3)), nn.ConvTranspose2d(w, out, (1, 3), (1, 2))
            )
            for out in (1, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, 2, frames, bands)`` to the same."""
        h = self.encoder(x).permute(0, 2, 3, 1)  # (b, frames, bands, width)
        b, t, f, w = h.shape
        for index, block in enumerate(self.blocks):
            if index % 2:
                h = block(h.reshape(b * t, f, w)).reshape(b, t, f, w)
            else:
                turned = block(h.transpose(1, 2).reshape(b * f, t, w))
                h = turned.reshape(b, f, t, w).transpose(1, 2)
        h = h.permute(0, 3, 1, 2)
        real, imaginary = self.phase(h).unbind(1)
        return torch.stack([torch.sigmoid(self.mask(h)[:, 0]) * x[:, 0], torch.atan2(imaginary, real)], 1)

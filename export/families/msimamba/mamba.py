"""The Mamba-1 block of state-spaces/mamba (``modules/mamba_simple.py``) around the selective scan op."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.export.families.msimamba.config import ModelConfig
from mimamba_edge.export.ops.fused_scan import find_fused_scan, scan_in_their_layout
from mimamba_edge.export.ops.native_scan import find_native_scan, native_scan
from mimamba_edge.export.ops.scan import run_scan, selective_scan_ref
from mimamba_edge.export.ops.scan_inputs import ScanInputs

__all__ = ["Mamba"]

_DT_MIN, _DT_MAX, _DT_FLOOR = 1e-3, 1e-1, 1e-4


class Mamba(nn.Module):
    """One Mamba block over tokens ``(b, l, d_model)``, names and initial values as in state-spaces/mamba.

    The other direction of a bidirectional block has its own parameters, named as in Vim (Zhu et al. 2024,
    ``bimamba_type="v2"``): ``conv1d_b, x_proj_b, dt_proj_b, A_b_log, D_b``. Both are summed before
    ``out_proj``. It runs the scan in reverse behind a right-padded convolution with the flipped kernel: no
    token is flipped.

    Args:
        config: The network's configuration.

    Attributes:
        plain_scan: Use the plain torch scan instead of the custom op.
    """

    initial_state: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.d_inner, self.d_state, self.dt_rank = config.d_inner, config.d_state, int(config.dt_rank)
        self.d_conv = config.d_conv
        self.plain_scan = False
        self.in_proj = nn.Linear(config.d_model, 2 * self.d_inner, bias=False)
        self.suffixes = ("", "_b") if config.bidirectional else ("",)
        for suffix in self.suffixes:
            self._add_direction(suffix)
        self.out_proj = nn.Linear(self.d_inner, config.d_model, bias=False)
        self.register_buffer("initial_state", torch.zeros(1, self.d_inner, self.d_state), persistent=False)

    def _add_direction(self, suffix: str) -> None:
        conv1d = nn.Conv1d(
            self.d_inner, self.d_inner, self.d_conv, groups=self.d_inner, padding=self.d_conv - 1
        )
        dt_proj = nn.Linear(self.dt_rank, self.d_inner)
        bound = self.dt_rank**-0.5
        nn.init.uniform_(dt_proj.weight, -bound, bound)
        # softplus(bias) is log-uniform in [_DT_MIN, _DT_MAX]: bias = log(exp(dt) - 1).
        spread = torch.rand(self.d_inner) * (math.log(_DT_MAX) - math.log(_DT_MIN)) + math.log(_DT_MIN)
        dt = spread.exp().clamp(min=_DT_FLOOR)
        with torch.no_grad():
            dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        rates = torch.arange(1, self.d_state + 1, dtype=torch.float32).repeat(self.d_inner, 1)
        setattr(self, f"conv1d{suffix}", conv1d)
        setattr(self, f"x_proj{suffix}", nn.Linear(self.d_inner, self.dt_rank + 2 * self.d_state, bias=False))
        setattr(self, f"dt_proj{suffix}", dt_proj)
        setattr(self, f"A{suffix}_log", nn.Parameter(torch.log(rates)))
        setattr(self, f"D{suffix}", nn.Parameter(torch.ones(self.d_inner)))
        for name in (f"A{suffix}_frozen", f"kernel{suffix}_frozen"):
            self.register_buffer(name, None, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """Run the block: ``(b, l, d_model)`` to the same shape."""
        x, z = self.in_proj(h).chunk(2, dim=-1)
        y = self._direction(x, z, "")
        if len(self.suffixes) == 2:
            y = y + self._direction(x, z, "_b")
        out: Tensor = self.out_proj(y)
        return out

    def _direction(self, x: Tensor, z: Tensor, suffix: str) -> Tensor:
        reverse = suffix == "_b"
        A, kernel = self._derived(suffix)
        x = F.silu(self._convolve(x, kernel, getattr(self, f"conv1d{suffix}").bias, reverse))
        projected = getattr(self, f"x_proj{suffix}")(x)
        dt, B, C = projected.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        dt_proj = getattr(self, f"dt_proj{suffix}")
        delta, maps = F.linear(dt, dt_proj.weight), (B.unsqueeze(2), C.unsqueeze(2))
        given = ScanInputs(
            *(x, delta, A, *maps, getattr(self, f"D{suffix}"), dt_proj.bias, self.initial_state, z),
            delta_softplus=True,
            reverse=reverse,
        )
        if self.training and not self.plain_scan and A.dtype == torch.float32:
            if x.is_cuda and (fused := find_fused_scan()) is not None:
                return scan_in_their_layout(fused, given)
            if x.is_cpu and not torch.compiler.is_compiling() and (library := find_native_scan()) is not None:
                return native_scan(library, given)
        return (selective_scan_ref(*given) if self.plain_scan else run_scan(given))[0]

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor, reverse: bool) -> Tensor:
        """Convolve each channel of ``(b, l, d)`` over present and past tokens (future ones if reverse).

        As a convolution in two dimensions with one row: ONNX Runtime has a fast depthwise kernel for those
        only (batch 64: 0.04 ms against 1.2 ms). The exporter takes the padding into the convolution.
        """
        others = self.d_conv - 1
        images = x.unsqueeze(1).permute(0, 3, 1, 2)
        padded = F.pad(images, (0, others) if reverse else (others, 0))
        return F.conv2d(padded, kernel, bias, groups=self.d_inner).permute(0, 2, 3, 1).squeeze(1)

    def _derived(self, suffix: str) -> tuple[Tensor, Tensor]:
        """Return what is computed of the parameters alone: ``A (d, n)`` and the kernel ``(d, 1, 1, k)``."""
        A, kernel = getattr(self, f"A{suffix}_frozen"), getattr(self, f"kernel{suffix}_frozen")
        if A is None or kernel is None:
            kernel = getattr(self, f"conv1d{suffix}").weight.unsqueeze(2)
            return -torch.exp(getattr(self, f"A{suffix}_log")), kernel.flip(-1) if suffix == "_b" else kernel
        return A, kernel

    def freeze(self) -> None:
        """Compute :meth:`_derived` once and for all; later changes of the parameters are not seen."""
        for suffix in self.suffixes:
            A, kernel = self._derived(suffix)
            setattr(self, f"A{suffix}_frozen", A.detach())
            setattr(self, f"kernel{suffix}_frozen", kernel.detach().clone())

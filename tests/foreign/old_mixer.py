"""As a mixer of transformers before 5, where neither mamba_ssm nor causal_conv1d is installed."""

from __future__ import annotations

import torch

from tests.foreign.standins import RANK, Mixer, N
from tests.foreign.standins import causal_conv1d_fn as convolve
from tests.foreign.standins import selective_scan_fn as loop

selective_scan_fn = None


def _lazy_load_causal_conv1d():
    return None, None


class OldMixer(Mixer):
    """The scan is a loop in one method; another calls functions that are not there."""

    def forward(self, x):
        return self.slow_forward(x)

    def slow_forward(self, x):
        return self._run(x, convolve, loop)

    def cuda_kernels_forward(self, x):
        return self._run(x, _lazy_load_causal_conv1d()[1], selective_scan_fn)

    def _run(self, x, convolve, scan):
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        u = convolve(u, self.conv1d.weight[:, 0], self.conv1d.bias, activation="silu")
        dt, B, C = torch.split(self.x_proj(u.transpose(1, 2)), [RANK, N, N], dim=-1)
        dt, A = self.dt_proj.weight @ dt.transpose(1, 2), -torch.exp(self.A_log)
        given = (u, dt, A, B.transpose(1, 2), C.transpose(1, 2), self.D, z, self.dt_proj.bias)
        y, _ = scan(*given, delta_softplus=True, return_last_state=True)
        return self.out_proj(y.transpose(1, 2))

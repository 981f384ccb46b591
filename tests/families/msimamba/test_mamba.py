"""The Mamba block against a transcription of state-spaces/mamba's own forward, and its initial values."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch.nn import functional as F  # noqa: E402

from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.families.msimamba.mamba import Mamba  # noqa: E402


def _config(**options: Any) -> ModelConfig:
    return ModelConfig(n_chans=5, n_times=32, n_outputs=2, sfreq=32.0, d_model=24, d_state=5, **options)


def _upstream_direction(block: Any, xz: Any, suffix: str) -> Any:
    """``Mamba.forward`` (slow path) and ``selective_scan_ref`` of mamba_ssm, channel first ``(b, d, l)``."""

    def part(name: str) -> Any:
        return getattr(block, name + suffix)

    length = xz.shape[-1]
    x, z = xz.chunk(2, dim=1)
    x = F.silu(part("conv1d")(x)[..., :length])
    x_dbl = F.linear(x.transpose(1, 2).reshape(-1, x.shape[1]), part("x_proj").weight)
    dt, B, C = torch.split(x_dbl, [block.dt_rank, block.d_state, block.d_state], dim=-1)
    dt = (part("dt_proj").weight @ dt.t()).reshape(x.shape[1], -1, length).transpose(0, 1)
    B = B.reshape(-1, length, block.d_state).transpose(1, 2)
    C = C.reshape(-1, length, block.d_state).transpose(1, 2)
    A = -torch.exp(getattr(block, f"A{suffix}_log").float())
    dt = F.softplus(dt + part("dt_proj").bias[..., None])
    decay = torch.exp(torch.einsum("bdl,dn->bdln", dt, A))
    drive = torch.einsum("bdl,bnl,bdl->bdln", dt, B, x)
    state, ys = torch.zeros_like(decay[:, :, 0]), []
    for i in range(length):
        state = decay[:, :, i] * state + drive[:, :, i]
        ys.append(torch.einsum("bdn,bn->bd", state, C[:, :, i]))
    y = torch.stack(ys, dim=2) + x * getattr(block, f"D{suffix}")[:, None]
    return y * F.silu(z)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 19])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("d_conv", [1, 4])
def test_equals_upstream(bidirectional: bool, length: int, d_conv: int) -> None:
    torch.manual_seed(0)
    block = Mamba(_config(bidirectional=bidirectional, d_conv=d_conv))
    for parameter in block.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    h = torch.randn(3, length, 24)
    with torch.no_grad():
        xz = block.in_proj(h).transpose(1, 2)
        y = _upstream_direction(block, xz, "")
        if bidirectional:  # Vim's bimamba v2
            y = y + _upstream_direction(block, xz.flip(-1), "_b").flip(-1)
        expected = block.out_proj(y.transpose(1, 2))
        torch.testing.assert_close(block(h), expected, rtol=1e-5, atol=1e-5)
        block.plain_scan = True
        torch.testing.assert_close(block(h), expected, rtol=1e-5, atol=1e-5)
        block.freeze()
        torch.testing.assert_close(block(h), expected, rtol=1e-5, atol=1e-5)


def test_one_direction_does_not_look_ahead() -> None:
    torch.manual_seed(0)
    h = torch.randn(1, 6, 24)
    changed = h.clone()
    changed[:, 4] += 1
    forward, both = Mamba(_config()), Mamba(_config(bidirectional=True))
    with torch.no_grad():
        torch.testing.assert_close(forward(h)[:, :4], forward(changed)[:, :4])
        assert (both(h) - both(changed)).abs().amin(dim=(0, 2)).max() > 0
        assert not torch.allclose(both(h)[:, 0], both(changed)[:, 0])


def test_names_and_initial_values_are_upstreams() -> None:
    torch.manual_seed(0)
    block = Mamba(_config(bidirectional=True))
    names = {
        name.replace("_b.", ".").replace("_b_log", "_log").removesuffix("_b") for name in block.state_dict()
    }
    assert names == {
        "in_proj.weight",
        "conv1d.weight",
        "conv1d.bias",
        "x_proj.weight",
        "dt_proj.weight",
        "dt_proj.bias",
        "A_log",
        "D",
        "out_proj.weight",
    }
    assert {"A_b_log", "D_b", "conv1d_b.weight", "x_proj_b.weight", "dt_proj_b.bias"} <= set(
        block.state_dict()
    )
    assert block.conv1d.weight.shape == (48, 1, 4)
    assert block.in_proj.weight.shape == (96, 24)
    assert block.x_proj.weight.shape == (2 + 2 * 5, 48)
    torch.testing.assert_close(block.A_log.exp(), torch.arange(1.0, 6).repeat(48, 1))
    assert (block.D == 1).all()
    dt = F.softplus(block.dt_proj.bias)
    assert dt.min() >= 1e-3 * 0.999
    assert dt.max() <= 1e-1 * 1.001
    assert dt.log().std() > 0.8  # log-uniform over two decades has 1.33

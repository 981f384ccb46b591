"""The scan of mamba_ssm in our place: layout, direction, gradients; its reference stands for its kernel."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch.nn import functional as F  # noqa: E402

from mimamba_edge.export.ops.fused_scan import find_fused_scan, scan_in_their_layout  # noqa: E402
from mimamba_edge.export.ops.scan import selective_scan  # noqa: E402
from mimamba_edge.export.ops.scan_inputs import ScanInputs  # noqa: E402


def theirs(
    u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, z: Any, delta_bias: Any, softplus: bool
) -> Any:
    """``selective_scan_ref`` of mamba_ssm: ``u (b, d, l)``, ``B (b, g, n, l)``."""
    assert all(t.is_contiguous() for t in (u, delta, B, C, z))
    dt = F.softplus(delta + delta_bias[:, None]) if softplus else delta + delta_bias[:, None]
    B, C = (m.repeat_interleave(len(A) // m.shape[1], dim=1) for m in (B, C))
    h, ys = torch.zeros(len(u), *A.shape, dtype=A.dtype), []
    for t in range(u.shape[2]):
        h = torch.exp(dt[:, :, t, None] * A) * h + (dt * u)[:, :, t, None] * B[..., t]
        ys.append((h * C[..., t]).sum(-1))
    return (torch.stack(ys, 2) + D[:, None] * u) * F.silu(z)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_same_values_and_gradients(reverse: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    b, length, d, g, n = 2, 5, 6, 2, 3
    shapes = ((b, length, d), (b, length, d), (d, n), (b, length, g, n), (b, length, g, n), (d,), (d,))
    drawn = [torch.randn(s, generator=generator, dtype=torch.float64) for s in (*shapes, (b, length, d))]
    drawn[2] = -drawn[2].exp()
    *given, z = [t.requires_grad_() for t in drawn]
    state = torch.zeros(1, d, n, dtype=torch.float64)
    results = (
        scan_in_their_layout(theirs, ScanInputs(*given, state, z, True, reverse)),
        selective_scan(*given, state, z, delta_softplus=True, reverse=reverse)[0],
    )
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(y.sin().sum(), [*given, z]) for y in results]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_where_it_is_not_installed_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("for a machine without a GPU")
    assert find_fused_scan() is None

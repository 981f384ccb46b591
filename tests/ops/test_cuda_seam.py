"""The custom ops through ctypes and the launchers' C names, on CPU tensors with a reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.errors import ConfigError, DependencyError
from mimamba_edge.numerics import mstb as mstb_oracle
from mimamba_edge.numerics import scan as scan_oracle

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.ops import cuda  # noqa: E402
from mimamba_edge.export.ops.mstb import mstb_op, multi_scale_temporal_block  # noqa: E402
from mimamba_edge.export.ops.scan import scan_op, selective_scan  # noqa: E402

# Rounding of the output, and the fp32 tolerance on top.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2.0**-11 + 1e-5, torch.bfloat16: 2.0**-8 + 1e-5}
OFF: list[Any] = []  # torch has no way back from a registration but to disable it; held while tests run


@pytest.fixture(scope="module")
def kernels(seam: Path) -> Iterator[cuda.Kernels]:
    yield cuda.use_cuda_kernels(seam, device_type="cpu")
    for op in (scan_op, mstb_op):
        OFF.append(op.set_kernel_enabled("cpu", enabled=False))
        OFF[-1].__enter__()


def launches(kernels: cuda.Kernels) -> int:
    return int(kernels.library.launches_so_far())


def scan_inputs(dtype: Any, *, z: bool = True, states: int = 2, length: int = 37) -> list[Any]:
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int, kind: Any = dtype) -> Any:
        return torch.randn(*shape, generator=generator).to(kind)

    b, d, n, g = 2, 6, 16, 2
    return [
        draw(b, length, d),
        draw(b, length, d) - 1,
        -torch.exp(draw(d, n, kind=torch.float32)),
        draw(b, length, g, n),
        draw(b, length, g, n),
        *(draw(d, kind=torch.float32) for _ in range(2)),
        draw(states, d, n, kind=torch.float32),
        draw(b, length, d) if z else None,
    ]


def wide(tensor: Any) -> Any:
    return None if tensor is None else tensor.double().numpy()


def error(got: Any, wanted: np.ndarray) -> float:
    assert tuple(got.shape) == wanted.shape
    return float(np.abs(wide(got) - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("z", "states", "length"), [(True, 2, 37), (False, 1, 37), (True, 1, 520)])
def test_scan(kernels: Any, dtype: Any, reverse: bool, z: bool, states: int, length: int) -> None:
    inputs, before = scan_inputs(dtype, z=z, states=states, length=length), launches(kernels)
    y, state = selective_scan(*inputs, delta_softplus=True, reverse=reverse)
    assert launches(kernels) == before + 1
    expected, end = scan_oracle.selective_scan(*map(wide, inputs), delta_softplus=True, reverse=reverse)
    assert y.dtype == dtype
    assert error(y, expected) <= TOLERANCE[dtype]
    assert error(state, end) <= 1e-5


def test_tensors_that_are_not_contiguous_and_states_handed_on(kernels: Any) -> None:
    inputs = scan_inputs(torch.float32)
    whole, end = selective_scan(*inputs, delta_softplus=True)
    u, delta, a, b, c, d, bias, state, z = inputs
    across = [t.transpose(0, 1).contiguous().transpose(0, 1) for t in (u, delta, b, c, z)]
    assert not any(t.is_contiguous() for t in across)
    parts = []
    for part in (slice(0, 20), slice(20, None)):
        u, delta, b, c, z = (t[:, part] for t in across)
        y, state = selective_scan(u, delta, a, b, c, d, bias, state, z, delta_softplus=True)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-6 * float(whole.abs().max()))
    torch.testing.assert_close(state, end, rtol=0, atol=1e-6 * float(end.abs().max()))


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("weighting", "band"), [(0, (1, 0)), (1, (2, 12))])
def test_block(kernels: Any, dtype: Any, weighting: int, band: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 40, 3), (6, 3, 5, 5), (6,), (3, 6, 5, 5), (3,))
    scales = (1.0, 0.2, 1.0, 0.2, 1.0)
    draw = [s * torch.randn(*v, generator=generator) for s, v in zip(scales, shapes, strict=True)]
    draw[1], draw[3] = draw[1].to(dtype), draw[3].to(dtype)
    given = {"top_k": 3, "min_bin": band[0], "max_bin": band[1], "weighting": weighting}
    before = launches(kernels)
    y = multi_scale_temporal_block(*draw, amplitude_scale=0.5, **given)
    assert launches(kernels) == before + 1
    gap = mstb_oracle.period_gap(mstb_oracle.spectrum(wide(draw[0])), 3, *band)
    assert gap.min() > 1e-5, "the test's windows must not be near-ties"
    expected = mstb_oracle.multi_scale_temporal_block(*map(wide, draw), amplitude_scale=0.5, **given)
    assert y.dtype == dtype
    assert error(y, expected) <= TOLERANCE[dtype]


def test_float64_goes_through_the_reference(kernels: Any) -> None:
    inputs, before = [t if t is None else t.double() for t in scan_inputs(torch.float32)], launches(kernels)
    y, _ = selective_scan(*inputs, delta_softplus=True)
    assert error(y, scan_oracle.selective_scan(*map(wide, inputs), delta_softplus=True)[0]) < 1e-12
    assert launches(kernels) == before


def test_gradients_still_flow(kernels: Any) -> None:
    inputs = scan_inputs(torch.float32)
    inputs[0].requires_grad_()
    selective_scan(*inputs, delta_softplus=True)[0].sum().backward()
    assert inputs[0].grad.abs().sum() > 0


def test_a_refusal_is_our_error(kernels: Any) -> None:
    u, delta, a, b, c, d, bias, state, z = scan_inputs(torch.float32)
    with pytest.raises(ConfigError, match="the groups g must divide the channels d"):
        kernels.selective_scan(u, delta, a, b.repeat(1, 1, 2, 1), c, d, bias, state, z, True, False)


def test_no_library(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="is no library of the CUDA kernels"):
        cuda.use_cuda_kernels(tmp_path / "absent.so")
    assert "cuda" not in scan_op._backend_fns

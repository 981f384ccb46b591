"""SelectiveScan in torch: against the oracle at awkward sizes, gradients, torch's own checks, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.numerics import scan as oracle

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.ops.scan import selective_scan, selective_scan_ref  # noqa: E402


def _inputs(
    b: int,
    length: int,
    d: int,
    n: int,
    *,
    g: int = 1,
    states: int | None = None,
    z: bool = True,
    dtype: Any = torch.float32,
    seed: int = 0,
) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def draw(*shape: int, kind: Any = dtype) -> Any:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(kind)

    return [
        draw(b, length, d),
        draw(b, length, d),
        -torch.exp(draw(d, n, kind=wide)),
        draw(b, length, g, n),
        draw(b, length, g, n),
        draw(d, kind=wide),
        draw(d, kind=wide),
        draw(b if states is None else states, d, n, kind=wide),
        draw(b, length, d) if z else None,
    ]


def _reference(inputs: list[Any], **options: bool) -> tuple[np.ndarray, np.ndarray]:
    return oracle.selective_scan(*(None if t is None else t.double().numpy() for t in inputs), **options)


@pytest.mark.parametrize("length", [1, 2, 7, 129])
@pytest.mark.parametrize(("b", "d", "n"), [(1, 1, 1), (3, 33, 5), (1, 33, 64), (3, 1, 16)])
def test_equals_the_oracle(b: int, length: int, d: int, n: int) -> None:
    inputs = _inputs(b, length, d, n)
    for reverse in (False, True):
        y, state = selective_scan(*inputs, delta_softplus=True, reverse=reverse)
        expected, end = _reference(inputs, delta_softplus=True, reverse=reverse)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_allclose(state, end, rtol=1e-5, atol=1e-5 * np.abs(end).max())
        assert y.dtype == torch.float32
        assert state.dtype == torch.float32


@pytest.mark.parametrize("softplus", [False, True])
@pytest.mark.parametrize(("g", "states", "z"), [(3, 1, False), (6, 2, True), (1, 1, True)])
def test_groups_states_and_gate(g: int, states: int, z: bool, softplus: bool) -> None:
    inputs = _inputs(2, 9, 6, 4, g=g, states=states, z=z, dtype=torch.float64)
    inputs[1] = inputs[1].abs()
    y, state = selective_scan(*inputs, delta_softplus=softplus)
    expected, end = _reference(inputs, delta_softplus=softplus)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(state, end, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_rounded_once(dtype: Any) -> None:
    inputs = _inputs(3, 31, 33, 5, dtype=dtype)
    y, state = selective_scan(*inputs, delta_softplus=True)
    expected, end = _reference(inputs, delta_softplus=True)
    assert y.dtype == dtype
    assert state.dtype == torch.float32
    np.testing.assert_allclose(state, end, rtol=1e-4, atol=1e-5)
    # Half a unit in the last place, plus the float32 arithmetic before it.
    allowed = np.abs(expected) * (0.501 * torch.finfo(dtype).eps) + 1e-5
    assert (np.abs(y.double().numpy() - expected) <= allowed).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_long_scans_cross_blocks(reverse: bool) -> None:
    inputs = _inputs(1, 515, 2, 3, dtype=torch.float64)
    y, state = selective_scan_ref(*inputs, delta_softplus=True, reverse=reverse)
    expected, end = _reference(inputs, delta_softplus=True, reverse=reverse)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(state, end, rtol=1e-11, atol=1e-12)


def test_strong_decay_and_large_steps_stay_finite() -> None:
    inputs = _inputs(1, 300, 4, 3)
    inputs[1] += 200.0
    y, state = selective_scan(*inputs, delta_softplus=True)
    expected, _ = _reference(inputs, delta_softplus=True)
    assert torch.isfinite(state).all()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("g", "states", "z", "softplus"), [(1, 1, True, True), (2, 2, False, False)])
def test_gradients(g: int, states: int, z: bool, softplus: bool, reverse: bool) -> None:
    inputs = _inputs(2, 4, 4, 3, g=g, states=states, z=z, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in inputs if t is not None]

    def run(*tensors: Any) -> Any:
        return selective_scan(*tensors, delta_softplus=softplus, reverse=reverse)

    assert torch.autograd.gradcheck(run, leaves, fast_mode=False)


def test_gradient_through_one_output_only() -> None:
    inputs = [t.requires_grad_() for t in _inputs(2, 5, 4, 3, dtype=torch.float64)]
    for index in (0, 1):
        grads = [
            torch.autograd.grad(
                scan(*inputs, delta_softplus=True)[index].sin().sum(), inputs, allow_unused=True
            )
            for scan in (selective_scan, selective_scan_ref)
        ]
        for ours, autograd in zip(*grads, strict=True):
            expected = torch.zeros_like(ours) if autograd is None else autograd
            torch.testing.assert_close(ours, expected)


def test_torch_accepts_the_op() -> None:
    for states in (1, 2):
        inputs = [tensor.requires_grad_() for tensor in _inputs(2, 3, 4, 2, states=states)]
        torch.library.opcheck(torch.ops.mimamba.selective_scan.default, (*inputs, True, False))
    no_gate = [*_inputs(2, 3, 4, 2, z=False), True, True]
    torch.library.opcheck(torch.ops.mimamba.selective_scan.default, tuple(no_gate))


@pytest.mark.parametrize(
    ("index", "name", "shape"),
    [
        (0, "u", (2, 3)),
        (1, "delta", (2, 3, 5)),
        (2, "A", (5, 2)),
        (2, "A", (4, 257)),
        (3, "B", (2, 3, 3, 2)),
        (3, "B", (2, 3, 2)),
        (4, "C", (2, 3, 1, 3)),
        (5, "D", (3,)),
        (6, "delta_bias", (1,)),
        (7, "initial_state", (3, 4, 2)),
        (8, "z", (2, 3, 1)),
    ],
)
def test_a_wrong_shape_is_named(index: int, name: str, shape: tuple[int, ...]) -> None:
    inputs = _inputs(2, 3, 4, 2)
    inputs[index] = torch.zeros(shape)
    with pytest.raises(ConfigError, match=rf"selective_scan: {name} has a wrong shape") as caught:
        selective_scan(*inputs, delta_softplus=True)
    assert str(shape) in str(caught.value)


def test_a_wrong_type_is_named() -> None:
    inputs = _inputs(2, 3, 4, 2, dtype=torch.float16)
    inputs[2] = inputs[2].half()
    with pytest.raises(ConfigError, match="A has a wrong type"):
        selective_scan(*inputs, delta_softplus=True)
    inputs = _inputs(2, 3, 4, 2)
    inputs[8] = inputs[8].half()
    with pytest.raises(ConfigError, match="z has a wrong type"):
        selective_scan(*inputs, delta_softplus=True)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_across_blocks_of_states(reverse: bool) -> None:
    """Longer than what is held at once: against autograd through the plain loop."""
    inputs = [t.requires_grad_() for t in _inputs(2, 21, 64, 128, g=2, dtype=torch.float64)]
    weight = torch.linspace(-1, 1, 2 * 21 * 64, dtype=torch.float64).reshape(2, 21, 64)
    grads = []
    for scan in (selective_scan, selective_scan_ref):
        y, state = scan(*inputs, delta_softplus=True, reverse=reverse)
        grads.append(torch.autograd.grad((y * weight).sum() + state.sin().sum(), inputs))
    for ours, autograd in zip(*grads, strict=True):
        torch.testing.assert_close(ours, autograd, rtol=1e-10, atol=1e-11)


def test_autocast_changes_nothing() -> None:
    inputs = _inputs(2, 5, 8, 4)
    y, _ = selective_scan(*inputs, delta_softplus=True)
    with torch.autocast("cpu", torch.bfloat16):
        again, _ = selective_scan(*inputs, delta_softplus=True)
    assert torch.equal(y, again)

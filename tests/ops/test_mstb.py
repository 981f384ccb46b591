"""MultiScaleTemporalBlock in torch: against the oracle at awkward sizes, gradients, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.numerics import mstb as oracle

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.ops.folding import choose_bins, spectrum  # noqa: E402
from mimamba_edge.export.ops.mstb import (  # noqa: E402
    multi_scale_temporal_block,
    multi_scale_temporal_block_ref,
)


def _inputs(
    b: int, length: int, c: int, f: int, k: int, *, dtype: Any = torch.float32, seed: int = 0
) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def draw(*shape: int, kind: Any = wide) -> Any:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(kind)

    return [
        draw(b, length, c),
        (draw(f, c, k, k) / (k * c**0.5)).to(dtype),
        draw(f),
        (draw(c, f, k, k) / (k * f**0.5)).to(dtype),
        draw(c),
    ]


def _reference(inputs: list[Any], **options: Any) -> np.ndarray:
    gap = oracle.period_gap(
        oracle.spectrum(inputs[0].numpy()),
        options["top_k"],
        options.get("min_bin", 1),
        options.get("max_bin", 0),
    )
    assert gap.min() > 1e-5, "the test's windows must not be near-ties"
    return oracle.multi_scale_temporal_block(*(t.double().numpy() for t in inputs), **options)


@pytest.mark.parametrize(
    ("b", "length", "c", "f", "k", "options"),
    [
        (1, 32, 1, 1, 1, {"top_k": 1}),
        (3, 33, 3, 5, 11, {"top_k": 3}),
        (7, 129, 4, 8, 11, {"top_k": 8, "weighting": 1, "amplitude_scale": 0.05}),
        (2, 129, 2, 3, 15, {"top_k": 2, "min_bin": 60}),
        (3, 64, 33, 2, 3, {"top_k": 3, "min_bin": 2, "max_bin": 4}),
        (2, 7, 2, 3, 5, {"top_k": 3}),
        (1, 2, 1, 2, 3, {"top_k": 1}),
        (1, 1031, 1, 2, 5, {"top_k": 3, "weighting": 1}),
        (5, 127, 3, 4, 11, {"top_k": 5, "weighting": 1, "amplitude_scale": 0.1, "period_rule": 1}),
    ],
)
def test_equals_the_oracle(b: int, length: int, c: int, f: int, k: int, options: dict[str, Any]) -> None:
    inputs = _inputs(b, length, c, f, k)
    expected = _reference(inputs, **options)
    for run in (multi_scale_temporal_block, multi_scale_temporal_block_ref):
        y = run(*inputs, **options)
        assert y.dtype == torch.float32
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_rounded_once(dtype: Any) -> None:
    inputs = _inputs(3, 65, 3, 5, 7, dtype=dtype)
    expected = _reference(inputs, top_k=3)
    y = multi_scale_temporal_block(*inputs, top_k=3)
    assert y.dtype == dtype
    allowed = np.abs(expected) * (0.501 * torch.finfo(dtype).eps) + 1e-5
    assert (np.abs(y.double().numpy() - expected) <= allowed).all()


def test_a_window_answers_the_same_alone_and_in_a_batch() -> None:
    inputs = _inputs(16, 128, 4, 8, 11)
    together = multi_scale_temporal_block(*inputs, top_k=3)
    for i in range(16):
        alone = multi_scale_temporal_block(inputs[0][i : i + 1], *inputs[1:], top_k=3)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)


def test_ties_go_to_the_lower_bin() -> None:
    amplitude = torch.zeros(2, 129)
    amplitude[0, 3::7] = 1.0
    amplitude[1, [100, 50]] = torch.tensor([2.0, 1.0])
    assert choose_bins(amplitude, 4, 1, 0).tolist() == [[3, 10, 17, 24], [100, 50, 1, 2]]


@pytest.mark.parametrize("weighting", [0, 1])
@pytest.mark.parametrize("level", [0.0, 0.1, -3.3e4])
def test_a_window_that_does_not_move_is_well_defined(level: float, weighting: int) -> None:
    inputs = _inputs(2, 33, 2, 3, 5)
    inputs[0] = torch.full((2, 33, 2), level) * torch.tensor([1.0, 0.37])
    assert not spectrum(inputs[0]).any()
    for tensor in inputs:
        tensor.requires_grad_()
    y = multi_scale_temporal_block(*inputs, top_k=3, weighting=weighting)
    arrays = [t.detach().double().numpy() for t in inputs]
    expected = oracle.multi_scale_temporal_block(*arrays, top_k=3, weighting=weighting)
    np.testing.assert_allclose(y.detach(), expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    for grad in torch.autograd.grad(y.sum(), inputs):
        assert torch.isfinite(grad).all()


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 3},
        {"top_k": 2, "weighting": 1, "amplitude_scale": 0.3},
        {"top_k": 3, "min_bin": 4, "max_bin": 8},
        {"top_k": 1},
        {"top_k": 3, "period_rule": 1},
    ],
)
def test_gradients(options: dict[str, Any]) -> None:
    inputs = [t.requires_grad_() for t in _inputs(2, 17, 2, 2, 5, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *t: multi_scale_temporal_block(*t, **options), inputs)


def test_gradients_equal_autograd_of_the_reference() -> None:
    for wanted in (slice(0, 5), slice(1, 5)):
        inputs = _inputs(5, 64, 3, 4, 7, dtype=torch.float64)
        leaves = [t.requires_grad_() for t in inputs[wanted]]
        ours, autograd = (
            torch.autograd.grad(run(*inputs, top_k=3).sin().sum(), leaves)
            for run in (multi_scale_temporal_block, multi_scale_temporal_block_ref)
        )
        for a, b in zip(ours, autograd, strict=True):
            torch.testing.assert_close(a, b)


def test_torch_accepts_the_op() -> None:
    inputs = [t.requires_grad_() for t in _inputs(2, 32, 2, 3, 3)]
    attributes = (2, 1, 0, 0, 1.0, 1)
    torch.library.opcheck(torch.ops.mimamba.multi_scale_temporal_block.default, (*inputs, *attributes))


@pytest.mark.parametrize(
    ("index", "name", "shape"),
    [
        (0, "x", (2, 32)),
        (1, "w1", (3, 2, 4, 4)),
        (1, "w1", (3, 2, 17, 17)),
        (1, "w1", (3, 1, 5, 5)),
        (2, "b1", (2,)),
        (3, "w2", (2, 3, 3, 3)),
        (4, "b2", (3,)),
    ],
)
def test_a_wrong_shape_is_named(index: int, name: str, shape: tuple[int, ...]) -> None:
    inputs = _inputs(2, 32, 2, 3, 5)
    inputs[index] = torch.zeros(shape)
    with pytest.raises(ConfigError, match=f"{name} has a wrong shape") as caught:
        multi_scale_temporal_block(*inputs, top_k=1)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 9},
        {"top_k": 0},
        {"top_k": 2, "min_bin": 16},
        {"top_k": 1, "min_bin": 0},
        {"top_k": 1, "max_bin": 17},
    ],
)
def test_bins_that_cannot_be_chosen_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="top_k bins cannot be chosen"):
        multi_scale_temporal_block(*_inputs(1, 32, 1, 1, 1), **options)


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(ConfigError, match="weighting is unknown"):
        multi_scale_temporal_block(*_inputs(1, 32, 1, 1, 1), top_k=1, weighting=2)


def test_an_unknown_period_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="period_rule is unknown"):
        multi_scale_temporal_block(*_inputs(1, 32, 1, 1, 1), top_k=1, period_rule=2)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.training import augment  # noqa: E402


def windows(b: int = 5, c: int = 3, n: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).standard_normal((b, c, n)).astype(np.float32))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("n", [32, 33, 64])
def test_surrogates_keep_amplitudes_and_the_phase_between_channels(n: int) -> None:
    x = windows(n=n)
    y = augment.ft_surrogate(x, 1.0, generator())
    a, b = (np.fft.rfft(v.numpy().astype(np.float64), axis=-1) for v in (x, y))
    np.testing.assert_allclose(np.abs(b), np.abs(a), rtol=1e-4, atol=1e-4)
    between = [s[:, 0] * np.conj(s[:, 1]) for s in (a, b)]
    np.testing.assert_allclose(between[1], between[0], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(x, y, atol=0.1)


def test_surrogates_differ_between_windows_of_a_batch() -> None:
    x = windows(1).repeat(4, 1, 1)
    y = augment.ft_surrogate(x, 1.0, generator())
    assert (y[0] - y[1]).abs().max() > 0.1


def test_probability_is_the_share_of_changed_windows() -> None:
    x = windows(b=4000, c=1, n=8)
    changed = (augment.ft_surrogate(x, 0.3, generator()) != x).any(dim=-1).any(dim=-1).float().mean().item()
    assert changed == pytest.approx(0.3, abs=0.03)
    assert torch.equal(augment.ft_surrogate(x, 0.0, generator()), x)


def test_each_draw_is_reproducible() -> None:
    x = windows()
    assert torch.equal(augment.ft_surrogate(x, 0.5, generator()), augment.ft_surrogate(x, 0.5, generator()))

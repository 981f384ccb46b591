"""The networks of other families, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf, softmax

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.evaluation.networks import DLinear, ITransformer, TimesNet  # noqa: E402

C, L, K = 3, 67, 4


def windows(n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, C, L)).cumsum(2) / 4


def weights(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Draw new weights, so that none is zero or one, and return them in float64."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return {name: value.double().numpy() for name, value in network.state_dict().items()}


def answer(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network.eval()(torch.from_numpy(x.astype(np.float32))).double().numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def norm(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def close(got: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()


def test_dlinear_is_a_moving_mean_and_the_rest_each_mapped_over_time() -> None:
    network = DLinear(C, L, K, moving_average=9)
    w, x = weights(network), windows()
    padded = np.concatenate([x[..., :1].repeat(4, -1), x, x[..., -1:].repeat(4, -1)], axis=-1)
    trend = np.stack([padded[..., t : t + 9].mean(-1) for t in range(L)], axis=-1)
    mapped = linear(x - trend, w, "seasonal") + linear(trend, w, "trend")
    close(answer(network, x), linear(mapped.reshape(len(x), -1), w, "final_layer"))


def test_itransformer_attends_over_channels() -> None:
    network = ITransformer(C, L, K, d_model=12, d_ff=20, n_layers=2, n_heads=3)
    w, x = weights(network), windows()
    h = linear(x, w, "embedding")
    for i in range(2):
        at = f"encoder.layers.{i}"
        into, bias = w[f"{at}.self_attn.in_proj_weight"], w[f"{at}.self_attn.in_proj_bias"]
        q, k, v = ((h @ into.T + bias)[..., s : s + 12].reshape(-1, C, 3, 4) for s in (0, 12, 24))
        shares = softmax(np.einsum("bqhe,bkhe->bhqk", q, k) / 2, axis=-1)
        heads = np.einsum("bhqk,bkhe->bqhe", shares, v).reshape(-1, C, 12)
        h = norm(h + linear(heads, w, f"{at}.self_attn.out_proj"), w, f"{at}.norm1")
        h = norm(h + linear(gelu(linear(h, w, f"{at}.linear1")), w, f"{at}.linear2"), w, f"{at}.norm2")
    h = gelu(norm(h, w, "encoder.norm"))
    close(answer(network, x), linear(h.reshape(len(x), -1), w, "final_layer"))


def folded(x: np.ndarray, w: dict[str, np.ndarray], at: str, top_k: int, n_kernels: int) -> np.ndarray:
    """Return TimesBlock of one window ``(l, d)``, convolution by convolution."""

    def inception(image: np.ndarray, name: str) -> np.ndarray:
        found = []
        for i in range(n_kernels):
            kernel, bias = w[f"{name}.convs.{i}.weight"], w[f"{name}.convs.{i}.bias"]
            padded = np.pad(image, ((0, 0), (i, i), (i, i)))
            patches = np.lib.stride_tricks.sliding_window_view(padded, (2 * i + 1,) * 2, axis=(1, 2))
            found.append(np.einsum("crpij,ocij->orp", patches, kernel) + bias[:, None, None])
        return np.mean(found, axis=0)

    amplitude = np.abs(np.fft.rfft(x, axis=0)).mean(1)
    amplitude[0] = 0
    bins = np.argsort(-amplitude)[:top_k]
    y = x.copy()
    for share, f in zip(softmax(amplitude[bins]), bins, strict=True):
        period = len(x) // f
        rows = -(-len(x) // period)
        image = np.pad(x.T, ((0, 0), (0, rows * period - len(x)))).reshape(x.shape[1], rows, period)
        image = inception(gelu(inception(image, f"{at}.inner")), f"{at}.outer")
        y += share * image.reshape(x.shape[1], -1)[:, : len(x)].T
    return y


def test_timesnet_folds_each_window_by_its_own_periods() -> None:
    network = TimesNet(C, L, K, d_model=6, d_ff=5, n_layers=2, top_k=3, n_kernels=2)
    w, x = weights(network), windows()
    around = np.concatenate([x[..., -1:], x, x[..., :1]], axis=-1)
    h = sum(np.einsum("bct,oc->bto", around[..., i : i + L], w["embedding.weight"][..., i]) for i in range(3))
    at, even = np.arange(L)[:, None], np.arange(0, 6, 2)
    position = np.empty((L, 6))
    position[:, 0::2], position[:, 1::2] = np.sin(at / 1e4 ** (even / 6)), np.cos(at / 1e4 ** (even / 6))
    h = h + position
    for i in range(2):
        h = norm(np.stack([folded(one, w, f"blocks.{i}", 3, 2) for one in h]), w, "norm")
    close(answer(network, x), linear(gelu(h).reshape(len(x), -1), w, "final_layer"))


@pytest.mark.parametrize("network", [DLinear, ITransformer, TimesNet])
def test_windows_of_any_length_are_taken(network: type[torch.nn.Module]) -> None:
    for n_times in (2, 33):
        logits = network(2, n_times, 3)(torch.randn(4, 2, n_times))
        assert logits.shape == (4, 3)

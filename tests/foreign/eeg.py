"""Networks for EEG as people bring them, for ``export --model`` with a contract."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = [
    "EegNet",
    "braindecode_eegnet",
    "eegnet",
    "eegnet_scaled",
    "fixed_batch",
    "frozen_net",
    "heads",
    "named_net",
    "shared_net",
    "two_outputs",
]


class EegNet(nn.Module):
    """After Lawhern et al. 2018: convolution over time, depthwise over channels, separable, linear."""

    def __init__(self, n_chans: int = 4, n_times: int = 128, n_outputs: int = 2) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(1, 8, (1, 64), padding=(0, 32), bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.spatial = nn.Conv2d(8, 16, (n_chans, 1), groups=8, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.separable = nn.Conv2d(16, 16, (1, 16), padding=(0, 8), groups=16, bias=False)
        self.pointwise = nn.Conv2d(16, 16, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.pool1, self.pool2, self.drop = nn.AvgPool2d((1, 4)), nn.AvgPool2d((1, 8)), nn.Dropout(0.25)
        self.final_layer = nn.Linear(16 * (n_times // 32), n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.spatial(self.bn1(self.temporal(x[:, None]))))
        x = self.drop(self.pool1(nn.functional.elu(x)))
        x = self.bn3(self.pointwise(self.separable(x)))
        x = self.drop(self.pool2(nn.functional.elu(x)))
        return self.final_layer(x.flatten(1))


def eegnet() -> nn.Module:
    """Random weights, the same at each call; norms as after training on microvolts."""
    return _used(EegNet, 15.0)


def eegnet_scaled() -> nn.Module:
    """The same, norms as after training on scaled windows."""
    return _used(EegNet, 1.0)


def _used(make: Callable[[], nn.Module], deviation: float) -> nn.Module:
    """Let the norms see some signal, so that answers differ between windows."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = make()
        with torch.no_grad():
            for part in model.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.momentum = 0.7
            for _ in range(4):
                model.train()(deviation * torch.randn(8, 4, 128))
    return model


class _TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean(2)[:, :2], x.mean(2)[:, 2:]


class _Heads(nn.Module):
    """Attention over time with its two heads along the batch, as ATCNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.final_layer = nn.Linear(4, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat(self.keys(x.transpose(1, 2) / 15).split(8, -1), 0)
        h = torch.softmax(h @ h.transpose(1, 2), -1) @ h
        return self.final_layer(torch.cat(h.split(x.shape[0], 0), -1).mean(1))


def heads() -> nn.Module:
    """A batch size that torch leaves open only with help."""
    return _Heads()


class _FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, 4, 128).mean(2)[:, :2]


def named_net(*, n_outputs: int, n_times: int, **others: float) -> nn.Module:
    """Takes what it needs by name, in an order of its own; all else comes too."""
    assert set(others) == {"n_chans", "sfreq"}
    return EegNet(int(others["n_chans"]), n_times, n_outputs)


_SHARED = EegNet()


def shared_net() -> nn.Module:
    """The same weights at each call."""
    return _SHARED


def frozen_net() -> nn.Module:
    """Nothing to train."""
    return EegNet().requires_grad_(False)


def two_outputs() -> nn.Module:
    """Gives more than logits."""
    return _TwoOutputs()


def fixed_batch() -> nn.Module:
    """Takes one window at a time."""
    return _FixedBatch()


def braindecode_eegnet() -> nn.Module:
    """Of the package, random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own defaults
        from braindecode.models import EEGNet

        return _used(lambda: EEGNet(n_chans=4, n_outputs=2, n_times=128, sfreq=128), 15.0)

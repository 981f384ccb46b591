"""Augmentations of EEG windows that keep the class: published ones, under their published names."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["channels_dropout", "ft_surrogate", "scale_jitter", "sign_flip", "time_reverse"]


def _chosen(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw which windows of a batch are changed: ``(b, 1, 1)`` bool."""
    return torch.rand(len(x), 1, 1, generator=generator) < probability


def ft_surrogate(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Randomise the phase of every frequency, alike in all channels; amplitudes and cross-phases stay.

    Args:
        x: Windows ``(b, c, l)``.
        probability: Share of windows that are changed.
        generator: Source of randomness.

    Source: Schwabedal et al., "Addressing Class Imbalance in Classification Problems of Noisy Signals by
    using Fourier Transform Surrogates", arXiv 1806.08675; braindecode's ``FTSurrogate``.
    """
    spectrum = torch.fft.rfft(x, dim=-1)
    phase = 2 * math.pi * torch.rand(len(x), 1, spectrum.shape[-1], generator=generator)
    phase[..., 0] = 0
    if x.shape[-1] % 2 == 0:
        phase[..., -1] = 0
    turned = torch.fft.irfft(spectrum * torch.polar(torch.ones_like(phase), phase), n=x.shape[-1], dim=-1)
    return torch.where(_chosen(x, probability, generator), turned, x)


def channels_dropout(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Zero each channel of ``(b, c, l)`` with a probability: a lost contact. braindecode's ``ChannelsDropout``."""
    keep = torch.rand(x.shape[0], x.shape[1], 1, generator=generator) >= probability
    return x * keep


def sign_flip(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Turn whole windows ``(b, c, l)`` upside down. braindecode's ``SignFlip``."""
    return torch.where(_chosen(x, probability, generator), -x, x)


def time_reverse(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Run whole windows ``(b, c, l)`` backwards. braindecode's ``TimeReverse``."""
    return torch.where(_chosen(x, probability, generator), x.flip(-1), x)


def scale_jitter(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Multiply each channel of ``(b, c, l)`` by ``exp(sigma * normal)``: contacts and amplifiers differ."""
    return x * torch.exp(sigma * torch.randn(x.shape[0], x.shape[1], 1, generator=generator))

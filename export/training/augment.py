"""Augmentation of EEG windows that keeps the class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["ft_surrogate"]


def ft_surrogate(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Randomise the phase of every frequency, alike in all channels; amplitudes and cross-phases stay.

    Args:
        x: Windows ``(b, c, l)``.
        probability: Share of windows that are changed.
        generator: Source of randomness, on the CPU: the same numbers on every device.

    Source: Schwabedal et al., "Addressing Class Imbalance in Classification Problems of Noisy Signals by
    using Fourier Transform Surrogates", arXiv 1806.08675; braindecode's ``FTSurrogate``.
    """
    spectrum = torch.fft.rfft(x, dim=-1)
    phase = 2 * math.pi * torch.rand(len(x), 1, spectrum.shape[-1], generator=generator).to(x.device)
    phase[..., 0] = 0
    if x.shape[-1] % 2 == 0:
        phase[..., -1] = 0
    turned = torch.fft.irfft(spectrum * torch.polar(torch.ones_like(phase), phase), n=x.shape[-1], dim=-1)
    chosen = torch.rand(len(x), 1, 1, generator=generator).to(x.device) < probability
    return torch.where(chosen, turned, x)

"""Mamba models of others for EEG, with random weights: how each is made from a checkout of its repository."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmarks.compat.entry import Compared, called_with, checkout, imported

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENTRIES"]


def _first_of(model: nn.Module) -> nn.Module:
    """Return a module that gives the first output alone; these models' second one is their input."""
    from torch import Tensor, nn

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            first: Tensor = self.model(x)[0]
            return first

    return First()


def _femba(blocks: int) -> nn.Module:
    """A FEMBA for two classes; its second input marks what pretraining hides: nothing."""
    import torch

    checkout("mamba")
    checkout("BioFoundation")
    model = imported("models.FEMBA").FEMBA(embed_dim=35, num_blocks=blocks, num_classes=2)
    return _first_of(called_with(model, lambda x: (x, torch.zeros_like(x, dtype=torch.bool))))


def femba_tiny() -> nn.Module:
    return _femba(2)


def femba_base() -> nn.Module:
    return _femba(12)


def lumamba() -> nn.Module:
    """LuMamba of its defaults with the Mamba head; electrodes stand where a seed puts them."""
    import torch

    from mimamba_edge.export.capture import stubs

    checkout("mamba")
    checkout("BioFoundation")
    stubs.COMPILED += ("torchvision", "mne")
    names = ModuleType("torcheeg.datasets.constants")
    names.SEED_CHANNEL_LIST = []  # type: ignore[attr-defined]  # for pretraining only
    sys.modules[names.__name__] = names
    model = imported("models.LuMamba").LuMamba(num_classes=2, classifier_option="mamba")
    places = torch.randn(1, 22, 3, generator=torch.Generator().manual_seed(0))
    return _first_of(called_with(model, lambda x: (x, None, places.expand(x.shape[0], -1, -1))))


def eegmamba() -> nn.Module:
    checkout("mamba")
    checkout("EEGMamba")
    model: nn.Module = imported("models.eegmamba").EEGMamba()
    return model


def mamba_eeg() -> nn.Module:
    generation = imported("transformers.generation")
    for gone in ("GreedySearchDecoderOnlyOutput", "SampleDecoderOnlyOutput"):
        if not hasattr(generation, gone):  # its copy of mamba_ssm is of the time when there were two
            setattr(generation, gone, object)
    checkout("eeg-mamba")
    model: nn.Module = imported("models.mamba_eeg").MambaEEG()
    return model


def hsst() -> nn.Module:
    checkout("mamba")
    checkout("hsst-eeg")
    sizes: dict[str, Any] = {
        "emb_size": 256,
        "depth": 4,
        "num_heads": 8,
        "num_channels": 16,
        "num_classes": 6,
    }
    model: nn.Module = imported("models.hsst").HSST(**sizes)
    return model


_PULP = ("pulp-bio/BioFoundation", "1x22x1280")
_CODE = ("BioFoundation", "mamba")
ENTRIES = {
    "femba_tiny": Compared("FEMBA tiny, 2 blocks", *_PULP, femba_tiny, 5, checkouts=_CODE),
    "femba_base": Compared("FEMBA base, 12 blocks", *_PULP, femba_base, 25, checkouts=_CODE),
    "lumamba": Compared("LuMamba, 2 blocks", *_PULP, lumamba, 5, checkouts=_CODE),
    "eegmamba": Compared(
        *("EEGMamba, 12 layers of Mamba-2", "HosseinDahaei/EEGMamba", "1x4x30x200", eegmamba, 12),
        checkouts=("EEGMamba", "mamba"),
    ),
    "mamba_eeg": Compared(
        *("MambaEEG, 2 layers", "latka-krystof/eeg-mamba", "1x22x250", mamba_eeg, 2),
        packages=("transformers",),
        checkouts=("eeg-mamba",),
    ),
    "hsst": Compared(
        *("HSST, 2 blocks, both directions", "emeelkaa/hsst-eeg", "1x16x2000", hsst, 4),
        packages=("linear-attention-transformer",),
        checkouts=("hsst-eeg", "mamba"),
    ),
}
"""By the name of the row, which is that of its function."""

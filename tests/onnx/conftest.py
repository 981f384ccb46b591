"""Small checkpoints and what an export makes of them, once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.contract import Contract, Filter, Scaling


def make_checkpoint(path: Path, seed: int = 0, **config: Any) -> Path:
    """Write a checkpoint of a small network with weights unlike each other."""
    import torch

    from mimamba_edge.export.checkpoint import save_checkpoint
    from mimamba_edge.export.families.msimamba.network import MSiMamba

    sizes = {"n_chans": 3, "n_times": 40, "n_outputs": 3, "sfreq": 32.0, "d_model": 16, "d_state": 4}
    small = {"n_layers": 2, "d_ff": 4, "n_kernels": 2}
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = MSiMamba(**{**sizes, **small, **config})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    c = model.config
    contract = Contract(
        ch_names=tuple(f"E{i}" for i in range(c.n_chans)),
        sfreq=c.sfreq,
        n_times=c.n_times,
        hop=c.n_times // 2,
        class_names=tuple(f"class {i}" for i in range(c.n_outputs)),
        filters=(Filter("bandpass", low_hz=1, high_hz=12),),
        scaling=Scaling("robust", (0.0,) * c.n_chans, (15.0,) * c.n_chans),
    )
    save_checkpoint(path, model, contract)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "small.pt")


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a portable file with its whole set beside it."""
    from mimamba_edge.export.onnx.export import export_checkpoint

    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("exported") / "small.onnx").files[0]


@pytest.fixture(scope="session")
def exported_both_ways(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a bidirectional model with softmax weighting and more tokens than are unrolled."""
    from mimamba_edge.export.onnx.export import export_checkpoint

    folder = tmp_path_factory.mktemp("both")
    config = {"bidirectional": True, "n_chans": 19, "n_layers": 1, "weighting": "softmax", "min_bin": 2}
    return export_checkpoint(make_checkpoint(folder / "both.pt", **config), folder / "both.onnx").files[0]

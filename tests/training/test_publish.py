"""The checkpoints of a training appear together or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import OutputError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint  # noqa: E402
from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.training.train import publish  # noqa: E402
from mimamba_edge.outputs import CHECKPOINT, check_outputs  # noqa: E402
from tests.modelfiles import SMALL_CONTRACT  # noqa: E402

SIZES: dict[str, Any] = {"d_model": 8, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2}
CONFIG = ModelConfig(n_chans=2, n_times=32, n_outputs=3, sfreq=128.0, **SIZES)


def _publish(out: Path, seed: int) -> list[Path]:
    torch.manual_seed(seed)
    state = {name: value.numpy() for name, value in MSiMamba(**CONFIG.to_dict()).state_dict().items()}
    fitted: Any = SimpleNamespace(state_dict=state)
    results = [
        SimpleNamespace(
            seed=seed,
            fold=SimpleNamespace(name=f"run {k}"),
            contract=SMALL_CONTRACT,
            fit=SimpleNamespace(fitted=fitted),
        )
        for k in range(3)
    ]
    run: Any = SimpleNamespace(results=results)
    return publish(out, run, SMALL_CONTRACT, fitted, CONFIG)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["ckpt.pt", "ckpt.safetensors"])
def test_one_set_takes_the_place_of_another(tmp_path: Path, name: str) -> None:
    first = _publish(tmp_path / name, 0)
    again = _publish(tmp_path / name, 1)
    assert set(_files(tmp_path)) == {str(path.relative_to(tmp_path)) for path in again}
    assert again[-1] == first[-1] == tmp_path / name
    for path in again:
        load_checkpoint(path)
    # What was written is known again as a checkpoint of this tool.
    check_outputs([(path, CHECKPOINT) for path in again])


@pytest.mark.parametrize("written", [0, 2, 3])
def test_a_full_disk_leaves_what_was_there_and_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    _publish(tmp_path / "ckpt.pt", 0)
    before, plain, calls = _files(tmp_path), os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) > written:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    for out in (tmp_path / "ckpt.pt", tmp_path / "new" / "ckpt.pt"):
        calls.clear()
        with pytest.raises(OutputError, match="the disk is full") as format_score:
            _publish(out, 1)
        assert ".part" not in str(format_score.value)
        assert _files(tmp_path) == before
    assert not (tmp_path / "new").exists()

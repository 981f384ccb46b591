"""Checkpoints: round trips, and every kind of bad file is refused with its reason."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import CheckpointError, OutputError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.foreign.factory import load_weights  # noqa: E402
from tests.modelfiles import SMALL_CONTRACT  # noqa: E402

_SIZES = {"d_model": 8, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2}


@pytest.fixture
def model() -> MSiMamba:
    torch.manual_seed(0)
    return MSiMamba(2, 32, 3, 128.0, **_SIZES)


@pytest.fixture
def raw(model: MSiMamba, tmp_path: Path) -> dict[str, Any]:
    """Content of a good checkpoint, to be spoilt."""
    save_checkpoint(tmp_path / "good.pt", model, SMALL_CONTRACT)
    content: dict[str, Any] = torch.load(tmp_path / "good.pt", weights_only=True)
    return content


def _refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["ckpt.pt", "ckpt.safetensors"])
def test_round_trip(model: MSiMamba, tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path / name, model, SMALL_CONTRACT)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    checkpoint = load_checkpoint(tmp_path / name)
    assert checkpoint.config == model.config
    assert checkpoint.contract == dataclasses.replace(SMALL_CONTRACT, model=model.config.to_dict())
    built = checkpoint.build()
    assert not built.training
    x = torch.randn(3, 2, 32)
    assert torch.equal(built(x), model.eval()(x))


def test_a_missing_file(tmp_path: Path) -> None:
    assert "is not there" in _refusal(tmp_path / "none.pt")
    assert "is not a file" in _refusal(tmp_path)


@pytest.mark.parametrize("name", ["ckpt.pt", "ckpt.safetensors"])
def test_truncated_anywhere(model: MSiMamba, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_checkpoint(path, model, SMALL_CONTRACT)
    data = path.read_bytes()
    for size in (0, 1, 7, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        assert f"{size} bytes" in _refusal(path)


@pytest.mark.parametrize("name", ["ckpt.pt", "ckpt.safetensors"])
def test_a_file_of_another_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("file,start_s,stop_s,label\n" * 20)
    assert "damaged or not a checkpoint" in _refusal(path)
    path.write_text("hello\n")
    assert "6 bytes; 101" not in _refusal(path)  # what torch's KeyError says


class _Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(raw: dict[str, Any], tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.save({**raw, "config": _Evil(mark)}, tmp_path / "evil.pt")
    text = _refusal(tmp_path / "evil.pt")
    assert "was refused" in text
    assert "mkdir" in text
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Evil(mark)))
    _refusal(tmp_path / "bare.pt")
    assert not mark.exists()


def test_a_whole_pickled_model_is_refused(model: MSiMamba, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "model.pt")
    text = _refusal(tmp_path / "model.pt")
    assert "was refused" in text
    assert "MSiMamba" in text


def test_other_contents(raw: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    for content, reason in (
        ([1, 2], "list"),
        (raw["state_dict"], "without settings and contract"),
        ({**raw, "format": 2}, "format"),
        ({**raw, "format": True}, "format"),
        ({**raw, "format": torch.ones(2)}, "format"),
        ({"format": 1, "config": raw["config"]}, "no state_dict, contract"),
        ({**raw, "state_dict": [1]}, "state_dict"),
        ({**raw, "config": {**raw["config"], "heads": 8}}, "heads"),
        ({**raw, "config": {**raw["config"], "top_k": 99}}, "top_k"),
        ({**raw, "contract": {**raw["contract"], "contract_version": 7}}, "version"),
        ({**raw, "contract": 3}, "contract"),
    ):
        torch.save(content, path)
        assert reason in _refusal(path)


def test_every_misfit_is_listed_in_one_error(raw: dict[str, Any], tmp_path: Path) -> None:
    state = dict(raw["state_dict"])
    del state["final_layer.bias"]
    del state["tsfb.layers.0.mamba.A_log"]
    state["tsfb.norm.weight"] = torch.ones(9)
    state["tsfb.norm.bias"] = torch.ones(8, dtype=torch.int64)
    state["tsfb.embedding.bias"] = "text"
    state["tsfb.head.weight"] = torch.ones(1)
    state[3] = torch.ones(1)
    torch.save({**raw, "state_dict": state}, tmp_path / "misfit.pt")
    text = _refusal(tmp_path / "misfit.pt")
    for reason in (
        "final_layer.bias: missing, expected shape (3,)",
        "tsfb.layers.0.mamba.A_log: missing, expected shape (16, 2)",
        "tsfb.norm.weight: got shape (9,), expected (8,)",
        "tsfb.norm.bias: got torch.int64",
        "tsfb.embedding.bias: got str",
        "tsfb.head.weight: unknown",
        "3: unknown",
    ):
        assert reason in text
    assert text.count("\n") == 8, "nothing else is listed"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(raw: dict[str, Any], tmp_path: Path, value: float) -> None:
    raw["state_dict"]["final_layer.weight"][0, :2] = value
    raw["state_dict"]["tsfb.norm.bias"][0] = value
    torch.save(raw, tmp_path / "nan.pt")
    text = _refusal(tmp_path / "nan.pt")
    assert "final_layer.weight: 2 of 48 weights are NaN or infinite" in text
    assert "tsfb.norm.bias: 1 of 8" in text


def test_contract_and_configuration_must_agree(raw: dict[str, Any], tmp_path: Path) -> None:
    contract = {
        **raw["contract"],
        "ch_names": ["A", "B", "C"],
        "n_times": 33,
        "sfreq": 256.0,
        "class_names": ["x", "y"],
        "scaling": {"kind": "none"},
    }
    torch.save({**raw, "contract": contract}, tmp_path / "two.pt")
    text = _refusal(tmp_path / "two.pt")
    for reason in ("n_chans", "n_times: the configuration says 32, the contract 33", "n_outputs", "sfreq"):
        assert reason in text


def test_safetensors_metadata_is_checked(model: MSiMamba, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.safetensors"
    state = model.state_dict()
    safetensors_torch.save_file(state, path)
    assert "without settings and contract" in _refusal(path)
    parts = {"format": 2, "config": model.config.to_dict(), "contract": SMALL_CONTRACT.to_dict()}
    metadata = {f"mimamba.{name}": json.dumps(value) for name, value in parts.items()}
    safetensors_torch.save_file(state, path, metadata)
    assert "format" in _refusal(path)
    safetensors_torch.save_file(state, path, {**metadata, "mimamba.config": "{"})
    assert "damaged" in _refusal(path)


def test_half_weights_are_read_as_float32(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["state_dict"] = {name: value.half() for name, value in raw["state_dict"].items()}
    torch.save(raw, tmp_path / "half.pt")
    checkpoint = load_checkpoint(tmp_path / "half.pt")
    assert {value.dtype for value in checkpoint.state_dict.values()} == {torch.float32}


def test_what_could_not_be_read_is_not_written(model: MSiMamba, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    path.write_bytes(b"the last good one")
    with pytest.raises(CheckpointError, match="n_times"):
        save_checkpoint(path, model, dataclasses.replace(SMALL_CONTRACT, n_times=64))
    with torch.no_grad():
        model.final_layer.bias[1] = float("nan")
    with pytest.raises(CheckpointError, match=r"final_layer\.bias"):
        save_checkpoint(path, model, SMALL_CONTRACT)
    assert path.read_bytes() == b"the last good one"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written(model: MSiMamba, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_checkpoint(tmp_path / "file" / "ckpt.pt", model, SMALL_CONTRACT)


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True, "d_conv": 3, "expand": 3, "dt_rank": 5}])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_weights_alone_are_sent_to_a_factory_that_fits(tmp_path: Path, name: str, settings: dict) -> None:
    """The advice is followed to the letter."""
    torch.manual_seed(0)
    state = MSiMamba(2, 32, 3, 128.0, **{**_SIZES, **settings}).state_dict()
    if name.endswith(".pt"):
        torch.save({"state_dict": state}, tmp_path / name)
    else:
        safetensors_torch.save_file(state, tmp_path / name)
    text = _refusal(tmp_path / name)
    assert f"export --model net:net --weights {name} --input 1x2x32 --channels NAME,..." in text
    code = [line.strip() for line in text.splitlines() if line.strip().startswith(("from ", "def "))]
    made: dict[str, Any] = {"RATE": 128.0}
    exec("\n".join(code), made)
    made["net"]().load_state_dict(state)
    assert "net.py" not in _refusal_of(
        tmp_path / "other.pt", {**state, "tsfb.layers.0.mamba.in_proj.bias": 0}
    )


def _refusal_of(path: Path, content: Any) -> str:
    torch.save(content, path)
    return _refusal(path)


def test_a_checkpoint_that_is_named_as_weights_is_exported_by_itself(model: MSiMamba, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, model, SMALL_CONTRACT)
    with pytest.raises(CheckpointError, match=r"mimamba-edge export .*c\.pt$"):
        load_weights(torch.nn.Linear(2, 2), path)

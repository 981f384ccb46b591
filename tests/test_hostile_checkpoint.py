"""Checkpoints that were made to do harm: each is refused in a few lines, nothing large is built."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import CheckpointError, ConfigError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from tests.modelfiles import SMALL_CONTRACT  # noqa: E402

_SIZES = {"d_model": 8, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.pt"
    save_checkpoint(path, MSiMamba(2, 32, 3, 128.0, **_SIZES), SMALL_CONTRACT)
    return path


@pytest.fixture
def raw(good: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(good, weights_only=True)
    return content


def _refusal(path: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert len(str(caught.value).encode()) < 4096
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000, f"{grown} kB were taken to refuse it"
    return str(caught.value)


def _endless() -> list[Any]:
    held: list[Any] = []
    held.append(held)
    return held


def _deep(depth: int) -> list[Any]:
    held: list[Any] = []
    for _ in range(depth):
        held = [held]
    return held


def _doubled(times: int = 60) -> list[Any]:
    held: list[Any] = []
    for _ in range(times):
        held = [held, held]
    return held


def _in(part: str, name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(raw: dict[str, Any]) -> None:
        raw[part][name] = value

    return spoil


_BIAS = "tsfb.norm.bias"


def _bias(make: Callable[[], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["state_dict"].update({_BIAS: make()})


_SPOILT: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (_in("config", "n_layers", 10**6), "n_layers must"),
    (_in("config", "d_model", 10**9), "d_model must"),
    (_in("config", "d_ff", 2**62), "d_ff must"),
    (_in("config", "d_model", 10**400), "beyond 64 bits|n_layers|damaged"),
    (_in("config", "dt_rank", 10**9), "dt_rank must"),
    (_in("config", "expand", torch.ones(2)), "config.expand: a value of type Tensor"),
    (_in("config", "weighting", torch.ones(2)), "config.weighting: a value of type Tensor"),
    (_in("config", (1, 2), 1), r"the key \(1, 2\) is not text"),
    (_in("config", "sfreq", float("nan")), "config.sfreq: nan"),
    (_in("config", "weighting", "x" * 10**5), "a text of 100,000 characters"),
    (_in("contract", "training", {"a": float("inf")}), "training.a: inf"),
    (_in("contract", "training", {"a": _endless()}), "nested more than"),
    (_in("contract", "training", {"a": _doubled()}), "nested more than"),
    (_in("contract", "training", {"a": torch.ones(1)}), "a value of type Tensor"),
    (_in("contract", "temperature", float("nan")), "temperature: nan"),
    (_in("contract", "hop", 10**18), "hop must"),
    (_in("contract", "ch_names", ["x" * 10_000, "y"]), "ch_names must"),
    (_in("contract", "contract_version", _endless()), "nested more than"),
    (lambda raw: raw.update(format=_endless()), "a list"),
    (lambda raw: raw.update(format=10**400), "format"),
    (lambda raw: raw.update(config=_deep(100)), "nested more than"),
    (lambda raw: raw.update(state_dict={"k" * 10**5: 1, **{str(i): 1 for i in range(5000)}}), "and 5,0"),
    (_in("state_dict", "x" * 10**5, torch.ones(1)), "unknown"),
    (_in("state_dict", (1, (2, 3)), torch.ones(1)), "unknown"),
    (_bias(lambda: torch.ones(8, device="meta")), "refused|meta"),
    (_bias(lambda: torch.ones(8).to_sparse()), "refused|sparse"),
    (
        _bias(lambda: torch.quantize_per_tensor(torch.ones(8), 1.0, 0, torch.qint8)),
        "refused|quant",
    ),
    (_bias(lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(5)])), "refused|nested"),
    (_bias(lambda: torch.ones(1).expand(2**40)), "got shape"),
    (_bias(lambda: torch.ones(8, dtype=torch.complex64)), "complex64"),
    (_in("state_dict", _BIAS, [1.0] * 8), "got list"),
    (_in("state_dict", _BIAS, 3.0), "got float"),
]


@pytest.mark.filterwarnings("ignore")  # torch warns of prototype tensors while the files are made
@pytest.mark.parametrize(("spoil", "says"), _SPOILT, ids=itertools.count())
def test_hostile_contents(
    raw: dict[str, Any], tmp_path: Path, spoil: Callable[[dict[str, Any]], None], says: str
) -> None:
    spoil(raw)
    torch.save(raw, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(tmp_path / "bad.pt")
    _refusal(tmp_path / "bad.pt")


def _rewrite(good: Path, path: Path, change: Callable[[bytes], bytes], how: int = zipfile.ZIP_STORED) -> Path:
    """Write the archive again with another pickle."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w", how) as out:
        for entry in source.infolist():
            data = source.read(entry)
            out.writestr(entry.filename, change(data) if entry.filename.endswith("data.pkl") else data)
    return path


def _key_that_hashes_for_ever() -> bytes:
    """A dict whose key is a tuple that holds itself twice, sixty times over; 300 bytes."""
    twice = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    return b"\x80\x02}K\x01\x85" + twice + b"K\x01s."


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
            "was refused(?s:.)*bytearray(?s:.)*state_dict(?s:.)*--weights",
        ),
        (b"\x80\x02ctorch._utils\n_rebuild_meta_tensor_no_storage\n)R.", "was refused"),
        (_key_that_hashes_for_ever(), "would not end"),
        (b"\x80\x02]" + b"(" * 100_000 + b"l" * 100_000 + b"a.", "nested|damaged|list"),
        (b"\x80\x02" + b"]" * 10**6 + b".", "more than 100,000 steps"),
        (b"\x80\x02}X" + struct.pack("<I", 2**31 - 1) + b"a", "damaged"),
        (pickle.dumps("x" * 2_000_000, protocol=2), "more than 1,048,576 bytes"),
        (pickle.dumps(10**5000, protocol=2), "damaged|int"),
        (b"", "damaged"),
        (b"\x80\x04\x8c\x08builtins\x8c\x05print\x93.", "was refused"),
    ],
    ids=itertools.count(),
)
def test_hostile_pickles(good: Path, tmp_path: Path, data: bytes, says: str) -> None:
    path = _rewrite(good, tmp_path / "bad.pt", lambda _: data)
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(path)
    _refusal(path)


def test_a_zip_bomb_is_not_inflated(good: Path, tmp_path: Path) -> None:
    path = _rewrite(good, tmp_path / "bomb.pt", lambda data: data + bytes(50 << 20), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert "compressed" in _refusal(path)


def test_sizes_are_looked_at_first(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.pt"
    path.write_bytes(good.read_bytes())
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    assert "is too large" in _refusal(path)
    with zipfile.ZipFile(tmp_path / "many.pt", "w") as out:
        for index in range(20_001):
            out.writestr(f"a/{index}", b"")
    assert "entries" in _refusal(tmp_path / "many.pt")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("contract", "[" * 100_000, "nested more than"),
        ("config", "9" * 5001, "out of range"),
        ("config", '{"d_model": NaN}', "not JSON"),
        ("config", '{"n_layers": 1000000}', "missing|n_layers"),
        ("format", "[1]", "a list"),
        ("contract", '{"x": "' + "y" * 3_000_000 + '"}', "text of 3,000,000"),
        ("contract", '{"x": "' + "y" * 5_000_000 + '"}', "a header of more than"),
    ],
    ids=itertools.count(),
)
def test_hostile_metadata_of_safetensors(good: Path, tmp_path: Path, name: str, text: str, says: str) -> None:
    whole = load_checkpoint(good)
    parts = {"format": 1, "config": whole.config.to_dict(), "contract": whole.contract.to_dict()}
    metadata = {f"mimamba.{key}": json.dumps(value) for key, value in parts.items()} | {
        f"mimamba.{name}": text
    }
    path = tmp_path / "bad.safetensors"
    safetensors_torch.save_file(whole.state_dict, path, metadata)
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(path)
    _refusal(path)


def test_a_safetensors_header_that_claims_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    assert "a header of more than" in _refusal(path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bidirectional": True, "d_model": 40},
        {"n_kernels": 3, "d_ff": 5, "n_layers": 3, "dt_rank": 7, "d_conv": 3},
    ],
)
def test_the_count_of_weights_is_that_of_the_network(changes: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = MSiMamba(5, 100, 3, 128.0, **changes)
    assert model.config.n_parameters == sum(value.numel() for value in model.state_dict().values())


def test_a_network_that_is_too_large_is_not_built() -> None:
    with pytest.raises(ConfigError, match="too large a network"):
        ModelConfig(128, 4096, 1024, 128.0, d_model=4096, n_layers=64, expand=16)


def test_a_good_file_passes_the_same_looks(good: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO(good.read_bytes())
    assert torch.load(buffer, weights_only=True)["format"] == 1
    assert load_checkpoint(_rewrite(good, tmp_path / "same.pt", lambda data: data)).contract.n_times == 32

"""A new family is one folder and one line: everything below finds it by the name in the contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mimamba_edge.bench.measure import Budget  # noqa: E402
from mimamba_edge.contract import DEFAULT_FAMILY, Contract, Filter, Scaling  # noqa: E402
from mimamba_edge.errors import CheckpointError, ContractError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.family import FAMILIES, family_named  # noqa: E402
from mimamba_edge.runtime.reference import Reference  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]

CONTRACT = Contract(
    ch_names=("TP9", "AF7", "AF8", "TP10"),
    sfreq=128.0,
    n_times=128,
    hop=32,
    class_names=("calm", "excited"),
    filters=(Filter("bandpass", low_hz=1.0, high_hz=40.0),),
    scaling=Scaling("robust", (0.0,) * 4, (20.0,) * 4),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(FAMILIES, "conv1d", "tests.families.conv1d")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"n_chans": 4, "n_times": 128, "n_outputs": 2, "sfreq": 128.0}
    save_checkpoint(tmp_path / "c.pt", family_named("conv1d").network(sizes), CONTRACT)
    return tmp_path / "c.pt"


def test_from_checkpoint_to_decision(checkpoint: Path, tmp_path: Path, run, monkeypatch) -> None:  # noqa: F811
    quick = Budget(runs=5, least_s=0.0, most_s=0.05, block_s=0.005, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr("mimamba_edge.bench.run.Budget", lambda: quick)
    held = load_checkpoint(checkpoint)
    assert held.contract.family == "conv1d"
    assert Contract.from_json(held.contract.to_json()) == held.contract

    onnx = tmp_path / "c.onnx"
    done = run("export", checkpoint, "-o", onnx)
    assert done.code == 0, done.err
    reference = Reference.beside(onnx)
    assert list(reference.outputs) == ["logits"]

    for first in (checkpoint, f"oracle:{checkpoint}"):
        done = run("parity", first, onnx, "--report", tmp_path / "p.json")
        assert done.code == 0, done.err
        assert "periods" not in done.out
    assert run("inspect", onnx).code == 0
    assert run("inspect", checkpoint).code == 0

    done = run("bench", onnx, "--report", tmp_path / "b.json")
    assert done.code == 0, done.err
    assert '"conv"' in (tmp_path / "b.json").read_text()

    done = run("quantize", onnx, "--to", "fp16")
    assert done.code == 0, done.err
    assert (tmp_path / "c.fp16.onnx").is_file()
    done = run("quantize", onnx, "--to", "int8", "--data", tmp_path / "sim")
    assert done.code == 2

    assert run("simulate", tmp_path / "sim", "--runs", "1").code == 0
    source = next((tmp_path / "sim").rglob("*.csv"))
    done = run("stream", onnx, "--source", source, "--speed", "max", "--seconds", "10")
    assert done.code == 0, done.err


def test_families_part_ways(checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    raw = torch.load(checkpoint, weights_only=True)
    raw["contract"]["family"] = DEFAULT_FAMILY
    torch.save(raw, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="n_filters"):
        load_checkpoint(tmp_path / "other.pt")
    monkeypatch.delitem(FAMILIES, "conv1d")
    with pytest.raises(CheckpointError, match="family that this build does not know"):
        load_checkpoint(checkpoint)


def test_contracts_without_a_family_are_of_the_first() -> None:
    plain = CONTRACT.to_dict()
    assert "family" not in plain
    assert Contract.from_dict(plain).family == DEFAULT_FAMILY
    with pytest.raises(ContractError, match="family"):
        Contract.from_dict({**plain, "family": ""})


def test_what_a_device_asks_of_a_family_needs_numpy_only() -> None:
    code = (
        "import sys, numpy as np\nfrom mimamba_edge.family import FAMILIES, family_named\n"
        "for name in FAMILIES:\n"
        "    family = family_named(name)\n"
        "    family.tie_gaps(np.zeros((1, 4, 128), np.float32), {'top_k': 3, 'min_bin': 1, 'max_bin': 0})\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_oracle_is_the_network() -> None:
    family = family_named("conv1d")
    network = family.network({"n_chans": 4, "n_times": 128, "n_outputs": 2, "sfreq": 128.0})
    windows = np.random.default_rng(0).normal(size=(3, 4, 128)).astype(np.float32)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    expected = family.oracle(windows, state, network.config.to_dict())["logits"]
    with torch.no_grad():
        got = network(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_nothing_outside_its_folder_names_a_family() -> None:
    root = Path(__file__).resolve().parents[2]
    ops = ("mstb", "folding", "schema", "timesnet")  # files of the op itself know what it folds by
    # The front door and its classifier offer it by name; a baseline is another network with periods; two
    # benchmarks set its training beside another form of it.
    may = {
        "mimamba_edge/__init__.py",
        "export/research/classifier.py",
        "export/evaluation/networks.py",
        "benchmarks/training/__init__.py",
        "benchmarks/training/looped.py",
        "benchmarks/gpu/training.py",
    }
    known = [
        name
        for part in ("mimamba_edge", "export", "benchmarks")
        for path in (root / part).rglob("*.py")
        if "families" not in path.parts
        and not path.stem.startswith(ops)
        and (name := path.relative_to(root).as_posix()) not in may
        and re.search(r"MSiMamba|periods", path.read_text(encoding="utf-8"))
    ]
    assert known == []

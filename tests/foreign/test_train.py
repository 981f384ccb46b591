"""``train --model``: a network of others goes the way of ours, from recordings to decisions."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge.artifact import Manifest  # noqa: E402
from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.contract import FOREIGN_FAMILY, Contract  # noqa: E402
from mimamba_edge.data.recording import read_recording  # noqa: E402
from mimamba_edge.data.simulate import simulate_recording, write_dataset, write_recording  # noqa: E402
from mimamba_edge.errors import CheckpointError, TrainingError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, write_checkpoint  # noqa: E402
from mimamba_edge.export.families.foreign import ForeignConfig  # noqa: E402
from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.foreign.blueprint import ForeignBlueprint  # noqa: E402
from mimamba_edge.export.jobs import run as jobs  # noqa: E402
from mimamba_edge.export.network import FamilyBlueprint  # noqa: E402
from mimamba_edge.export.training.fit import Hyperparameters, fit  # noqa: E402
from mimamba_edge.load import load_model  # noqa: E402
from mimamba_edge.stream.sinks.spec import open_sink  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401
from tests.foreign import eeg  # noqa: E402
from tests.foreign.test_eeg import Run, streams_as_pytorch  # noqa: E402
from tests.modelfiles import tiny_contract  # noqa: E402
from tests.stream.engines import Kept  # noqa: E402

HERE, NAME = "tests.foreign.test_train", "tests.foreign.eeg"
SMALL: dict[str, Any] = {"d_model": 8, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2}
FIELDS = {
    *(
        "schema",
        "protocol",
        "balanced_accuracy",
        "class_names",
        "n_trials",
        "trials",
        "temperature",
        "n_seeds",
    ),
    *("epochs", "recipe", "left_out", "trials_left_out", "windows_left_out", "parent", "data", "version"),
    *("source", "contract", "made_by"),
}


def ours(n_chans: int, n_times: int, n_outputs: int, sfreq: float) -> torch.nn.Module:
    """Our own network as somebody else would bring it."""
    return MSiMamba(n_chans, n_times, n_outputs, sfreq, **SMALL)


class Logarithm(torch.nn.Module):
    """Gives no numbers from the second step on."""

    def __init__(self, n_times: int = 16) -> None:
        super().__init__()
        self.norm, self.final_layer = torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2)
        self.start = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.norm(x.mean(2))) + torch.sqrt(self.start)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, the checkpoint of a network trained on them, its scores and its exported files."""
    folder = tmp_path_factory.mktemp("train")
    write_dataset(folder / "sim", runs=3, trials=4, seed=5)
    train = ["train", folder / "sim", "--model", f"{NAME}:named_net", "--epochs", "3"]
    export = ["export", folder / "c.pt", "--model", f"{NAME}:named_net"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "available_cores", lambda: 1)  # in this process, which has loaded torch
        for command in ([*train, "-o", folder / "c.pt", "--report", folder / "c.json"], export):
            with pytest.raises(SystemExit, match="0"):
                main([str(part) for part in command])
    return folder


def contract_of(path: Path) -> Contract:
    found = Manifest.load(path).contract
    assert found is not None
    return found


def test_the_report_and_the_checkpoint_are_those_of_our_network(made: Path) -> None:
    report = json.loads((made / "c.json").read_text())
    assert set(report) >= FIELDS
    folds = report["balanced_accuracy"]["folds"]
    held = load_checkpoint(made / "c.pt")
    assert {path.stem for path in (made / "c-folds").iterdir()} == {fold["checkpoint"] for fold in folds}
    assert held.contract.to_dict() == report["contract"]
    assert held.contract.family == FOREIGN_FAMILY
    assert held.contract.temperature == report["temperature"]["value"]
    assert held.contract.scaling.kind == "robust"
    assert held.config.to_dict() == held.contract.model
    assert held.contract.model["name"] == f"{NAME}:named_net"
    assert held.state_dict["bn1.num_batches_tracked"].dtype == torch.int64
    scales = {load_checkpoint(path).contract.scaling.scale for path in (made / "c-folds").iterdir()}
    assert len(scales) == 3, "each fold scales by its own training part"


def test_it_streams_from_a_file_and_from_lsl_with_equal_decisions(
    run: Run,  # noqa: F811
    made: Path,
    tmp_path: Path,
) -> None:
    contract = contract_of(made / "c.onnx")
    assert contract == load_checkpoint(made / "c.pt").contract
    network = eeg.EegNet()
    network.load_state_dict(load_checkpoint(made / "c.pt").state_dict)
    simulated, _ = simulate_recording(["calm", "excited"], trial_s=3.0, seed=2)
    simulated.samples[900:930, 1] = np.nan
    write_recording(tmp_path / "a.csv", simulated)
    streams_as_pytorch(run, made / "c.onnx", network, tmp_path / "a.csv")

    pytest.importorskip("pylsl", reason="needs pylsl: pip install 'mimamba-edge[live]'")
    from tests.stream.by_lsl import play_by_lsl

    decided = [json.loads(line) for line in _streamed(run, made, tmp_path / "a.csv")]
    runner = load_model(made / "c.onnx")
    with runner:
        sinks = [from_lsl := Kept(), open_sink(f"record:{tmp_path / 'sessions'}")]
        play_by_lsl(runner, read_recording(tmp_path / "a.csv"), sinks)
    assert {line["reason"] for line in decided} >= {None, "settling", "gap"}
    keys = ("window", "label", "probs", "valid", "reason", "quality")
    got = [{key: json.loads(d.to_json())[key] for key in keys} for d in from_lsl.decisions]
    assert got == [{key: line[key] for key in keys} for line in decided]
    (session,) = (tmp_path / "sessions").rglob("session.json")
    again = [json.loads(line) for line in _streamed(run, made, session.parent)]
    assert [{key: line[key] for key in keys} for line in again] == got


def _streamed(run: Run, made: Path, source: Path) -> list[str]:  # noqa: F811
    done = run("stream", made / "c.onnx", "--source", source, "--speed", "max")
    assert done.code == 0, done.err
    return done.out.splitlines()


def test_a_checkpoint_runs_no_code(run: Run, tmp_path: Path) -> None:  # noqa: F811
    contract = tiny_contract(family=FOREIGN_FAMILY)
    config = ForeignConfig.of("tests.foreign.bomb:explode", contract)
    write_checkpoint(tmp_path / "c.pt", {"a.weight": torch.zeros(2, 3)}, config, contract)
    done = run("inspect", tmp_path / "c.pt")
    assert done.code == 0, done.err
    assert "tests.foreign.bomb:explode" in done.out
    write_recording(tmp_path / "r.csv", simulate_recording(["calm"], seed=2)[0])
    for command in (
        ("export", tmp_path / "c.pt"),
        ("bench", tmp_path / "c.pt"),
        ("parity", tmp_path / "c.pt", tmp_path / "c.pt"),
        ("stream", tmp_path / "c.pt", "--source", tmp_path / "r.csv"),
        ("parity", f"oracle:{tmp_path / 'c.pt'}", tmp_path / "c.pt"),
    ):
        done = run(*command)
        assert done.code == 2, command
        assert "export CHECKPOINT --model" in done.err, done.err
    done = run("export", tmp_path / "c.pt", "--model", "tests.foreign.bomb:explode")
    assert "no module tests.foreign.bomb" in done.err  # so it was not loaded before


def test_weights_fit_the_named_factory_or_are_listed(run: Run, made: Path, tmp_path: Path) -> None:  # noqa: F811
    done = run("export", made / "c.pt", "--model", f"{HERE}:ours", "-o", tmp_path / "x.onnx")
    assert done.code == 2
    assert "do not fit the model" in done.err
    assert "mstb.msp1.convs.0.weight: missing" in done.err
    done = run("export", made / "c.pt", "--model", f"{NAME}:named_net", "--input", "1x4x128")
    assert done.code == 2
    assert "CHECKPOINT --model [--data]" in done.err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "value", [torch.tensor([float("nan")]), torch.zeros(2).to_sparse(), torch.zeros(2, dtype=torch.complex64)]
)
def test_weights_that_are_no_real_numbers(tmp_path: Path, value: torch.Tensor) -> None:
    contract = dataclasses.replace(tiny_contract(), family=FOREIGN_FAMILY)
    config = ForeignConfig.of("a:b", contract)
    contract = dataclasses.replace(contract, model=config.to_dict())
    parts = {"format": 1, "config": config.to_dict(), "contract": contract.to_dict()}
    torch.save({**parts, "state_dict": {"w": value}}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pt")


REFUSED = {
    "no_such": "has no no_such",
    "torch": "cannot be called",
    "shared_net": "same weights each time",
    "frozen_net": "nothing to train",
    "two_outputs": "nothing to train",
}


@pytest.mark.parametrize("factory", REFUSED)
def test_factories_that_cannot_be_trained(run: Run, made: Path, tmp_path: Path, factory: str) -> None:  # noqa: F811
    done = run("train", made / "sim", "--model", f"{NAME}:{factory}", "-o", tmp_path / "c.pt")
    assert done.code == 2
    assert REFUSED[factory] in done.err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--window", "0.1"), "named_net raises|does not run on these windows"),
        (("--channels", "TP9,Cz"), "Cz"),
        (("--init", "c.pt"), "c.pt is not there"),
    ],
)
def test_options_that_do_not_fit(
    run: Run,  # noqa: F811
    made: Path,
    tmp_path: Path,
    options: tuple[str, str],
    named: str,
) -> None:
    done = run("train", made / "sim", "--model", f"{NAME}:named_net", *options, "-o", tmp_path / "c.pt")
    assert done.code == 2
    assert any(part in done.err for part in named.split("|")), done.err


@pytest.fixture
def one_thread():
    """As in the workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def windows(n: int, sizes: tuple[int, int] = (2, 32)) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(0).standard_normal((n, *sizes)).astype(np.float32)
    return drawn, np.arange(n) % 2


@pytest.mark.usefixtures("one_thread")
def test_training_is_that_of_our_network_to_the_bit() -> None:
    """The same class by our own table and by a factory's name: one pipeline, one set of weights."""
    config = ForeignConfig(f"{HERE}:ours", 2, 32, 2, 128.0)
    recipe = Hyperparameters(epochs=2, batch_size=4)
    own = FamilyBlueprint(ModelConfig(**config.sizes, **SMALL))
    fits = [
        fit(b, recipe, windows(8), validation=windows(4), seed=1)[1] for b in (own, ForeignBlueprint(config))
    ]
    assert fits[0].history == fits[1].history
    assert all(np.array_equal(value, fits[1].state_dict[name]) for name, value in fits[0].state_dict.items())
    other = fit(ForeignBlueprint(config), recipe, windows(8), seed=2)[1]
    assert any(
        not np.array_equal(value, other.state_dict[name]) for name, value in fits[0].state_dict.items()
    )


@pytest.mark.usefixtures("one_thread")
def test_a_training_that_diverges_is_told() -> None:
    """17 windows in batches of 8: a batch norm takes no single one."""
    blueprint = ForeignBlueprint(ForeignConfig(f"{HERE}:Logarithm", 2, 16, 2, 128.0))
    with pytest.raises(TrainingError, match="diverged: in epoch"):
        fit(blueprint, Hyperparameters(epochs=3, batch_size=8), windows(17, (2, 16)), seed=0)


def test_help_says_that_code_is_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mimamba_edge", "train", "--help"], capture_output=True, text=True, check=True
    )
    assert "This runs its Python code" in " ".join(done.stdout.replace("│", " ").split())

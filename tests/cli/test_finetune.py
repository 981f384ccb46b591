"""``train --init``: what it keeps of the checkpoint, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.artifact import sha256_file  # noqa: E402
from mimamba_edge.contract import Contract, Scaling  # noqa: E402
from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.signal.filters import default_filters  # noqa: E402

CONTRACT = Contract(
    ("AF8", "TP9"),
    64.0,
    96,
    8,
    ("calm", "excited"),
    filters=default_filters(64.0, 60.0),
    mains_hz=60.0,
    scaling=Scaling("robust", (0.5, -0.5), (11.0, 13.0)),
    temperature=3.0,
    training={"recordings": ["ab" * 16]},
)
CONFIG = {"n_chans": 2, "n_times": 96, "n_outputs": 2, "sfreq": 64.0}
SMALL = {"d_model": 16, "n_layers": 1, "d_ff": 4, "n_kernels": 2}


@pytest.fixture(scope="module")
def eeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim") / "eeg"
    write_dataset(folder, runs=3, trials=4, seed=5)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("base") / "base.pt"
    save_checkpoint(path, MSiMamba(**CONFIG, **SMALL), CONTRACT)
    return path


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch):
    """Fit in this process: the workers have tests of their own."""
    monkeypatch.setattr("mimamba_edge.export.jobs.run.available_cores", lambda: 1)


def changed(contract: Contract, **fields: object) -> Contract:
    return dataclasses.replace(contract, **fields)  # type: ignore[arg-type]


def test_the_signal_path_is_kept_and_the_parent_named(eeg: Path, base: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "me.pt"
    arguments = ("train", eeg, "--init", base, "--freeze", "backbone", "--epochs", 2, "-o", out)
    done = run(*arguments, "--window", 1.5, "--report", tmp_path / "me.json")
    assert done.code == 0, done.err
    before, after = load_checkpoint(base), load_checkpoint(out)
    kept = ("ch_names", "sfreq", "n_times", "hop", "class_names", "scaling", "reference", "resampler")
    for name in kept:
        assert getattr(after.contract, name) == getattr(before.contract, name), name
    # The simulated recordings carry 50 Hz.
    assert after.contract.mains_hz == 50.0
    assert after.contract.filters == default_filters(64.0, 50.0)
    assert "mains 50 Hz" in done.out
    # Twelve trials tell nothing better than the parent's temperature.
    assert after.contract.temperature == before.contract.temperature == 3.0
    parent = after.contract.training["parent"]
    assert parent["sha256"] == sha256_file(base)
    assert parent["trained"] == ["final_layer.weight", "final_layer.bias"]
    assert json.loads((tmp_path / "me.json").read_text())["parent"] == parent
    different = {k for k, v in before.state_dict.items() if not torch.equal(v, after.state_dict[k])}
    assert different == {"final_layer.weight", "final_layer.bias"}
    seen = after.contract.training["recordings"]
    assert len(seen) == 4
    assert "ab" * 16 in seen
    folds = [load_checkpoint(p) for p in (tmp_path / "me-folds").iterdir()]
    assert len(folds) == 3
    assert {f.contract.scaling for f in folds} == {CONTRACT.scaling}
    # And from there on, these recordings count as seen.
    again = run("train", eeg, "--init", out, "-o", tmp_path / "again.pt")
    assert again.code == 2
    assert "run-01.csv" in again.err


def test_all_parameters_with_a_personal_scaling(eeg: Path, base: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "me.pt"
    done = run("train", eeg, "--init", base, "--scaling", "personal", "--epochs", 1, "-o", out)
    assert done.code == 0, done.err
    before, after = load_checkpoint(base), load_checkpoint(out)
    assert after.contract.scaling != before.contract.scaling
    scales = {load_checkpoint(p).contract.scaling.scale for p in (tmp_path / "me-folds").iterdir()}
    assert len(scales) == 3, "each fold scales by its own training part"
    assert after.contract.training["parent"]["trained"] == "all parameters"
    same = [k for k, v in before.state_dict.items() if torch.equal(v, after.state_dict[k])]
    assert not same
    assert np.isfinite(after.state_dict["final_layer.weight"].numpy()).all()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--window", 1), "--window"),
        (("--sfreq", 128), "--sfreq"),
        (("--channels", "TP9,AF8"), "AF8,TP9"),
        (("--freeze", "all"), "backbone"),
        (("--scaling", "mine"), "personal"),
        (("-o", "INIT"), "overwritten"),
        (("-o", "PARENT"), "base.pt would be overwritten"),
    ],
)
def test_wishes_that_the_checkpoint_cannot_fulfil(
    eeg: Path, base: Path, tmp_path: Path, run, options: tuple[object, ...], word: str
) -> None:
    init = tmp_path / "x-folds" / "base.pt"
    init.parent.mkdir()
    shutil.copyfile(base, init)
    places = {"INIT": init, "PARENT": tmp_path / "x.pt"}
    given = [places.get(str(o), o) for o in options]
    if "-o" not in given:
        given += ["-o", tmp_path / "me.pt"]
    out = run("train", eeg, "--init", init, *given)
    assert out.code == 2
    assert word in out.err
    assert [p.name for p in tmp_path.iterdir()] == ["x-folds"]
    assert sha256_file(init) == sha256_file(base)


def test_options_that_need_a_checkpoint(eeg: Path, tmp_path: Path, run) -> None:
    for option in (("--freeze", "backbone"), ("--scaling", "init")):
        out = run("train", eeg, *option, "-o", tmp_path / "me.pt")
        assert out.code == 2
        assert "--init" in out.err


def test_other_classes_and_seen_data_are_refused(eeg: Path, base: Path, tmp_path: Path, run) -> None:
    held = load_checkpoint(base)
    other = tmp_path / "other.pt"
    save_checkpoint(other, held.build(), changed(held.contract, class_names=("calm", "happy")))
    out = run("train", eeg, "--init", other, "-o", tmp_path / "me.pt")
    assert out.code == 2
    assert "calm, happy" in out.err
    assert "by name" in out.err
    # A checkpoint from before recordings were listed is known by its label table.
    old = {"data": {"labels_sha256": sha256_file(eeg / "labels.csv")}}
    save_checkpoint(other, held.build(), changed(held.contract, training=old))
    out = run("train", eeg, "--init", other, "-o", tmp_path / "me.pt")
    assert out.code == 2
    assert "was trained on recordings" in out.err
    assert [p.name for p in tmp_path.iterdir()] == ["other.pt"]

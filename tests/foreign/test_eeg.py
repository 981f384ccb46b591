"""A network of others for EEG, exported with a contract, is a model like ours: it streams."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]

from mimamba_edge.artifact import Manifest  # noqa: E402
from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.contract import Scaling  # noqa: E402
from mimamba_edge.data.recording import read_recording  # noqa: E402
from mimamba_edge.data.simulate import CLASSES, simulate_recording, write_recording  # noqa: E402
from mimamba_edge.data.windows import stream_windows  # noqa: E402
from mimamba_edge.errors import ConfigError, ContractError  # noqa: E402
from mimamba_edge.export.foreign.contract import contract_for, read_contract  # noqa: E402
from mimamba_edge.family import family_of  # noqa: E402
from mimamba_edge.signal.filters import default_filters  # noqa: E402
from tests.cli.conftest import Result, run  # noqa: E402, F401
from tests.foreign import eeg  # noqa: E402

NAME = "tests.foreign.eeg"
SIGNAL = ("--channels", "TP9,AF7,AF8,TP10", "--sfreq", "128", "--classes", "calm,excited")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("eeg") / "r.csv"
    write_recording(path, simulate_recording([*CLASSES] * 3, trial_s=3.0, seed=(1, 0))[0])
    return path


def exported(run: Run, factory: str, out: Path, *more: object) -> Path:  # noqa: F811
    done = run("export", "--model", f"{NAME}:{factory}", "--input", "1x4x128", *SIGNAL, *more, "-o", out)
    assert done.code == 0, done.err
    return out


def streams_as_pytorch(run: Run, model: Path, network: torch.nn.Module, recording: Path) -> None:  # noqa: F811
    """Hold the decisions of ``stream`` to the network in PyTorch, fed window by window."""
    done = run("stream", model, "--source", recording, "--speed", "max")
    assert done.code == 0, done.err
    decisions = [json.loads(line) for line in done.out.splitlines()]
    contract = Manifest.load(model).contract
    assert contract is not None
    windows = stream_windows(read_recording(recording), contract)
    assert len(decisions) == len(windows)
    network.eval()
    seen = []
    for decision, window in zip(decisions, windows, strict=True):
        if not window.valid:
            assert decision["label"] is None
            continue
        with torch.no_grad():
            logits = network(torch.from_numpy(window.data[None]))[0].double()
        right = torch.softmax(logits / contract.temperature, 0).numpy()
        got = np.array([decision["probs"][name] for name in contract.class_names])
        np.testing.assert_allclose(got, right, atol=1e-4)
        if abs(right[0] - right[1]) > 1e-3:
            assert decision["label"] == contract.class_names[right.argmax()]
        seen.append(right[0])
    assert np.ptp(seen) > 0.02  # else a constant would pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> Path:
    out = tmp_path_factory.mktemp("model") / "e.onnx"
    command = ("export", "--model", f"{NAME}:eegnet", "--input", "1x4x128", *SIGNAL, "--data", recording)
    with pytest.raises(SystemExit, match="0"):
        main([*map(str, command), "-o", str(out)])
    return out


def test_stream_gives_the_decisions_of_pytorch(run: Run, model: Path, recording: Path) -> None:  # noqa: F811
    contract = Manifest.load(model).contract
    assert contract is not None
    assert (contract.n_times, contract.hop, contract.sfreq) == (128, 16, 128.0)
    assert contract.scaling == Scaling("none")
    assert contract.filters == default_filters(128.0, None)
    sizes = {"n_chans": 4, "n_times": 128, "n_outputs": 2, "sfreq": 128.0}
    assert contract.model == {"name": f"{NAME}:eegnet", **sizes}
    streams_as_pytorch(run, model, eeg.eegnet(), recording)


def test_windows_can_be_scaled_and_a_file_can_hold_the_contract(
    run: Run,  # noqa: F811
    recording: Path,
    tmp_path: Path,
) -> None:
    signal = (("TP9", "AF7", "AF8", "TP10"), 128.0, ("calm", "excited"), "window-zscore")
    contract = contract_for("1x4x128", *signal)
    path, out = tmp_path / "contract.json", tmp_path / "e.onnx"
    path.write_text(json.dumps({**contract.to_dict(), "family": "msimamba", "temperature": 0.5}))
    done = run("export", "--model", f"{NAME}:eegnet_scaled", "--contract", path, "-o", out)
    assert done.code == 0, done.err
    held = Manifest.load(out).contract
    assert held is not None
    model = {"name": f"{NAME}:eegnet_scaled", "n_chans": 4, "n_times": 128, "n_outputs": 2, "sfreq": 128.0}
    assert held == dataclasses.replace(contract, temperature=0.5, model=model)
    assert Manifest.load(out).verification["windows"]["kind"] == "simulated"
    streams_as_pytorch(run, out, eeg.eegnet_scaled(), recording)


def test_verbs_of_signals_take_it(run: Run, model: Path, recording: Path, tmp_path: Path) -> None:  # noqa: F811
    out = model
    verified = Manifest.load(out).verification["windows"]
    assert (verified["kind"], verified["hop"]) == ("recordings", 16)
    shown = run("inspect", out)
    assert shown.code == 0
    for text in ("TP9", "excited", "foreign", f"{NAME}:eegnet"):
        assert text in shown.out
    report = tmp_path / "p.json"
    assert run("parity", out, out, "--data", recording, "--report", report).code == 0
    assert json.loads(report.read_text())["identical"]
    done = run("quantize", out, "--to", "fp16", "--data", recording)
    assert done.code == 0, done.err
    assert run("parity", out, out.with_name("e.fp16.onnx"), "--data", recording).code == 0
    done = run("quantize", out, "--to", "int8", "--data", recording)
    assert done.code == 2
    assert "foreign have no INT8" in done.err
    done = run("check-signal", "--model", out, "--source", recording, "--speed", "max")
    assert done.code in (0, 1), done.err
    done = run("calibrate", out, "--source", recording, "--speed", "max", "-o", tmp_path / "profile.json")
    assert done.code in (0, 1), done.err


def test_heads_along_the_batch_leave_it_open(run: Run, tmp_path: Path) -> None:  # noqa: F811
    done = run(
        *("export", "--model", f"{NAME}:heads", "--input", "1x4x128", *SIGNAL, "-o", tmp_path / "h.onnx")
    )
    assert done.code == 0, done.err
    assert "SQNR in batches of 1 and 3" in done.out
    assert "any batch size" in done.out
    assert ">= 90 dB" in done.out


REFUSED = {
    "eegnet 1x8x128": r"does not fit --channels(.|\n)*1x4xSAMPLES",
    "eegnet 1x4x1x128": "does not fit --channels",
    "eegnet 1x4x128:int64": "does not fit --channels",
    "eegnet 1x4x200": r"does not run on this input(.|\n)*final_layer",
    "eegnet 1x4x128 --classes a,b,c": r"does not fit the classes(.|\n)*\(b, 2\)(.|\n)*a, b, c",
    "eegnet 1x4x128 --classes a,a": "class_names must be distinct",
    "eegnet 1x4x128 --channels TP9,TP9,AF8,TP10": "ch_names must be distinct",
    "eegnet 1x4x128 --scaling robust": "window-zscore",
    "eegnet 1x4x128 --sfreq nan": "sfreq",
    "eegnet 1x4x128 --inputs x.npz": "a checkpoint or --model",
    "two_outputs 1x4x128": r"does not fit the classes(.|\n)*one output",
    "fixed_batch 1x4x128": "batch 1 only",
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(run: Run, tmp_path: Path, case: str) -> None:  # noqa: F811
    factory, shape, *more = case.split()
    command = ("export", "--model", f"{NAME}:{factory}", "--input", shape, *SIGNAL, *more)
    done = run(*command, "-o", tmp_path / "e.onnx")
    assert done.code == 2
    assert re.search(REFUSED[case], done.err), done.err
    assert not [*tmp_path.iterdir()]


WRONG_FILES = {
    "no JSON": ("{", "cannot be read"),
    "a list": ("[]", "cannot be read"),
    "no version": ({"contract_version": None}, "version"),
    "a text for a number": ({"sfreq": "fast"}, "sfreq"),
    "a field too many": ({"chanels": []}, "chanels"),
    "a field that is missing": ({"n_times": ...}, "n_times"),
    "a number out of range": ({"hop": 0}, "hop"),
    "one class": ({"class_names": ["calm"]}, "class_names"),
    "a filter of another kind": ({"filters": [{"kind": "lowpass"}]}, "filter kind"),
    "a manifest": ({"manifest_format": 1, "contract": {}}, "is a manifest"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_errors_of_a_contract_file_name_the_field(tmp_path: Path, case: str) -> None:
    change, named = WRONG_FILES[case]
    path = tmp_path / "c.json"
    if isinstance(change, dict):
        right = contract_for("1x4x128", ("TP9", "AF7", "AF8", "TP10"), 128.0, ("calm", "excited")).to_dict()
        path.write_text(json.dumps({k: v for k, v in {**right, **change}.items() if v is not ...}))
    else:
        path.write_text(change)
    with pytest.raises(ContractError, match=named) as caught:
        read_contract(path)
    assert str(path) in str(caught.value)


def test_a_contract_file_that_is_not_there_or_not_alone(run: Run, tmp_path: Path) -> None:  # noqa: F811
    model = ("export", "--model", f"{NAME}:eegnet", "--contract", tmp_path / "c.json")
    done = run(*model)
    assert done.code == 2
    assert "c.json is not there" in done.err
    (tmp_path / "c.json").touch()
    done = run(*model, "--sfreq", "128")
    assert done.code == 2
    assert "--model --contract [--data] [--weights]" in done.err


def test_some_of_the_three_options_are_not_enough(run: Run, tmp_path: Path) -> None:  # noqa: F811
    done = run("export", "--model", f"{NAME}:eegnet", "--input", "1x4x128", *SIGNAL[:4])
    assert done.code == 2
    assert "--classes is missing" in done.err


def test_a_family_of_files_has_no_network(model: Path) -> None:
    contract = Manifest.load(model).contract
    assert contract is not None
    with pytest.raises(ConfigError, match="code of a network of others"):
        family_of(contract).network(contract.model)


def test_braindecode(run: Run, recording: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip(
        "braindecode", minversion="1.0", reason="needs braindecode 1.0 or later: pip install braindecode"
    )
    out = exported(run, "braindecode_eegnet", tmp_path / "b.onnx")
    streams_as_pytorch(run, out, eeg.braindecode_eegnet(), recording)

"""``export --model``: any PyTorch model to files that every verb without a signal takes."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]

import safetensors.torch  # noqa: E402

from mimamba_edge import export_module, load_model  # noqa: E402
from mimamba_edge.artifact import Manifest, sha256_file, write_manifest  # noqa: E402
from mimamba_edge.bench.measure import Budget  # noqa: E402
from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.errors import ConfigError, ContractError  # noqa: E402
from mimamba_edge.export.foreign.factory import frozen  # noqa: E402
from mimamba_edge.trt.plan import PlanManifest  # noqa: E402
from tests.fakes.tensorrt import install  # noqa: E402
from tests.foreign import engine, standins  # noqa: E402
from tests.trt.machine import make_machine  # noqa: E402

NAME = "tests.foreign.standins"


def run(command: list[str]) -> int:
    """Return a command's exit code."""
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans of two lengths; weights by name."""
    folder = tmp_path_factory.mktemp("foreign")
    torch.manual_seed(5)
    model = standins.mixers()
    safetensors.torch.save_file(model.state_dict(), folder / "w.safetensors")
    out, weights = folder / "mixers.onnx", folder / "w.safetensors"
    command = f"export --model {NAME}:mixers --weights {weights} --input 1x12x8 -o {out}"
    assert run(command.split()) == 0
    return out


def test_one_node_a_scan_under_the_names_of_the_user(exported: Path) -> None:
    graph = onnx.load(exported).graph
    scans = [node.name for node in graph.node if node.op_type == "SelectiveScan"]
    assert len(scans) == 3
    assert scans[0] == "encoder.1.0/SelectiveScan"
    assert all(name.startswith("encoder.1.1.part/SelectiveScan") for name in scans[1:])
    assert not [n for n in graph.node if n.op_type in ("Loop", "Scan", "If")]
    assert {"head.weight", "encoder.1.0.in_proj.bias"} <= {i.name for i in graph.initializer}
    assert [graph.input[0].name, graph.output[0].name] == ["signal", "output"]


def test_answers_are_those_of_the_models_own_loop(exported: Path) -> None:
    model = standins.mixers()
    weights = safetensors.torch.load_file(exported.with_name("w.safetensors"))
    model.load_state_dict(weights)
    windows = np.random.default_rng(1).standard_normal((5, 12, 8)).astype(np.float32)
    with torch.no_grad():
        right = model(torch.from_numpy(windows)).numpy()
    with load_model(exported) as runner:
        got = runner.infer({"signal": windows})["output"]
    np.testing.assert_allclose(got, right, atol=1e-5 * np.abs(right).max())
    manifest = Manifest.load(exported)
    assert manifest.contract is None
    assert manifest.signature is not None
    assert manifest.signature.model == f"{NAME}:mixers"
    assert manifest.signature.batch is None
    assert manifest.verification["checks"][1]["name"] == "SQNR"


def test_verbs_take_it(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(exported)]) == 0
    assert run(["inspect", str(exported), "--json"]) == 0
    assert run(["inspect", str(exported.with_name("mixers.ref.npz"))]) == 0
    assert run(["quantize", str(exported), "--to", "fp16"]) == 0
    report = exported.with_name("parity.json")
    half = exported.with_name("mixers.fp16.onnx")
    assert run(["parity", str(exported), str(half), "--report", str(report)]) == 0
    assert 50 < json.loads(report.read_text())["sqnr_db"] < 90
    assert {n.domain for n in onnx.load(exported.with_name("mixers.trt.onnx")).graph.node} == {"", "mimamba"}
    capsys.readouterr()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(runs=5, least_s=0.0, most_s=0.05, block_s=0.005, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr("mimamba_edge.bench.run.Budget", lambda: budget)


@pytest.mark.usefixtures("quick")
def test_pages_know_no_classes(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half, page = tmp_path / "h.fp16.onnx", tmp_path / "q.html"
    assert run(["quantize", str(exported), "--to", "fp16", "-o", str(half), "--html", str(page)]) == 0
    said = capsys.readouterr().out + page.read_text()
    assert "SQNR of the outputs" in said
    assert not [word for word in ("--data", "same class", "KL", "trials", "logit") if word in said], said
    assert run(["parity", str(exported), str(half)]) == 0
    assert "--data" not in capsys.readouterr().out
    assert run(["bench", str(exported), "--html", str(tmp_path / "b.html")]) == 0
    assert "checkpoint" not in capsys.readouterr().out
    for target in ("cpu", "tensorrt"):
        assert run(["quantize", str(exported), "--to", "int8", "--target", target]) == 2
        assert "models of tensors have no INT8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("weight", "place"),
    [("encoder.1.0.dt_proj.weight", "encoder.1.0"), ("head.bias", "head")],
)
def test_bisect_names_the_users_module(
    exported: Path, tmp_path: Path, weight: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One weight of a copy is spoilt."""
    spoilt, model = tmp_path / "spoilt.onnx", onnx.load(exported)
    tensor = next(
        t for t in model.graph.initializer if t.name == weight or t.name.startswith(place + "/MatMul")
    )
    value = onnx.numpy_helper.to_array(tensor).copy()
    value[...] = value * 1.5 + 0.1
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    onnx.save(model, spoilt)
    manifest = dataclasses.replace(Manifest.load(exported), file=spoilt.name, sha256=sha256_file(spoilt))
    write_manifest(spoilt, manifest)
    shutil.copy(exported.with_name("mixers.ref.npz"), tmp_path / "spoilt.ref.npz")
    held = exported.with_name("mixers.ref.npz.json").read_text()
    (tmp_path / "spoilt.ref.npz.json").write_text(held.replace("mixers.ref", "spoilt.ref"))
    report = tmp_path / "report.json"
    assert run(["parity", str(exported), str(spoilt), "--bisect", "--report", str(report)]) == 1
    first = json.loads(report.read_text())["bisect"]["first"]
    assert first["module"] == place
    assert f"look at {first['node']}" in capsys.readouterr().err


def test_bisect_of_one_batch_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "one.onnx"
    made = export_module(f"{NAME}:one_batch", out, shape="2x6")
    assert "files=[one.onnx, one.trt.onnx, one.ref.npz], sqnr_db=" in repr(made)
    assert repr(made).endswith("scans=0, batch=2)")
    assert run(["parity", str(out), str(out), "--bisect"]) == 0
    assert "all nodes are within their tolerance" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_build_and_its_plan(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT is a fake; names, shapes and the verification are ours."""
    monkeypatch.setenv(engine.VARIABLE, str(exported.with_name("mixers.ref.npz")))
    make_machine(monkeypatch, tmp_path)
    install(monkeypatch, "10.3", run="tests.foreign.engine:answers", children=True)
    plan = tmp_path / "mixers.plan"
    assert run(["build", str(exported.with_name("mixers.trt.onnx")), "-o", str(plan)]) == 0
    manifest = PlanManifest.load(plan)
    assert manifest.contract is None
    assert manifest.signature is not None
    assert [manifest.signature.input.name, manifest.signature.outputs[0].name] == ["signal", "output"]
    assert manifest.verification["passed"]
    assert run(["parity", str(exported), str(plan)]) == 0
    assert run(["inspect", str(plan)]) == 0
    assert run(["bench", str(plan)]) == 0


def test_verbs_of_signals_say_what_is_missing(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = exported.with_name("eeg.csv")
    csv.write_text("timestamps,TP9\n" + "".join(f"{i / 128},{i % 7}\n" for i in range(200)))
    for command in (
        f"stream {exported} --source {csv}",
        f"parity {exported} {exported} --data {csv}",
        f"pack {exported} --host triton -o {exported.parent / 'served'}",
        f"calibrate {exported} --source {csv} -o {exported.parent / 'p.json'}",
        f"check-signal --model {exported} --source {csv}",
    ):
        code = run(command.split())
        error = capsys.readouterr().err
        assert code == 2, command
        assert "Traceback" not in error
        assert "no contract" in error
    with pytest.raises(ContractError, match="has no contract: it is a model of tensors"):
        _ = load_model(exported).contract


def test_a_model_of_one_batch_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "x.npz", np.random.default_rng(0).standard_normal((4, 6)))
    out = tmp_path / "one.onnx"
    command = f"export --model {NAME}:one_batch --input 2x6 --inputs {tmp_path / 'x.npz'} -o {out}"
    assert run(command.split()) == 0
    said = capsys.readouterr().out
    assert "batch 2 only" in said
    assert "weights as the factory made them" in said
    assert run(["inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["custom_ops"] == "none"
    signature = Manifest.load(out).signature
    assert signature is not None
    assert signature.batch == 2
    assert {t.name: str(t) for t in signature.outputs} == {"left": "float32 (b, 4)", "right": "bool (b)"}
    assert run(["bench", str(out)]) == 2
    assert "--batch 2" in capsys.readouterr().err


REFUSED = {
    "none.such:factory --input 1x3": "there is no module none",
    f"{NAME}:absent --input 1x3": "has no absent",
    f"{NAME}:mixer --input 1x3": r"did you mean (\w+ or )?mixers",
    f"{NAME}.py:mixers --input 1x3": rf"leave out \.py: --model {NAME}:mixers",
    f"{NAME} --input 1x3": "package.module:factory",
    f"{NAME}:not_callable --input 1x3": "cannot be called",
    f"{NAME}:raises --input 1x3": r"raises when it is called without arguments\n.*no such dataset",
    f"{NAME}:nothing --input 1x3": "did not return a model",
    f"{NAME}:mixers": rf"--input is missing(.|\n)*export --model {NAME}:mixers --input 1x3x224x224",
    f"{NAME}:mixers --input 1xaxb": "not the shape of an input",
    f"{NAME}:mixers --input 1x4x8:int64": "no nn.Embedding",
    f"{NAME}:mixers --input 1x12x8 --data x.csv": "--channels, --sfreq, --classes are missing",
    f"{NAME}:rejects --input 1x12x8": r"module encoder\.1 raises",
    f"{NAME}:TwoInputs --input 1x12x8": "more than one tensor",
    f"{NAME}:unknown --input 1x12x8": r"module encoder\.1 holds a scan that is not known",
    f"{NAME}:branches --input 1x12": r"module 1 decides by the values",
    f"{NAME}:branches_in_a_function --input 1x12": r"module 1 decides by the values(.|\n)*standins\.py, line",
    f"{NAME}:branches_at_the_top --input 1x12": r"model itself \(Applies\.forward\) decides by the values",
    f"{NAME}:not_in_onnx --input 1x12": r"module 1 does something that torch cannot write(.|\n)*linalg_eig",
    f"{NAME}:noise --input 1x12": "module 1 draws random numbers",
    f"{NAME}:over_the_batch --input 1x12": "depends on the others in its batch",
    f"{NAME}:not_finite --input 1x12": "NaN or infinity",
    f"{NAME}:mixers --input 1x12x8 --weights other.safetensors": (
        r"head\.bias: missing(.|\n)*more: not in the model(.|\n)*head\.weight: got \(2, 2\), expected"
    ),
}


@pytest.mark.parametrize("command", REFUSED, ids=[text.removeprefix(NAME)[:40] for text in REFUSED])
def test_refusals(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    state = {n: v for n, v in standins.mixers().state_dict().items() if n not in ("head.bias", "head.weight")}
    state |= {"more": torch.zeros(1), "head.weight": torch.zeros(2, 2)}
    safetensors.torch.save_file(state, "other.safetensors")
    code = run(f"export --model {command}".split())
    error = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in error
    assert error.startswith("mimamba-edge: "), "torch says more than a user needs"
    assert re.search(REFUSED[command], error), error
    assert not [*tmp_path.glob("*.onnx*")]


def test_models_of_an_old_transformers_are_told_to_upgrade(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="4.57.6"))
    monkeypatch.setattr(standins.Branches, "__module__", "transformers.models.old")
    assert run(f"export --model {NAME}:branches --input 1x12 -o none.onnx".split()) == 2
    error = capsys.readouterr().err
    assert "module 1 decides by the values" in error
    assert "transformers>=5': this is 4.57.6" in error


def test_models_over_two_gigabytes_are_refused() -> None:
    """No memory is taken for them."""
    large = torch.nn.Linear(30_000, 20_000, device="meta")
    with pytest.raises(ConfigError, match=r"600,020,000 parameters, 2\.4 GB(.|\n)*external data"):
        frozen(large, "big:model")


def test_weights_of_others_are_sent_to_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"backbone.layers.0.mixer.D": torch.ones(3)}, tmp_path / "foreign.pt")
    assert run(["export", str(tmp_path / "foreign.pt")]) == 2
    assert "export --model package.module:factory --weights foreign.pt" in capsys.readouterr().err

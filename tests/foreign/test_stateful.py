"""``export --stateful``: a sequence in chunks gives what it gives at once; memory does not grow with time."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge import StatefulRunner, load_model  # noqa: E402
from mimamba_edge.artifact import Manifest  # noqa: E402
from mimamba_edge.errors import ConfigError, ContractError, ExportError, RunnerError  # noqa: E402
from mimamba_edge.export.foreign.inputs import Inputs, Shape  # noqa: E402
from mimamba_edge.export.foreign.stateful import check_chunks, examine  # noqa: E402
from mimamba_edge.export.onnx.targets import check_target, target_named  # noqa: E402
from mimamba_edge.signature import FREE, Signature, State, Tensor  # noqa: E402
from tests.foreign import standins  # noqa: E402
from tests.foreign.test_export import NAME, run  # noqa: E402

STEPS = 140
PATTERNS = {
    "1": [1] * STEPS,
    "7": [7] * 20,
    "64": [64, 64, 12],
    "mixed": [3, 64, 1, 1, 7, 40, 2, 22],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stateful") / "causal.onnx"
    torch.manual_seed(3)
    assert run(f"export --model {NAME}:causal --input 1x20x3 --stateful -o {out}".split()) == 0
    return out


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Two sequences, and what the model's own loops make of them in float64."""
    torch.manual_seed(0)  # as the factory is called
    model = standins.causal().double()
    x = np.random.default_rng(7).standard_normal((2, STEPS, 3)).astype(np.float32)
    with torch.no_grad():
        return x, {name: value.numpy() for name, value in model(torch.from_numpy(x).double()).items()}


def chunks(x: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(x, np.cumsum(lengths)[:-1], axis=1)


def assert_near(got: np.ndarray, right: np.ndarray) -> None:
    assert got.shape == right.shape
    assert np.abs(got - right).max() <= 1e-5 * np.abs(right).max()


@pytest.mark.parametrize("native_ops", [False, True], ids=["bodies", "native where built"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_chunks_give_what_the_whole_gives(exported: Path, whole, pattern: str, native_ops: bool) -> None:
    x, right = whole
    with StatefulRunner(exported, batch=2, native_ops=native_ops) as runner:
        done = [runner.step(chunk) for chunk in chunks(x, PATTERNS[pattern])]
    assert_near(np.concatenate([one["each"] for one in done], axis=1), right["each"])
    assert_near(done[-1]["newest"], right["newest"])


def test_states_can_be_kept_and_brought_back(exported: Path, whole) -> None:
    x, right = (whole[0][:1], whole[1]["each"][:1])
    with StatefulRunner(exported) as runner:
        runner.step(x[:, :50])
        kept = runner.states
        before = {name: value.copy() for name, value in kept.items()}
        runner.step(x[:, 50:90])
        assert all(np.array_equal(kept[name], before[name]) for name in kept)
        runner.states = kept
        assert_near(runner.step(x[:, 50:])["each"], right[:, 50:])
        runner.reset()
        assert_near(runner.step(x)["each"], right)
    with StatefulRunner(exported) as other:
        other.states = kept
        assert_near(other.step(x[:, 50:])["each"], right[:, 50:])


def test_states_stand_in_the_graph_and_in_the_signature(exported: Path) -> None:
    graph = onnx.load(exported).graph
    paths = ["layers.0", "layers.1", "layers.2", "layers.2.scan"]
    kinds = [("conv_state", (8, 2)), ("ssm_state", (8, 4))] * 2
    want = [(path, *kind) for path, kind in zip(["layers.0"] * 2 + ["layers.1"] * 2, kinds, strict=True)]
    want += [(paths[2], "conv_state", (8, 3)), (paths[3], "ssm_state", (8, 4))]
    signature = Manifest.load(exported).signature
    assert signature is not None
    assert signature.states == tuple(State(f"{p}.{k}", f"{p}.last_{k}", s) for p, k, s in want)
    assert str(signature.input) == "float32 (b, l, 3)"
    assert [t.shape for t in signature.outputs] == [(FREE, 2), (8,)]
    assert [i.name for i in graph.input] == ["x", *(state.input for state in signature.states)]
    assert [o.name for o in graph.output] == [
        "each",
        "newest",
        *(state.output for state in signature.states),
    ]
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input]
    assert sizes[0] == ["batch", "length", 3]
    assert sizes[2] == ["batch", 8, 4]
    assert [n.op_type for n in graph.node].count("SelectiveScan") == 3
    assert not [n.name for n in graph.node if n.name.startswith("_")]


def test_other_verbs_take_it(exported: Path, whole, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(exported)]) == 0
    assert "layers.0.conv_state" in capsys.readouterr().out
    assert run(["quantize", str(exported), "--to", "fp16"]) == 0
    half = exported.with_name("causal.fp16.onnx")
    report = exported.with_name("parity.json")
    assert run(["parity", str(exported), str(half), "--bisect", "--report", str(report)]) == 0
    assert 50 < json.loads(report.read_text())["sqnr_db"] < 90
    kinds = {
        v.type.tensor_type.elem_type for v in (*onnx.load(half).graph.input, *onnx.load(half).graph.output)
    }
    assert kinds == {onnx.TensorProto.FLOAT}
    x, right = whole
    with StatefulRunner(half, batch=2) as runner:
        got = np.concatenate([runner.step(chunk)["each"] for chunk in chunks(x, PATTERNS["7"])], axis=1)
    assert np.abs(got - right["each"]).max() <= 1e-2 * np.abs(right["each"]).max()
    assert run(["build", str(exported)]) == 2
    assert "is stateful: build makes engines of one input" in capsys.readouterr().err


def test_a_plain_runner_starts_each_batch_from_zeros(exported: Path, whole) -> None:
    x, right = whole
    with load_model(exported) as runner:
        for _ in range(2):
            assert_near(runner.infer({"x": x})["each"], right["each"])


def test_the_plugins_take_its_states(exported: Path) -> None:
    model = onnx.load(exported.with_name("causal.trt.onnx"))
    found = check_target(model, target_named("tensorrt-10.3"))
    assert [(one.node, one.op, one.judged) for one in found] == [("x", "input", True)]
    scans = [node for node in model.graph.node if node.op_type == "SelectiveScan"]
    inputs = {v.name for v in model.graph.input}
    outputs = {v.name for v in model.graph.output}
    assert all(scan.input[7] in inputs and scan.output[1] in outputs for scan in scans)


_STEPS = """
import sys
from pathlib import Path
import numpy as np
from mimamba_edge import StatefulRunner

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

x = np.random.default_rng(0).standard_normal((1, 7, 3)).astype(np.float32)
with StatefulRunner(sys.argv[1], threads=1) as runner:
    for index in range(7_000):
        if index == 1000:
            before = resident()
        runner.step(x[:, : 1 + index % 7])
    print(resident() - before)
"""


def test_memory_stays_as_it_is(exported: Path) -> None:
    """In a process of its own: what other tests left in this one may grow meanwhile."""
    if not Path("/proc/self/statm").is_file():
        pytest.skip("needs /proc/self/statm, which Linux has")
    done = subprocess.run([sys.executable, "-c", _STEPS, exported], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1 << 19


def test_steps_that_do_not_fit(exported: Path) -> None:
    good = np.zeros((1, 3, 3), np.float32)
    with StatefulRunner(exported) as runner:
        start = runner.step(good)
        runner.reset()
        for chunk in (good[:, :0], good[:, :, :2], good[0], good.astype(np.float64)):
            with pytest.raises(RunnerError, match=r"do not fit the model(.|\n)*\(b, l, 3\), b >= 1, l >= 1"):
                runner.step(chunk)
        with pytest.raises(RunnerError, match=r"got: +batch 2\n +expected: +batch 1"):
            runner.step(np.zeros((2, 3, 3), np.float32))
        states = runner.states
        states["layers.1.ssm_state"] = states["layers.1.ssm_state"][:, :3]
        message = r"the state layers\.1\.ssm_state does not fit(.|\n)*\(1, 3, 4\)(.|\n)*\(1, 8, 4\)"
        with pytest.raises(RunnerError, match=message):
            runner.states = states
        del states["layers.1.ssm_state"]
        with pytest.raises(RunnerError, match=r"without \['layers\.1\.ssm_state'\]"):
            runner.states = states
        assert np.array_equal(runner.step(good)["each"], start["each"])
    with pytest.raises(RunnerError, match="use the runner in a `with` block"):
        runner.step(good)


def test_a_file_without_states_is_refused(exported: Path, tmp_path: Path) -> None:
    from tests.modelfiles import write_model

    write_model(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=r"m\.onnx has no states"):
        StatefulRunner(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="does not take this batch"):
        StatefulRunner(exported, batch=0)


def inputs(*shape: int) -> Inputs:
    data = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    return Inputs(Shape(1, shape), data, "", "random")


WHERE = {
    "both ways": r"module tail looks at more than the past",
    "attention": r"module tail\.attend looks at more",
    "centred convolution": r"module tail\.layer looks at more",
    "norm over time": r"module tail\.layer looks at more",
    "mean over time": r"module tail looks at more",
    "positions": r"module tail looks at more",
    "few positions": r"module tail raises(.|\n)*any number of steps",
}


@pytest.mark.parametrize("kind", standins.LOOK_ELSEWHERE)
def test_models_that_look_elsewhere_are_refused(kind: str) -> None:
    torch.manual_seed(0)
    model = standins.Causal(standins.LOOK_ELSEWHERE[kind](), layers=1).eval()
    with pytest.raises(ExportError, match=WHERE[kind]):
        examine(model, inputs(12, 3))
    assert torch.nn.functional.conv1d.__module__ != "mimamba_edge.export.capture.carried"


def test_models_whose_scans_run_over_something_else_are_refused() -> None:
    class EverySecond(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, ::2]

    with pytest.raises(ExportError, match="no selective scan"):
        examine(torch.nn.Linear(3, 3), inputs(12, 3))
    pooled = torch.nn.Sequential(EverySecond(), standins.Causal(layers=1))
    with pytest.raises(ExportError, match=r"no axis of the input is the time(.|\n)*layers\.0: 6"):
        examine(pooled, inputs(12, 3))
    thinned = torch.nn.Sequential(torch.nn.Linear(3, 8), standins.Mixer(), EverySecond())
    with pytest.raises(ExportError, match=r"own forward|module 2|of another length"):
        examine(thinned, inputs(12, 3))


def test_refused_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.onnx"
    eeg = "--input 1x2x12 --sfreq 9 --channels A,B --classes x,y"
    commands = {
        f"export --model {NAME}:both_ways --input 1x12x3": "module tail looks at more than the past",
        f"export --model {NAME}:causal {eeg}": r"\[--stateful\]",
        f"export {tmp_path}/ckpt.pt": r"\[--stateful\]",
    }
    for command, text in commands.items():
        assert run(f"{command} --stateful -o {out}".split()) == 2
        error = capsys.readouterr().err
        assert re.search(text, error), error
        assert "Traceback" not in error
    assert not [*tmp_path.iterdir()]


def test_a_file_that_differs_in_chunks_is_not_published(exported: Path) -> None:
    torch.manual_seed(0)
    model = standins.causal().eval()
    found = examine(model, inputs(12, 3))
    with torch.no_grad():
        right = [value.numpy() for value in model(torch.from_numpy(found.sequence)).values()]
    assert check_chunks(exported, found, right).passed
    assert not check_chunks(exported, found, [right[0] + 1e-3, right[1]]).passed
    assert not check_chunks(exported, found, [right[0], right[1] + 1e-3]).passed


def test_signatures_with_states() -> None:
    given = Tensor("x", "float32", (FREE, 3))
    plain = Signature(Tensor("x", "float32", (4, 3)), (Tensor("y", "float32", (2,)),))
    assert "states" not in plain.to_dict()
    held = dataclasses.replace(plain, input=given, states=(State("s", "last_s", (2, 2)),))
    assert Signature.from_json(held.to_json()) == held
    for change, text in (
        ({"states": ()}, "one size must be -1"),
        ({"input": plain.input}, "one size must be -1"),
        ({"states": (State("s", "s", (2, 2)),)}, "distinct"),
        ({"states": (State("s", "y", (2, 2)),)}, "distinct"),
        ({"states": (State("s", "t", (2, FREE)),)}, "sizes must be positive"),
        ({"input": Tensor("x", "float32", (FREE, FREE))}, "one size must be -1"),
        ({"input": Tensor("x", "float32", (FREE, 0))}, "sizes must be positive"),
    ):
        with pytest.raises(ContractError, match=text):
            dataclasses.replace(held, **change)

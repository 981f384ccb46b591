"""doctor on the plugins of TensorRT: an engine of one node runs, and what each way to fail is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.contract import FIELDS, OPS
from mimamba_edge.doctor import tensorrt_ops
from mimamba_edge.machine import discrete
from mimamba_edge.runtime.probe_process import Answer
from mimamba_edge.trt import plugin_probe
from mimamba_edge.trt.one_node import one_node
from tests.machine import boards
from tests.trt.machine import H200, ORIN, make_machine, write_plugin

pytest.importorskip("onnx", reason="the fake parser needs onnx: pip install 'mimamba-edge[export]'")


@pytest.mark.parametrize("op", OPS)
def test_the_file_is_one_node_that_gives_what_it_says(op: str) -> None:
    import onnx

    from mimamba_edge.export.onnx.plugin_shapes import plugin_faults
    from tests.onnx.plugin_nodes import evaluate

    node = one_node(op)
    model = onnx.load_from_string(node.onnx())
    (made,) = model.graph.node
    given = {a.name: onnx.helper.get_attribute_value(a) for a in made.attribute}
    assert set(given) == {*FIELDS[op], "plugin_namespace", "plugin_version"}
    assert (made.op_type, made.domain, given["plugin_namespace"]) == (op, "mimamba", b"mimamba")
    assert {one.domain: one.version for one in model.opset_import} == {"": 18, "mimamba": OPS[op]}
    assert [tuple(d.dim_value for d in one.type.tensor_type.shape.dim) for one in model.graph.input] == [
        array.shape for array in node.inputs.values()
    ]
    (first, *_) = node.outputs.values()
    np.testing.assert_allclose(evaluate(model, dict(node.inputs)), first, rtol=1e-5, atol=1e-6)
    # Read from the beginning of its rows, B would be another.
    assert op != "SelectiveScan" or given["B_offset"] > 0
    shapes = ([list(array.shape) for array in arrays.values()] for arrays in (node.inputs, node.outputs))
    assert list(plugin_faults(op, node.attributes, *shapes)) == []


def _model(change: float = 0.0) -> Any:
    """Return what every engine of the fake computes: the right answer of whichever op it is fed."""

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        node = next(one for one in map(one_node, OPS) if set(one.inputs) == set(inputs))
        assert all(np.array_equal(node.inputs[name], inputs[name]) for name in inputs)
        return {name: (1 + change) * value for name, value in node.outputs.items()}

    return run


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that makes a machine of fakes whose plugins are right, or off by a share."""

    def make(flavour: str = "10.3", device: Any = ORIN, change: float = 0.0) -> Any:
        world = make_machine(monkeypatch, tmp_path, flavour, device)
        world.model = _model(change)
        # In this process, so that the fakes are seen.
        attempt = plugin_probe.attempt
        monkeypatch.setattr(
            plugin_probe,
            "probe",
            lambda ops: {op: Answer(told, "", "") for op, told in zip(ops, attempt(ops), strict=True)},
        )
        return world

    return make


@pytest.mark.parametrize(("flavour", "device"), [("10.3", ORIN), ("11", ORIN), ("10.3", H200)])
def test_plugins_that_are_right(machine: Any, tmp_path: Path, flavour: str, device: Any) -> None:
    world = machine(flavour, device)
    scan, block = tensorrt_ops.ops(boards.orin_nano(tmp_path / "nano"))
    assert (scan.name, block.name) == ("SelectiveScan", "MultiScaleTemporalBlock")
    assert scan.state == block.state == "ok"
    assert scan.value.startswith(f"by TensorRT {world.version}: right (largest error ")
    assert world.builds == 2
    assert world.cuda.violations == []
    assert not world.cuda.blocks


def test_wrong_numbers_are_wrong_by_how_much(machine: Any, tmp_path: Path) -> None:
    machine(change=0.25)
    scan, _ = tensorrt_ops.ops(boards.orin_nano(tmp_path / "nano"))
    assert scan.state == "wrong"
    assert "off by 2.5e-01 of the largest value (bound 0.001)" in scan.value
    assert scan.remedy.startswith("mimamba-edge plugin build --arch 87;")


def test_an_output_that_is_not_written_is_not_right(machine: Any, tmp_path: Path) -> None:
    world = machine()
    world.model = lambda inputs: dict.fromkeys(("y", "last_state"), np.nan)
    scan, _ = tensorrt_ops.ops(boards.orin_nano(tmp_path / "nano"))
    assert (scan.state, "not all of them finite" in scan.value) == ("wrong", True)


@pytest.mark.parametrize("fault", ["build_serialized_network", "deserialize", "execute_async_v3"])
def test_what_tensorrt_says_stands_in_the_line(machine: Any, tmp_path: Path, fault: str) -> None:
    world = machine()
    world.faults.add(fault)
    scan, block = tensorrt_ops.ops(boards.orin_nano(tmp_path / "nano"))
    assert (scan.state, block.state) == ("wrong", "ok")
    assert "Error Code" in scan.value
    assert "mimamba-edge plugin build --arch 87" in scan.remedy
    assert not world.cuda.blocks


def test_no_library_for_this_gpu_is_a_warning_with_its_command(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    monkeypatch.delenv("MIMAMBA_PLUGIN")
    nano = boards.orin_nano(tmp_path / "nano")
    for library in (False, True):
        if library:
            folder = tmp_path / "cache" / "plugin" / "one"
            folder.mkdir(parents=True)
            write_plugin(folder / "libmimamba_plugin.so", architectures=[110])
        for finding in tensorrt_ops.ops(nano):
            assert finding.state == "warning"
            assert "not tried, no usable plugin library was found" in finding.value
            assert ("has no code for this GPU" in finding.value) is library
            assert finding.remedy == "mimamba-edge plugin build --arch 87"


def test_a_driver_that_is_too_old_is_no_fault_of_the_plugin(machine: Any, tmp_path: Path) -> None:
    machine(device=replace(ORIN, driver=12060, runtime=13000))
    for finding in tensorrt_ops.ops(boards.orin_nano(tmp_path / "nano")):
        assert finding.state == "warning"
        assert "not tried, the NVIDIA driver is too old for this cuda-bindings" in finding.value
        assert finding.remedy == 'pip install "cuda-bindings==12.*", or update the driver'


def test_without_a_gpu_nothing_is_tried(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = machine()
    monkeypatch.setattr(discrete, "gpus", lambda: [])
    monkeypatch.setattr("mimamba_edge.machine.gpu.gpus", lambda: [])
    found = list(tensorrt_ops.ops(boards.laptop(tmp_path / "x86")))
    assert {(f.state, f.value, f.remedy) for f in found} == {
        ("ok", f"by TensorRT {world.version}: not tried, there is no GPU", "")
    }
    assert len(found) == 2
    monkeypatch.setattr(tensorrt_ops, "import_version", lambda name: (None, "not installed"))
    assert list(tensorrt_ops.ops(boards.orin_nano(tmp_path / "nano"))) == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended the process (exit -11, SIGSEGV)"),
        (
            "import sys; print('[ERROR] no kernel image', file=sys.stderr); sys.exit(3)",
            "ended the process (exit 3): [ERROR] no kernel image",
        ),
    ],
)
def test_a_crash_is_a_line_of_doctor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, told: str
) -> None:
    monkeypatch.setattr(plugin_probe, "COMMAND", [sys.executable, "-I", "-S", "-c", code])
    monkeypatch.setattr(tensorrt_ops, "import_version", lambda name: ("10.3.0", ""))
    found = list(tensorrt_ops.ops(boards.orin_nano(tmp_path)))
    assert [f.state for f in found] == ["wrong", "wrong"]
    assert all(told in f.value and "plugin build --arch 87" in f.remedy for f in found)


def test_the_child_answers_whatever_else_is_printed(tmp_path: Path) -> None:
    # A TensorRT that prints and then lacks a library, as one of another JetPack does.
    package = tmp_path / "tensorrt"
    package.mkdir()
    (package / "__init__.py").write_text(
        "print('hello')\nraise ImportError('libnvinfer.so.10: no such file')\n"
    )
    command = [*plugin_probe.COMMAND, *OPS]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    told, again = map(json.loads, done.stdout.splitlines())
    assert (told["kind"], told["what"]) == ("DependencyError", "TensorRT cannot be imported")
    assert "libnvinfer.so.10" in told["got"]
    assert again == told
    # TensorRT takes seconds to start on a board: once for all ops.
    assert done.stderr.count("hello") == 1

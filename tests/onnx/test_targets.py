"""The static checker for TensorRT: files of ours that fit, and one planted fault for every rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from mimamba_edge import inspection  # noqa: E402
from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.errors import ConfigError  # noqa: E402
from mimamba_edge.export.onnx.functions import without_functions  # noqa: E402
from mimamba_edge.export.onnx.targets import TARGETS, check_target, target_named  # noqa: E402
from tests.fakes.tensorrt import FLAVOURS  # noqa: E402
from tests.fakes.world import World  # noqa: E402
from tests.trt.machine import make_machine  # noqa: E402

T = TensorProto
ALL = tuple(TARGETS)


def found(model, target: str):
    return [(f.node, f.reason) for f in check_target(model, target_named(target))]


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.parametrize("target", ALL)
def test_what_export_writes_for_tensorrt_fits(exported, exported_both_ways, target) -> None:
    for path in (exported, exported_both_ways):
        assert found(onnx.load(path.with_name(path.name.replace(".onnx", ".trt.onnx"))), target) == []


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.parametrize("target", ALL)
def test_files_of_lower_precision_fit(exported, target) -> None:
    from mimamba_edge.export.quantize.fp16 import to_fp16
    from mimamba_edge.export.quantize.int8_tensorrt import linear_inputs, to_int8_tensorrt
    from mimamba_edge.export.quantize.ranges import Range

    model = onnx.load(exported)
    quantised = to_int8_tensorrt(model, dict.fromkeys(linear_inputs(model), Range(-3.0, 3.0)))
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in quantised.graph.node}
    for lower in (to_fp16(model), quantised):
        assert found(without_functions(lower), target) == []


def _reference():
    from mimamba_edge.load import builtin_model

    return onnx.load(builtin_model())


@pytest.mark.torch
def test_the_portable_form_does_not_fit_and_each_version_says_why() -> None:
    model, ours = _reference(), {"MultiScaleTemporalBlock", "SelectiveScan"}
    custom = [node.name for node in model.graph.node if node.op_type in ours]
    for target in ALL:
        reasons = found(model, target)
        assert [node for node, _ in reasons] == custom
        assert all("its body is still in the file" in reason for _, reason in reasons)
    # From 10.7 on the namespace brings the plugin before the body.
    named = without_functions(model)
    named.functions.extend(model.functions)
    assert [node for node, _ in found(named, "tensorrt-10.3")] == custom
    for target in ALL[1:]:
        assert found(named, target) == []


def _value(name: str, shape=("batch", 4, 8), kind=T.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _const(name: str, value, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def graph(*nodes, weights=(), inputs=None, outputs=(("y", T.FLOAT),), opset=17, infos=(), functions=()):
    """A model of nodes from x to y, with an innocent Relu before and a MatMul beside them."""
    inputs = [_value("x")] if inputs is None else inputs
    around = [
        helper.make_node("Relu", ["x"], ["warm"], name="innocent"),
        helper.make_node("MatMul", ["x", "w"], ["beside"], name="innocent too"),
    ]
    around = around if inputs and inputs[0].type.tensor_type.elem_type == T.FLOAT else []
    made = helper.make_graph(
        [*around, *nodes],
        "planted",
        inputs,
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [_const("w", np.ones((8, 8)), np.float32), *weights],
        value_info=infos,
    )
    opsets = [
        helper.make_opsetid("", opset),
        helper.make_opsetid("mimamba", 1),
        helper.make_opsetid("acme", 1),
    ]
    return helper.make_model(made, opset_imports=opsets, ir_version=10, functions=functions)


def node(op: str, inputs=("warm",), outputs=("y",), **attributes):
    return helper.make_node(op, list(inputs), list(outputs), name="culprit", **attributes)


def before(op: str, inputs, outputs, **attributes):
    return helper.make_node(op, list(inputs), list(outputs), name=f"before {op}", **attributes)


def test_a_graph_without_faults_fits_everywhere() -> None:
    shape = [
        before("Shape", ["warm"], ["shape"]),
        before("Gather", ["shape", "zero"], ["batch"]),
        before("Concat", ["batch", "rest"], ["new"], axis=0),
    ]
    weights = [_const("zero", [0]), _const("rest", [32])]
    model = graph(*shape, node("Reshape", ["warm", "new"]), weights=weights)
    for target in ALL:
        assert found(model, target) == []


_SCAN = {"has_z": 0, "delta_softplus": 1, "reverse": 0, "return_last_state": 0}
_NAMED = {"plugin_namespace": "mimamba", "plugin_version": "1"}
_INPUTS = ["warm"] * 8


def scan(**changes):
    attributes = {k: v for k, v in {**_SCAN, **_NAMED, **changes}.items() if v is not None}
    return node("SelectiveScan", changes.pop("inputs", _INPUTS), domain="mimamba", **attributes)


def _with_inputs(inputs):
    return node("SelectiveScan", inputs, domain="mimamba", **_SCAN, **_NAMED)


def _quantised(zero, kind=np.int8, scale=0.1, axis=None, data="warm", op="QuantizeLinear"):
    attributes = {} if axis is None else {"axis": axis}
    weights = [_const("scale", scale, np.float32)]
    inputs = [data, "scale"]
    if zero is not None:
        weights.append(_const("zero", zero, kind))
        inputs.append("zero")
    return graph(node(op, inputs, **attributes), weights=weights)


def _in_if():
    branch = helper.make_graph([scan()], "branch", [], [_value("y", None)])
    other = helper.make_graph([before("Identity", ["warm"], ["z"])], "other", [], [_value("z", None)])
    outer = helper.make_node("If", ["yes"], ["y"], name="outer", then_branch=branch, else_branch=other)
    return graph(outer, weights=[_const("yes", True, bool)])


def _body(name: str, domain: str, *nodes):
    return helper.make_function(domain, name, ["a"], ["b"], list(nodes), [helper.make_opsetid("", 17)])


def _foreign_body(*nodes):
    return graph(
        helper.make_node("Gate", ["warm"], ["y"], name="call", domain="acme"),
        functions=[_body("Gate", "acme", *nodes)],
    )


_FAULTS = {
    "op": (graph(node("DFT", ["warm"])), ALL, "culprit", "not supported"),
    "op of 10.4": (
        graph(node("HannWindow", ["n"]), weights=[_const("n", 8)]),
        ALL[:1],
        "culprit",
        "not supported",
    ),
    "op of 11": (graph(node("Swish"), opset=24), ALL[:3], "culprit", "not supported"),
    "newer definition": (
        graph(node("Cast", to=T.FLOAT16), outputs=[("y", T.FLOAT16)], opset=21),
        ALL[:1],
        "culprit",
        "as opset 21 defines it",
    ),
    "input": (
        graph(node("Cast", ["x"], to=T.FLOAT), inputs=[_value("x", (1, 4), T.UINT16)]),
        ALL,
        None,
        "UINT16 is not supported",
    ),
    "uint16": (graph(node("Cast", to=T.UINT16), outputs=[("y", T.UINT16)]), ALL, "culprit", "has no UINT16"),
    "zero point": (_quantised(3), ALL, "culprit", "must be 0"),
    "uint8 zero point": (_quantised(0, np.uint8), ALL, "culprit", "UINT8"),
    "int16 zero point": (_quantised(0, np.int16), ALL, "culprit", "INT16"),
    "negative scale": (_quantised(0, scale=-0.1), ALL, "culprit", "positive"),
    "scales of activations": (
        _quantised([0] * 4, scale=[0.1] * 4, axis=1),
        ALL,
        "culprit",
        "not for activations",
    ),
    "computed zero point": (
        graph(
            before("Cast", ["warm"], ["whole"], to=T.INT8),
            node("QuantizeLinear", ["warm", "s", "whole"]),
            weights=[_const("s", 0.1, np.float32)],
        ),
        ALL,
        "culprit",
        "zero points must be constants",
    ),
    "no axis": (_quantised([0] * 8, scale=[0.1] * 8, data="w"), ALL, "culprit", "taken for axis 0"),
    "plugin in a branch": (_in_if(), ALL, "outer/culprit", "a plugin inside If"),
    "no namespace": (graph(scan(plugin_namespace=None)), ALL[:1], "culprit", "in no namespace"),
    "namespace": (graph(scan(plugin_namespace="acme")), ALL, "culprit", "is acme, not mimamba"),
    "plugin version": (graph(scan(plugin_version="2")), ALL, "culprit", "plugin_version is 2"),
    "no field": (graph(scan(chunk=4)), ALL, "culprit", "dropped: chunk"),
    "field missing": (graph(scan(reverse=None)), ALL, "culprit", "missing: reverse"),
    "empty name": (graph(_with_inputs([*_INPUTS[:7], ""])), ALL, "culprit", "empty name"),
    "plugin of whole numbers": (
        graph(before("Shape", ["warm"], ["s"]), _with_inputs([*_INPUTS[:7], "s"])),
        ALL,
        "culprit",
        "INT64 is not supported",
    ),
    "other plugin": (graph(node("Conv2dGate", domain="acme")), ALL, "culprit", "nor one of the plugins"),
    "other op of ours": (graph(node("Scan2", domain="mimamba")), ALL, "culprit", "nor one of the plugins"),
    "inside a body": (_foreign_body(node("DFT", ["a"], ["b"])), ALL, "call/culprit", "not supported"),
    "open axis": (
        graph(node("Relu"), inputs=[_value("x", ("batch", 4, "time"))]),
        ALL,
        "x",
        "axis 2 is open",
    ),
    "old opset": (graph(node("Relu"), opset=8), ALL, "planted", "opset 8"),
}


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("fault", _FAULTS)
def test_the_planted_fault_is_found_where_it_is_one_and_nothing_else(fault, target) -> None:
    model, targets, name, reason = _FAULTS[fault]
    model = _copied(model)
    got = found(model, target)
    if target in targets:
        assert name is None or [n for n, _ in got if n != name] == []
        assert any(reason in why for _, why in got), got
    else:
        assert [why for _, why in got if reason in why] == []


def _copied(model):
    """A copy, so that no test sees what another did."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def test_every_finding_says_where_it_stands() -> None:
    for model, targets, *_ in _FAULTS.values():
        for finding in check_target(model, TARGETS[targets[0]]):
            assert finding.source
            assert finding.op


def test_unknown_targets_are_named() -> None:
    with pytest.raises(ConfigError, match=r"tensorrt-10\.13"):
        target_named("tensorrt-9")


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: object) -> tuple[int, str, str]:
        try:
            main([str(word) for word in words])
            code: int | str | None = 0
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return int(code or 0), out, err

    path, other = tmp_path / "a.onnx", tmp_path / "b.txt"

    def save(model: onnx.ModelProto) -> None:
        for value in model.graph.output:  # onnx.checker wants a shape there
            value.type.tensor_type.shape.dim.add().dim_param = "n"
        onnx.save(model, path)

    save(_FAULTS["op"][0])
    code, out, err = run("inspect", path, "--target", "tensorrt-10.3")
    assert code == 1
    assert all(word in out for word in ("culprit", "DFT", "not supported", "docs/operators.md"))
    assert "does not fit tensorrt-10.3" in err
    code, out, _ = run("inspect", path, "--target", "tensorrt-11", "--json")
    assert code == 1
    assert json.loads(out)["fits"] is False
    assert json.loads(out)["findings"][0]["node"] == "culprit"
    save(graph(node("Relu")))
    code, out, _ = run("inspect", path, "--target", "tensorrt-10.13")
    assert code == 0
    assert "fits tensorrt-10.13" in out
    assert "own parser: not asked: " in out
    path.write_bytes(b"")
    for words in (
        (path, "tensorrt-11"),
        (other, "tensorrt-11"),
        (tmp_path / "none.onnx", "tensorrt-11"),
        (path, "x"),
    ):
        assert run("inspect", words[0], "--target", words[1])[0] == 2


@pytest.fixture(params=FLAVOURS)
def machine(request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A TensorRT of a target, with a plugin library that it can load."""
    return make_machine(monkeypatch, tmp_path, request.param)


def _judged(model, path: Path, target: str):
    onnx.save(model, path)
    return inspection.check_target(path, target)


def test_an_installed_tensorrt_is_asked_about_its_own_target(machine: World, tmp_path: Path) -> None:
    mine, other = ("tensorrt-10.3", "tensorrt-11")[:: 1 if machine.flavour == "10.3" else -1]
    path = tmp_path / "a.onnx"
    assert _judged(graph(scan()), path, mine) == ([], "asked")
    assert _judged(graph(scan()), path, other) == ([], f"not asked: TensorRT {machine.version} is installed")
    findings, asked = _judged(graph(scan(plugin_version="2")), path, mine)
    assert asked == "asked"
    assert [f["node"] for f in findings] == ["culprit", "culprit"]
    assert "plugin_version is 2" in findings[0]["reason"]
    assert "Plugin not found" in findings[1]["reason"]
    assert findings[1]["source"] == f"parser of TensorRT {machine.version}"
    machine.faults.add("createInferBuilder")
    findings, asked = _judged(graph(node("Relu")), path, mine)
    assert (findings, asked) == ([], "not asked: TensorRT cannot start its builder")


def test_without_a_plugin_library_the_parser_is_not_asked_about_our_ops(
    machine: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(tmp_path / "none.so"))
    target = f"tensorrt-{machine.flavour}"
    assert _judged(graph(node("Relu")), tmp_path / "a.onnx", target) == ([], "asked")
    findings, asked = _judged(graph(scan()), tmp_path / "a.onnx", target)
    assert findings == []
    assert asked.startswith("not asked: the plugin library")

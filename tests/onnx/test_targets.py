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
from mimamba_edge.export.onnx.targets import TARGETS, check_target, target_named  # noqa: E402
from mimamba_edge.export.onnx.tensorrt import tensorrt_form  # noqa: E402
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
        assert found(tensorrt_form(lower), target) == []


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
    named = tensorrt_form(model)
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
_SCAN |= {"groups": 2, "B_offset": 2, "C_offset": 0, "z_offset": 0}
_NAMED = {"plugin_namespace": "mimamba", "plugin_version": "1"}
_INPUTS = ["warm", "warm", "A", "warm", "warm", "D", "D", "state"]  # l 4, d 8, n 3; B and C 8 numbers wide
_PARAMETERS = [_const("A", np.ones((8, 3)), np.float32), _const("D", np.ones(8), np.float32)]
_PARAMETERS.append(_const("state", np.zeros((1, 8, 3)), np.float32))
_BLOCK = {
    "top_k": 2,
    "min_bin": 1,
    "max_bin": 0,
    "weighting": 0,
    "amplitude_scale": 1.0,
    "period_rule": 0,
    "channel_first": 1,
}
_KERNELS = [_const("w1", np.ones((5, 4, 3, 3)), np.float32), _const("b1", np.ones(5), np.float32)]
_KERNELS += [_const("w2", np.ones((4, 5, 3, 3)), np.float32), _const("b2", np.ones(4), np.float32)]


def scan(**changes):
    attributes = {k: v for k, v in {**_SCAN, **_NAMED, **changes}.items() if v is not None}
    return node("SelectiveScan", _INPUTS, domain="mimamba", **attributes)


def _with_inputs(inputs, **changes):
    return node("SelectiveScan", inputs, domain="mimamba", **{**_SCAN, **_NAMED, **changes})


def _scan_graph(**changes):
    return graph(scan(**changes), weights=_PARAMETERS)


def _gated(**changes):
    """A scan that reads its gate from rows of eight."""
    return graph(_with_inputs([*_INPUTS, "warm"], has_z=1, **changes), weights=_PARAMETERS)


def _block(**changes):
    """A block whose window is (4, 8), channel-first."""
    attributes = {k: v for k, v in {**_BLOCK, **_NAMED, **changes}.items() if v is not None}
    made = node("MultiScaleTemporalBlock", ["warm", "w1", "b1", "w2", "b2"], domain="mimamba", **attributes)
    return graph(made, weights=_KERNELS)


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("model", [_scan_graph(), _gated(), _block()])
def test_our_nodes_alone_fit(model, target) -> None:
    assert found(_copied(model), target) == []


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
    return graph(outer, weights=[_const("yes", True, bool), *_PARAMETERS])


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
    "no namespace": (_scan_graph(plugin_namespace=None), ALL[:1], "culprit", "in no namespace"),
    "namespace": (_scan_graph(plugin_namespace="acme"), ALL, "culprit", "is acme, not mimamba"),
    "plugin version": (_scan_graph(plugin_version="2"), ALL, "culprit", "plugin_version is 2"),
    "no field": (_scan_graph(chunk=4), ALL, "culprit", "dropped: chunk"),
    "field missing": (_scan_graph(reverse=None), ALL, "culprit", "missing: reverse"),
    "old file": (
        _scan_graph(groups=None, B_offset=None, C_offset=None, z_offset=None),
        ALL,
        "culprit",
        "missing: B_offset, C_offset, groups, z_offset; export the model again",
    ),
    "negative offset": (_scan_graph(C_offset=-1), ALL, "culprit", "C_offset is -1"),
    "no groups": (_scan_graph(groups=0), ALL, "culprit", "groups is 0"),
    "groups that do not divide d": (
        _scan_graph(groups=3, B_offset=0),
        ALL,
        "culprit",
        "does not divide d, 8",
    ),
    "offset of no z": (_scan_graph(z_offset=4), ALL, "culprit", "there is no z"),
    "B past its rows": (
        _scan_graph(B_offset=3),
        ALL,
        "culprit",
        "rows of B hold 8 numbers, and B would be 3 to 9",
    ),
    "C past its rows": (_scan_graph(C_offset=5), ALL, "culprit", "rows of C hold 8"),
    "z past its rows": (_gated(z_offset=1), ALL, "culprit", "rows of z hold 8"),
    "z that the attributes do not know": (
        graph(_with_inputs([*_INPUTS, "warm"]), weights=_PARAMETERS),
        ALL,
        "culprit",
        "9 inputs; with these attributes the plugin has 8",
    ),
    "B with an axis for groups": (
        graph(
            before("Unsqueeze", ["warm", "two"], ["B"]),
            _with_inputs([*_INPUTS[:3], "B", *_INPUTS[4:]]),
            weights=[*_PARAMETERS, _const("two", [2])],
        ),
        ALL,
        "culprit",
        "B has 4 axes; the plugin wants 3",
    ),
    "A for another d": (
        graph(
            _with_inputs([*_INPUTS[:2], "other", *_INPUTS[3:]]),
            weights=[*_PARAMETERS, _const("other", np.ones((7, 3)), np.float32)],
        ),
        ALL,
        "culprit",
        "axis d of A is 7, and 8 elsewhere",
    ),
    "channel-last window": (_block(channel_first=0), ALL, "culprit", "is 4, and 8 elsewhere"),
    "period_rule": (_block(period_rule=2), ALL, "culprit", "period_rule is 2"),
    "channel_first": (_block(channel_first=2), ALL, "culprit", "channel_first is 2"),
    "block of an older file": (_block(channel_first=None), ALL, "culprit", "missing: channel_first"),
    "empty name": (
        graph(_with_inputs([*_INPUTS[:7], ""]), weights=_PARAMETERS),
        ALL,
        "culprit",
        "empty name",
    ),
    "plugin of whole numbers": (
        graph(before("Shape", ["warm"], ["s"]), _with_inputs([*_INPUTS[:7], "s"]), weights=_PARAMETERS),
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
    assert _judged(_scan_graph(), path, mine) == ([], "asked")
    assert _judged(_scan_graph(), path, other) == ([], f"not asked: TensorRT {machine.version} is installed")
    findings, asked = _judged(_scan_graph(plugin_version="2"), path, mine)
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
    findings, asked = _judged(_scan_graph(), tmp_path / "a.onnx", target)
    assert findings == []
    assert asked.startswith("not asked: the plugin library")

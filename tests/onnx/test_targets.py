"""The static checker for TensorRT: files of ours that fit, and one planted fault for every rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from mimamba_edge.cli import main  # noqa: E402
from mimamba_edge.errors import ConfigError  # noqa: E402
from mimamba_edge.export.onnx.functions import without_functions  # noqa: E402
from mimamba_edge.export.onnx.targets import TARGETS, check_target, target_named  # noqa: E402

T = TensorProto
ALL = tuple(TARGETS)
NEWER = ALL[1:]


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
    old = found(
        model, "tensorrt-8.6"
    )  # reads no functions: the nodes go to the registry, without a namespace
    assert [node for node, _ in old] == custom
    assert all("looked for in no namespace" in reason for _, reason in old)
    for target in NEWER:
        reasons = dict(found(model, target))
        assert all("its body is still in the file" in reasons.pop(name) for name in custom)
        # The block's body folds by periods that it finds in the data.
        assert reasons
        assert all(name.startswith("mstb/MultiScaleTemporalBlock/") for name in reasons)
        assert all("computed from data" in reason for reason in reasons.values())
    # From 10.7 on the namespace brings the plugin before the body.
    named = without_functions(model)
    named.functions.extend(model.functions)
    assert len(found(named, "tensorrt-10.3")) > len(custom)
    for target in ("tensorrt-10.13", "tensorrt-10.16", "tensorrt-11"):
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


def _computed_length():
    """A length that depends on the data: the largest value."""
    return [
        before("ReduceMax", ["warm"], ["largest"], axes=[0, 1, 2], keepdims=0),
        before("Cast", ["largest"], ["whole"], to=T.INT64),
        before("Reshape", ["whole", "one"], ["length"]),
    ]


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
        ALL[:2],
        "culprit",
        "not supported",
    ),
    "op of 11": (graph(node("Swish"), opset=24), ALL[:4], "culprit", "not supported"),
    "op of 10.0": (graph(node("Gelu"), opset=20), ALL[:1], "culprit", "not supported"),
    "data of an op": (
        graph(before("Cast", ["warm"], ["n"], to=T.INT32), node("Sqrt", ["n"]), outputs=[("y", T.INT32)]),
        ALL,
        "culprit",
        "takes float data only, not INT32",
    ),
    "newer definition": (
        graph(node("ReduceMax", ["warm", "axes"]), weights=[_const("axes", [1])], opset=18),
        ALL[:1],
        "culprit",
        "as opset 18 defines it",
    ),
    "bfloat16": (
        graph(node("Cast", to=T.BFLOAT16), outputs=[("y", T.BFLOAT16)]),
        ALL[:1],
        "culprit",
        "has no BFLOAT16",
    ),
    "uint16": (graph(node("Cast", to=T.UINT16), outputs=[("y", T.UINT16)]), ALL, "culprit", "has no UINT16"),
    "double": (graph(node("Cast", to=T.DOUBLE), outputs=[("y", T.DOUBLE)]), ALL, "culprit", "becomes FLOAT"),
    "uint8 inside": (
        graph(
            node("Cast", outputs=["u"], to=T.UINT8),
            helper.make_node("Cast", ["u"], ["y"], name="after", to=T.FLOAT),
        ),
        ALL,
        "culprit",
        "inputs and outputs of the network only",
    ),
    "large int64": (
        graph(
            before("Shape", ["warm"], ["shape"]),
            node("Add", ["shape", "large"]),
            weights=[_const("large", [1 << 40])],
            outputs=[("y", T.INT64)],
        ),
        ALL[:1],
        "culprit",
        "does not fit",
    ),
    "zero point": (_quantised(3), ALL, "culprit", "must be 0"),
    "uint8 zero point": (_quantised(0, np.uint8), ALL, "culprit", "UINT8"),
    "int16 zero point": (_quantised(0, np.int16), ALL, "culprit", "INT16"),
    "no zero point": (_quantised(None), ALL[:1], "culprit", "three inputs"),
    "negative scale": (_quantised(0, scale=-0.1), ALL, "culprit", "positive"),
    "scales of activations": (
        _quantised([0] * 4, scale=[0.1] * 4, axis=1),
        ALL,
        "culprit",
        "not for activations",
    ),
    "no axis": (_quantised([0] * 8, scale=[0.1] * 8, data="w"), ALL, "culprit", "taken for axis 0"),
    "number of scales": (
        _quantised([0] * 5, scale=[0.1] * 5, axis=0, data="w"),
        ALL,
        "culprit",
        "5 scales for 8 channels",
    ),
    "plugin in a branch": (_in_if(), ALL, "outer/culprit", "a plugin inside If"),
    "no namespace": (graph(scan(plugin_namespace=None)), ALL[:2], "culprit", "in no namespace"),
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
    "inside a body": (_foreign_body(node("DFT", ["a"], ["b"])), NEWER, "call/culprit", "not supported"),
    "body before 9": (_foreign_body(node("Relu", ["a"], ["b"])), ALL[:1], "call", "nor one of the plugins"),
    "computed shape": (
        graph(*_computed_length(), node("Expand", ["warm", "length"]), weights=[_const("one", [1])]),
        ALL,
        "culprit",
        "computed from data",
    ),
    "computed end": (
        graph(
            *_computed_length(),
            node("Slice", ["warm", "z", "length"]),
            weights=[_const("z", [0]), _const("one", [1])],
        ),
        ALL,
        "culprit",
        "input 2 is computed from data",
    ),
    "axes of a slice": (
        graph(
            before("Shape", ["warm"], ["shape"]),
            before("Size", ["shape"], ["axes"]),
            node("Slice", ["warm", "z", "z", "axes"]),
            weights=[_const("z", [0])],
        ),
        ALL[:1],
        "culprit",
        "input 3 must be a constant",
    ),
    "axes": (
        graph(before("Size", ["warm"], ["n"]), node("Unsqueeze", ["warm", "n"])),
        ALL,
        "culprit",
        "input 1 must be a constant",
    ),
    "second output": (
        graph(
            node("LayerNormalization", ["warm", "scale"], ["y", "mean"]),
            weights=[_const("scale", np.ones(8), np.float32)],
        ),
        ALL,
        "culprit",
        "only the first output",
    ),
    "unsorted": (
        graph(node("TopK", ["warm", "k"], ["y", "i"], sorted=0), weights=[_const("k", [2])]),
        ALL,
        "culprit",
        "sorted must be 1",
    ),
    "large k": (
        graph(node("TopK", ["warm", "k"], ["y", "i"]), weights=[_const("k", [4000])]),
        ALL,
        "culprit",
        "less than 3840",
    ),
    "dilations": (
        graph(node("MaxPool", kernel_shape=[2], dilations=[2])),
        ALL,
        "culprit",
        "dilations must be all ones",
    ),
    "training": (
        graph(
            node("Dropout", ["warm", "rate", "yes"]),
            weights=[_const("rate", 0.5, np.float32), _const("yes", True, bool)],
        ),
        ALL,
        "culprit",
        "training_mode",
    ),
    "text": (
        graph(node("Constant", [], value_string="a"), outputs=[("y", T.STRING)]),
        ALL,
        "culprit",
        "value_string",
    ),
    "cubic": (
        graph(node("Resize", ["warm", "", "s"], mode="cubic"), weights=[_const("s", [1, 1, 2], np.float32)]),
        ALL,
        "culprit",
        "not cubic",
    ),
    "open axis": (
        graph(node("Relu"), inputs=[_value("x", ("batch", 4, "time"))]),
        ALL,
        "x",
        "axis 2 is open",
    ),
    "old opset": (graph(node("Relu"), opset=8), NEWER, "planted", "opset 8"),
}


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("fault", _FAULTS)
def test_the_planted_fault_is_found_where_it_is_one_and_nothing_else(fault, target) -> None:
    model, targets, name, reason = _FAULTS[fault]
    model = _copied(model)
    got = found(model, target)
    if target in targets:
        assert [n for n, _ in got if n != name] == []
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


def test_int64_that_means_to_the_end_fits_everywhere() -> None:
    ends = [_const("z", [0]), _const("end", [np.iinfo(np.int64).max])]
    model = graph(node("Slice", ["warm", "z", "end"]), weights=ends)
    for target in ALL:
        assert found(model, target) == []


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
    code, out, _ = run("inspect", path, "--target", "tensorrt-8.6")
    assert code == 0
    assert "fits tensorrt-8.6" in out
    path.write_bytes(b"")
    for words in (
        (path, "tensorrt-11"),
        (other, "tensorrt-11"),
        (tmp_path / "none.onnx", "tensorrt-11"),
        (path, "x"),
    ):
        assert run("inspect", words[0], "--target", words[1])[0] == 2

"""The exported graph: what stands in it, under which names, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from onnx import helper  # noqa: E402

from mimamba_edge.contract import FIELDS, METADATA_KEY, Contract  # noqa: E402
from mimamba_edge.errors import ArtifactError, ExportError  # noqa: E402
from mimamba_edge.export.onnx.check import Expected, check_graph  # noqa: E402
from mimamba_edge.export.onnx.functions import attach_functions, attributes, custom_nodes  # noqa: E402
from mimamba_edge.export.onnx.inline import inline  # noqa: E402
from mimamba_edge.export.onnx.intermediate_outputs import with_outputs  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]
CALLS = {"SelectiveScan": 2, "MultiScaleTemporalBlock": 1}
SMALL = Expected(CALLS)


@pytest.fixture
def model(exported):
    return onnx.load(exported)


def test_one_node_for_each_op_under_the_name_of_its_module(model):
    assert [(n.op_type, n.name) for n in custom_nodes(model)] == [
        ("MultiScaleTemporalBlock", "mstb/MultiScaleTemporalBlock"),
        ("SelectiveScan", "tsfb.layers.0.mamba/SelectiveScan"),
        ("SelectiveScan", "tsfb.layers.1.mamba/SelectiveScan"),
    ]
    assert sorted(f.name for f in model.functions) == ["MultiScaleTemporalBlock", "SelectiveScan"]
    scan = custom_nodes(model)[1]
    assert len(scan.input) == 9
    assert len(scan.output) == 1
    assert attributes(scan) == {"has_z": 1, "delta_softplus": 1, "reverse": 0, "return_last_state": 0}
    block = custom_nodes(model)[0]
    settings = {"top_k": 3, "min_bin": 1, "max_bin": 0, "weighting": 0, "amplitude_scale": 1.0}
    assert attributes(block) == settings
    for attribute in (a for node in custom_nodes(model) for a in node.attribute):
        assert attribute.type == (
            onnx.AttributeProto.FLOAT if "scale" in attribute.name else onnx.AttributeProto.INT
        )


def test_both_directions_share_one_body(exported_both_ways):
    model = onnx.load(exported_both_ways)
    scans = [n for n in custom_nodes(model) if n.op_type == "SelectiveScan"]
    assert [attributes(n)["reverse"] for n in scans] == [0, 1]
    assert [f.name for f in model.functions].count("SelectiveScan") == 1
    assert not any(node.op_type in ("Flip", "ReverseSequence") for node in model.graph.node)


def test_file_is_lean_and_says_nothing_of_this_machine(model, exported):
    assert model.ir_version <= 10
    assert {o.domain: o.version for o in model.opset_import} == {"": 18, "mimamba": 1}
    assert "".join(d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim) == "batch"
    used = {name for node in model.graph.node for name in node.input}
    assert {i.name for i in model.graph.initializer} <= used
    assert not [
        n.name for n in model.graph.node if n.op_type in ("Exp", "Pad", "Slice", "Constant", "Identity")
    ]
    assert len(model.graph.node) < 50
    raw = exported.read_bytes()
    assert not re.search(rb"stack_trace|\.py|/home|/root|/tmp|pkg\.torch", raw)
    names = [n.name for n in model.graph.node]
    assert len(set(names)) == len(names)
    assert Contract.from_json({p.key: p.value for p in model.metadata_props}[METADATA_KEY]).n_chans == 3


def test_weights_stand_in_the_file_once(model):
    """The bodies take them from the node's inputs, so that a change there changes the answer."""
    elements = sum(int(np.prod(i.dims)) for i in model.graph.initializer)
    tables = sum(
        a.t.ByteSize() for f in model.functions for n in f.node for a in n.attribute if a.name == "value"
    )
    assert len(model.SerializeToString()) < 4 * elements + tables + 60_000
    block = next(f for f in model.functions if f.name == "MultiScaleTemporalBlock")
    scan = next(n for n in block.node if n.op_type == "Scan")
    inner = [
        c
        for n in scan.attribute[0].g.node
        for a in n.attribute
        if a.name.endswith("_branch")
        for c in a.g.node
    ]
    kernels = {n.input[1] for n in inner if n.op_type == "Conv"}
    assert kernels
    constants = [a.t for n in inner if n.op_type == "Constant" for a in n.attribute]
    assert max(int(np.prod(t.dims)) for t in constants) < 200  # the kernel of ones, not a weight


def test_form_for_tensorrt_names_the_plugins(exported):
    model = onnx.load(exported.with_name("small.trt.onnx"))
    check_graph(model, Expected(CALLS, bodies=False))
    assert not model.functions
    for node in custom_nodes(model):
        strings = {a.name: a.s for a in node.attribute if a.type == onnx.AttributeProto.STRING}
        assert strings == {"plugin_namespace": b"mimamba", "plugin_version": b"1"}
        assert {a.name for a in node.attribute} - set(strings) == set(FIELDS[node.op_type])
    portable = onnx.load(exported)
    assert {n.name for n in model.graph.node} < {n.name for n in portable.graph.node}
    assert model.metadata_props == portable.metadata_props


def _insert(model, node):
    """Put a node behind the input that everything else then reads."""
    for other in model.graph.node:
        other.input[:] = ["changed" if name == "windows" else name for name in other.input]
    model.graph.node.insert(0, node)


def _control_flow(model):
    body = helper.make_graph(
        [helper.make_node("Identity", ["windows"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True]))
    _insert(
        model,
        helper.make_node("If", ["yes"], ["changed"], name="culprit", then_branch=body, else_branch=body),
    )


def _unknown_domain(model):
    _insert(model, helper.make_node("Relu", ["windows"], ["changed"], name="culprit", domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _unrolled(model):
    last = "windows"
    for i in range(90):
        model.graph.node.insert(i, helper.make_node("Relu", [last], [f"step{i}"], name=f"step{i}"))
        last = f"step{i}"


def _function_left(model):
    opsets = [helper.make_opsetid("", 18)]
    body = helper.make_function(
        "pkg.torch", "aten_x", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], opsets
    )
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("pkg.torch", 1))
    _insert(model, helper.make_node("aten_x", ["windows"], ["changed"], name="culprit", domain="pkg.torch"))


def _empty_name(model):
    node = custom_nodes(model)[1]
    node.name, node.input[8] = "culprit", ""


def _no_body(model):
    del model.functions[:]
    custom_nodes(model)[0].name = "culprit"


def _one_scan_less(model):
    scan = custom_nodes(model)[2]
    scan.op_type, scan.domain = "Identity", ""
    del scan.input[1:], scan.attribute[:]


def _other_output(model):
    model.graph.node[-1].output[0] = model.graph.output[0].name = "scores"


def _newer_file(model):
    model.ir_version = 11


def _newer_opset(model):
    model.opset_import[0].version = 19


def _broken(model):
    model.graph.node[-1].input[0] = "nowhere"


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_control_flow, r"node culprit \(If\) is control flow outside"),
        (_unknown_domain, r"node culprit \(Relu\) is of an unknown domain"),
        (_unrolled, r"a scan must have been unrolled"),
        (_function_left, r"node culprit \(aten_x\) is of an unknown domain"),
        (_empty_name, r"node culprit \(SelectiveScan\) has an empty name"),
        (_no_body, r"node culprit \(MultiScaleTemporalBlock\) has no body"),
        (_one_scan_less, r"does not hold one node for each call"),
        (_other_output, r"other inputs or outputs"),
        (_newer_file, r"IR version is too new"),
        (_newer_opset, r"imports version 19|other opsets"),
        (_broken, r"not valid ONNX"),
    ],
)
def test_graph_that_breaks_a_rule_is_refused(model, spoil, text):
    check_graph(model, SMALL)
    spoil(model)
    with pytest.raises(ExportError, match=text):
        check_graph(model, SMALL)


def test_bodies_left_in_the_form_for_tensorrt_are_refused(model):
    with pytest.raises(ExportError, match="still has a body"):
        check_graph(model, Expected(CALLS, bodies=False))


def test_layers_that_differ_share_a_body_that_chooses(model):
    """Two bodies would do: but ONNX Runtime 1.23 would run the last one for both without a word."""
    import onnxruntime as ort

    alone = onnx.ModelProto()
    alone.CopyFrom(model)
    for proto, scans in ((model, [2]), (alone, [1, 2])):
        for scan in scans:
            next(a for a in custom_nodes(proto)[scan].attribute if a.name == "delta_softplus").i = 0
        attach_functions(proto)
        assert [f.name for f in proto.functions].count("SelectiveScan") == 1
    windows = np.random.default_rng(0).normal(size=(5, 3, 40)).astype(np.float32)
    value = custom_nodes(alone)[1].input[1]  # without the first softplus, what it would give goes in
    scan = next(n for n in alone.graph.node if value in n.input)
    at = list(alone.graph.node).index(scan)
    plus = onnx.helper.make_node("Add", [value, scan.input[6]], ["planted/sum"])
    soft = onnx.helper.make_node("Softplus", ["planted/sum"], ["planted/soft"])
    minus = onnx.helper.make_node("Sub", ["planted/soft", scan.input[6]], ["planted/delta"])
    for i, node in enumerate((plus, soft, minus)):
        alone.graph.node.insert(at + i, node)
    scan.input[1] = "planted/delta"
    one, other = (
        ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            ["logits"], {"windows": windows}
        )[0]
        for m in (model, alone)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_inner_values_as_outputs(model, exported):
    import onnxruntime as ort

    rng = np.random.default_rng(0)
    windows = rng.normal(size=(5, 3, 40)).astype(np.float32)
    value = custom_nodes(model)[1].output[0]
    inner = "tsfb.layers.0.mamba/SelectiveScan/state"
    wanted = {"periods": "mstb/MultiScaleTemporalBlock/periods", value: value, inner: inner}
    tapped = ort.InferenceSession(with_outputs(exported, wanted), providers=["CPUExecutionProvider"])
    logits, periods, y, state = tapped.run(["logits", *wanted], {"windows": windows})
    plain = ort.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(logits, plain.run(None, {"windows": windows})[0])
    assert periods.shape == (5, 3)
    assert periods.dtype == np.int64
    assert y.shape == (5, 3, 32)
    assert state.shape == (5, 1, 1, 4, 32)  # (b, time, group, state, channel)


def test_values_that_are_not_there(exported, tmp_path):
    with pytest.raises(ArtifactError, match="nobody"):
        with_outputs(exported, ["nobody"])
    with pytest.raises(ArtifactError, match="periods"):
        with_outputs(exported.with_name("small.trt.onnx"), ["periods"])
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no protobuf")
    with pytest.raises(ArtifactError, match=r"broken\.onnx is not an ONNX file"):
        with_outputs(broken, ["periods"])


def test_inlining_some_ops_keeps_the_others(model):
    before = model.SerializeToString()
    part = inline(model, ["MultiScaleTemporalBlock"])
    assert model.SerializeToString() == before
    assert [n.op_type for n in custom_nodes(part)] == ["SelectiveScan"] * 2
    assert [f.name for f in part.functions] == ["SelectiveScan"]
    onnx.checker.check_model(part, full_check=True)
    whole = inline(model)
    assert not custom_nodes(whole)
    assert [o.domain for o in whole.opset_import] == [""]
    onnx.checker.check_model(whole, full_check=True)

"""The form without functions: its structure, and its values in three runtimes against the float64 oracles."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.onnx.opcases import MSTB_CASES, SCAN_CASES, Case, scan_case

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from mimamba_edge.artifact import Manifest, sha256_file  # noqa: E402
from mimamba_edge.errors import ArtifactError, ConfigError, ExportError, GateError  # noqa: E402
from mimamba_edge.export.api import export_model  # noqa: E402
from mimamba_edge.export.onnx import inlined_file  # noqa: E402
from mimamba_edge.export.onnx.functions import attach_functions, one_node_model, without_functions  # noqa: E402
from mimamba_edge.export.onnx.inline import inline  # noqa: E402
from mimamba_edge.export.onnx.inlined import inlined_faults, inlined_form  # noqa: E402
from mimamba_edge.inspection import describe  # noqa: E402
from mimamba_edge.load import load_model  # noqa: E402
from mimamba_edge.runtime.reference import Reference  # noqa: E402
from tests.onnx.test_choice import SETS, expected, together  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]

WEIGHTS = ("A", "D", "delta_bias", "w1", "b1", "w2", "b2")
"""Inputs of the ops that are constants in an exported model."""
CASES = {
    name: {**SCAN_CASES, **MSTB_CASES}[name]
    for name in (
        *("tokens, reverse", "groups", "shortest in chunks", "chunks, reverse, groups", "whole chunks"),
        *("one channel", "softmax", "transform, other length"),
    )
}


def portable(case: Case, *, constant: bool):
    """A model of one node, its weights constants or inputs of the graph."""
    model = one_node_model(case.op, case.shapes, case.attributes)
    held = [name for name in WEIGHTS if constant and name in case.feeds]
    model.graph.initializer.extend(numpy_helper.from_array(case.feeds[name], name) for name in held)
    inputs = [value for value in model.graph.input if value.name not in held]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def in_onnxruntime(model, feeds, names):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


def in_openvino(model, feeds, names):
    openvino = pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    core = openvino.Core()
    held = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU", held)
    got = compiled(feeds)
    return [got[name] for name in names]


RUNTIMES = {
    "onnx": lambda model, feeds, names: ReferenceEvaluator(model).run(names, feeds),
    "onnxruntime": in_onnxruntime,
    "openvino": in_openvino,
}


@pytest.mark.parametrize("constant", [True, False], ids=["constant weights", "given weights"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_values(runtime, name, constant):
    case = CASES[name]()
    model = inlined_form(portable(case, constant=constant))
    feeds = {value.name: case.feeds[value.name] for value in model.graph.input}
    outputs = [value.name for value in model.graph.output]
    for output, got in zip(outputs, RUNTIMES[runtime](model, feeds, outputs), strict=True):
        expected = case.expected[output]
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 5e-6 * np.abs(expected).max()


def subgraphs(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield node, attribute.g
                yield from subgraphs(attribute.g)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_structure(name, constant):
    """Read by other code than the product's: every name of a Scan's graph is its own."""
    made = inlined_form(portable(CASES[name](), constant=constant))
    assert not made.functions
    assert [o.domain for o in made.opset_import] == [""]
    assert {node.domain for node in made.graph.node} == {""}
    scans = [graph for node, graph in subgraphs(made.graph) if node.op_type == "Scan"]
    assert len(scans) == ("chunks" in name or CASES[name] in MSTB_CASES.values())
    for graph in scans:
        inner = [graph, *(g for _, g in subgraphs(graph))]
        own = {n for g in inner for node in g.node for n in node.output}
        own |= {value.name for g in inner for value in (*g.input, *g.initializer)}
        read = {n for g in inner for node in g.node for n in node.input if n}
        assert read <= own
    around = {n for node in made.graph.node for n in node.output} | {i.name for i in made.graph.initializer}
    assert not around & {n for g in scans for node in g.node for n in node.output}


def test_faults_are_seen():
    """The bodies alone, written out: a long scan reads its rates from around it."""
    plain = inline(portable(scan_case(l=40), constant=False))
    assert any("reads" in fault and "from around it" in fault for fault in inlined_faults(plain))
    assert inlined_faults(portable(scan_case(), constant=True))[0] == "a function mimamba.SelectiveScan"
    with pytest.raises(ExportError, match=r"no form without functions\n.*domain mimamba"):
        inlined_form(without_functions(portable(scan_case(), constant=True)))


def test_choices_by_constants_are_made():
    """A body for both directions holds an If of the node's attribute, around Scans and unrolled steps."""
    for reverse in (False, True):
        case = scan_case(l=21, reverse=reverse, last=True)
        model = portable(case, constant=True)
        other = onnx.NodeProto()
        other.CopyFrom(model.graph.node[0])
        other.name, other.output[:] = "other", ["other_y", "other_state"]
        next(a for a in other.attribute if a.name == "reverse").i = int(not reverse)
        model.graph.node.append(other)
        model.graph.output.append(
            helper.make_tensor_value_info("other_y", TensorProto.FLOAT, ["batch", 21, 12])
        )
        attach_functions(model)
        made = inlined_form(model)
        assert not [node for node in made.graph.node if node.op_type == "If"]
        got = in_onnxruntime(
            made, {v.name: case.feeds[v.name] for v in made.graph.input}, ["y", "last_state"]
        )
        for value, name in zip(got, ("y", "last_state"), strict=True):
            assert np.abs(value - case.expected[name]).max() <= 2e-6 * np.abs(case.expected[name]).max()


@pytest.fixture(scope="module")
def both(exported_both_ways, tmp_path_factory):
    """A set of a model with more tokens than are unrolled, and its inlined form."""
    folder = tmp_path_factory.mktemp("inlined")
    for path in exported_both_ways.parent.iterdir():
        shutil.copy(path, folder)
    assert export_model(folder / "both.onnx", inline=True).files == (folder / "both.inline.onnx",)
    return folder


def test_exported_with_the_set(checkpoint, exported, tmp_path):
    files = export_model(checkpoint, tmp_path / "small.onnx", inline=True).files
    assert [path.name for path in files] == [
        "small.onnx",
        "small.trt.onnx",
        "small.ref.npz",
        "small.inline.onnx",
    ]
    manifest = Manifest.load(files[-1])
    assert manifest.source_sha256 == sha256_file(checkpoint)
    assert len(manifest.verification["checks"]) == 5
    assert all(check["passed"] for check in manifest.verification["checks"])
    assert files[0].read_bytes() == exported.read_bytes()
    again = export_model(files[0], tmp_path / "again.inline.onnx", inline=True).files
    assert again[0].read_bytes() == files[-1].read_bytes()


def test_what_is_said_of_it(both):
    path = both / "both.inline.onnx"
    manifest = Manifest.load(path)
    assert (manifest.kind, manifest.precision, manifest.ops) == ("inline.onnx", "fp32", {})
    assert manifest.verification["portable_sha256"] == sha256_file(both / "both.onnx")
    assert all(check["passed"] for check in manifest.verification["checks"])
    assert not inlined_faults(onnx.load(path))
    found = describe(path)
    assert found["kind"] == "inline.onnx"
    assert found["problems"] == []
    assert found["custom_ops"].startswith("none")


def test_our_runners_and_openvino_take_it(both):
    reference = Reference.beside(both / "both.inline.onnx")
    windows = reference.windows[:24]
    largest = np.abs(reference.logits).max()
    with load_model(both / "both.inline.onnx", auxiliary=True) as runner:
        assert runner.kind == "onnxruntime-cpu"
        got = runner.infer({"windows": windows})
    np.testing.assert_array_equal(got["periods"], reference.outputs["periods"][:24])
    assert np.abs(got["logits"] - reference.logits[:24]).max() < 1e-5 * largest
    (logits,) = in_openvino(onnx.load(both / "both.inline.onnx"), {"windows": windows}, ["logits"])
    assert np.abs(logits - reference.logits[:24]).max() < 1e-5 * largest


def test_what_cannot_be_inlined(both, tmp_path):
    for wrong in ({"output": tmp_path / "x.onnx"}, {"data": tmp_path}):
        with pytest.raises(ConfigError, match=r"x\.onnx|reference windows"):
            export_model(both / "both.onnx", inline=True, **wrong)
    with pytest.raises(ArtifactError, match="cannot be inlined"):
        export_model(both / "both.inline.onnx", tmp_path / "twice.inline.onnx", inline=True)


def test_one_that_disagrees_is_not_published(both, tmp_path, monkeypatch):
    def spoilt(model):
        made = inlined_form(model)
        bias = next(i for i in made.graph.initializer if i.name == "final_layer.bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
        return made

    monkeypatch.setattr(inlined_file, "inlined_form", spoilt)
    with pytest.raises(GateError, match="does not match the model"):
        export_model(both / "both.onnx", tmp_path / "spoilt.inline.onnx", inline=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("which", ["scan: sizes", "scan: directions", "block: sizes"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_nodes_of_several_specifications(runtime, which):
    model, feeds = together(SETS[which])
    made = inlined_form(model)
    assert not [node for node in made.graph.node if node.op_type == "If"]
    wanted = expected(SETS[which])
    for name, got in zip(wanted, RUNTIMES[runtime](made, feeds, list(wanted)), strict=True):
        assert np.abs(got - wanted[name]).max() <= 5e-6 * np.abs(wanted[name]).max()

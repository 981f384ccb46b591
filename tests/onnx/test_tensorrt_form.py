"""The form for TensorRT says what the portable file says, with fewer nodes around the plugins."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from mimamba_edge.contract import FIELDS, LOGITS, WINDOWS  # noqa: E402
from mimamba_edge.errors import ExportError  # noqa: E402
from mimamba_edge.export.onnx.check import Expected, check_graph  # noqa: E402
from mimamba_edge.export.onnx.functions import custom_nodes, without_functions  # noqa: E402
from mimamba_edge.export.onnx.tensorrt import tensorrt_form  # noqa: E402
from mimamba_edge.export.quantize.fp16 import to_fp16  # noqa: E402
from mimamba_edge.export.quantize.int8_tensorrt import linear_inputs, to_int8_tensorrt  # noqa: E402
from mimamba_edge.export.quantize.ranges import Range  # noqa: E402
from mimamba_edge.load import builtin_model  # noqa: E402
from mimamba_edge.numerics.metrics import sqnr_db  # noqa: E402
from mimamba_edge.runtime.ort import OrtRunner  # noqa: E402
from mimamba_edge.runtime.reference import Reference  # noqa: E402
from tests.onnx.conftest import make_checkpoint  # noqa: E402
from tests.onnx.plugin_nodes import evaluate  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]
T = TensorProto


def fields(node) -> dict[str, int]:
    return {a.name: a.i for a in node.attribute if a.name in FIELDS[node.op_type]}


def scans(model) -> list:
    return [node for node in custom_nodes(model) if node.op_type == "SelectiveScan"]


def int8(model):
    return to_int8_tensorrt(model, dict.fromkeys(linear_inputs(model), Range(-4.0, 4.0)))


def windows(model, count: int = 6) -> np.ndarray:
    _, channels, times = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    return np.random.default_rng(7).normal(size=(count, channels, times)).astype(np.float32)


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> Path:
    """Both directions, three layers, an odd window, sizes that nothing divides."""
    from mimamba_edge.export.onnx.export import export_checkpoint

    folder = tmp_path_factory.mktemp("odd")
    config = {"bidirectional": True, "n_chans": 5, "n_times": 41, "n_layers": 3, "d_model": 10, "d_state": 3}
    return export_checkpoint(make_checkpoint(folder / "odd.pt", **config), folder / "odd.onnx").files[0]


@pytest.mark.parametrize("which", ["builtin", "exported", "exported_both_ways", "odd"])
def test_it_answers_as_the_portable_file_on_onnx_runtime(which, request) -> None:
    path = builtin_model() if which == "builtin" else request.getfixturevalue(which)
    x = Reference.beside(path).windows[:8]
    with OrtRunner(path, threads=1) as runner:
        expected = runner.logits(x)
    got = evaluate(tensorrt_form(onnx.load(path)), {WINDOWS: x})
    assert got.dtype == np.float32
    assert sqnr_db(expected, got) >= 100


@pytest.mark.parametrize("lower", [to_fp16, int8])
@pytest.mark.parametrize("which", ["exported", "exported_both_ways", "odd"])
def test_in_lower_precision_every_value_is_the_same(lower, which, request) -> None:
    """Rounding included: both graphs by the same evaluator, one with the nodes as they were."""
    model = lower(onnx.load(request.getfixturevalue(which)))
    form, feeds = tensorrt_form(model), {WINDOWS: windows(model)}
    check_graph(form, Expected(Counter(node.op_type for node in custom_nodes(model)), bodies=False))
    np.testing.assert_array_equal(evaluate(form, feeds), evaluate(without_functions(model), feeds))


def test_no_transpose_or_copy_is_left_around_the_plugins() -> None:
    portable = onnx.load(builtin_model())
    form = tensorrt_form(portable)
    before, after = (Counter(node.op_type for node in m.graph.node) for m in (portable, form))
    assert before - after == {"Transpose": 2, "Split": 4, "Unsqueeze": 4}
    assert after - before == {"Slice": 2}  # what conv1d reads of in_proj
    made = {name: node for node in form.graph.node for name in node.output}
    block, *others = custom_nodes(form)
    assert block.input[0] == WINDOWS
    assert fields(block)["channel_first"] == 1
    for scan in others:
        layer = scan.name.removesuffix("/SelectiveScan")
        assert [made[scan.input[i]].name for i in (3, 4, 8)] == [
            f"{layer}.x_proj/MatMul",
            f"{layer}.x_proj/MatMul",
            f"{layer}.in_proj/MatMul",
        ]
        assert made[scan.input[1]].input[0] == scan.input[3]
        offsets = {name: fields(scan)[name] for name in ("groups", "B_offset", "C_offset", "z_offset")}
        assert offsets == {"groups": 1, "B_offset": 8, "C_offset": 24, "z_offset": 256}


def test_both_directions_share_what_they_are_parts_of(exported_both_ways) -> None:
    forward, backward = scans(tensorrt_form(onnx.load(exported_both_ways)))
    assert [fields(node)["reverse"] for node in (forward, backward)] == [0, 1]
    assert forward.input[8] == backward.input[8]
    assert forward.input[3] != backward.input[3]


def test_one_cast_of_a_product_behind_int8_in_place_of_one_a_slice(exported) -> None:
    model = int8(onnx.load(exported))
    form = tensorrt_form(model)
    for graph in (model.graph, form.graph):
        products = {n.output[0] for n in graph.node if n.name.endswith("in_proj/MatMul")}
        assert len(products) == 2
        readers = Counter(n.op_type for n in graph.node if products & set(n.input))
        assert readers == ({"Split": 2} if graph is model.graph else {"Cast": 2})
    casts = [sum(n.op_type == "Cast" for n in m.graph.node) for m in (form, model)]
    assert casts[0] < casts[1]


def test_the_portable_model_is_left_as_it_was(exported) -> None:
    model = onnx.load(exported)
    before = model.SerializeToString(deterministic=True)
    tensorrt_form(model)
    assert model.SerializeToString(deterministic=True) == before


# Graphs made by hand: what a network of ours does not do, and another one may.

_B, _L, _D, _G, _N = 2, 5, 6, 2, 3
_SCAN = {"has_z": 1, "delta_softplus": 1, "reverse": 1, "return_last_state": 0}


def _weight(name: str, *shape: int):
    values = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(-np.abs(values) if name == "A" else values, name)


def _ints(name: str, *values: int):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _value(name: str, *shape, kind: int = T.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes, inputs, outputs, weights=(), infos=()):
    graph = helper.make_graph(list(nodes), "by hand", inputs, outputs, list(weights), value_info=list(infos))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mimamba", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _around_a_scan(nodes, b: str, c: str, z: str, *, wide: int, infos=(), weights=(), outputs=()):
    """A scan whose B, C and z are what nodes make of the inputs "rows" (b, l, wide) and "gate" (b, l, 14)."""
    fixed = [_weight("A", _D, _N), _weight("D", _D), _weight("bias", _D), _weight("state", 1, _D, _N)]
    given = ["u", "delta", "A", b, c, "D", "bias", "state", z]
    scan = helper.make_node("SelectiveScan", given, ["y"], name="scan", domain="mimamba", **_SCAN)
    made = _model(
        [*nodes, scan],
        [_value(n, "b", _L, w) for n, w in (("u", _D), ("delta", _D), ("rows", wide), ("gate", 14))],
        [_value("y", "b", _L, _D), *outputs],
        [*fixed, *weights],
        [_value("B", "b", _L, _G, _N), _value("C", "b", _L, _G, _N), *infos],
    )
    rng = np.random.default_rng(3)
    feeds = {i.name: [_B, *(d.dim_value for d in i.type.tensor_type.shape.dim[1:])] for i in made.graph.input}
    return made, {name: rng.normal(size=shape).astype(np.float32) for name, shape in feeds.items()}


def _in_bfloat16(model, feeds):
    """The model with T bfloat16: what moves values moves those, and the parameters stay float32."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        value.type.tensor_type.elem_type = T.BFLOAT16
    return model, {name: array.astype(ml_dtypes.bfloat16) for name, array in feeds.items()}


def _same(model, feeds):
    form = tensorrt_form(model)
    onnx.checker.check_model(form, full_check=True)
    np.testing.assert_array_equal(evaluate(form, feeds), evaluate(model, feeds))
    return form


@pytest.mark.parametrize("typed", [lambda *given: given, _in_bfloat16])
def test_groups_slices_of_slices_and_what_is_no_slice(typed) -> None:
    nodes = [
        helper.make_node("Slice", ["rows", "two", "end", "last"], ["most"], name="most"),
        helper.make_node("Split", ["most", "sizes"], ["rest", "b", "c"], name="split", axis=-1),
        helper.make_node("Reshape", ["b", "grouped"], ["B"], name="B"),
        helper.make_node("Transpose", ["c"], ["turned"], name="turned", perm=[0, 1, 2]),
        helper.make_node("Reshape", ["turned", "grouped"], ["C"], name="C"),
        helper.make_node("Slice", ["gate", "minus", "end", "last"], ["z"], name="z"),
    ]
    weights = [_ints("two", 2), _ints("end", 99), _ints("last", 2), _ints("sizes", 4, 6, 6)]
    weights += [_ints("grouped", 0, 0, _G, _N), _ints("minus", -7)]
    infos = [_value("most", "b", _L, 16), _value("rest", "b", _L, 4), _value("b", "b", _L, 6)]
    infos += [_value("c", "b", _L, 6), _value("turned", "b", _L, 6), _value("z", "b", _L, 7)]
    # z is one number too wide: a slice to the sixth of them, as the op wants it.
    nodes.append(helper.make_node("Slice", ["z", "zero", "six", "last"], ["gated"], name="gated"))
    weights += [_ints("zero", 0), _ints("six", 6)]
    infos.append(_value("gated", "b", _L, 6))
    model, feeds = _around_a_scan(nodes, "B", "C", "gated", wide=18, infos=infos, weights=weights)
    form = _same(*typed(model, feeds))
    (scan,) = scans(form)
    assert [scan.input[i] for i in (3, 4, 8)] == ["rows", "turned", "gate"]
    assert {name: fields(scan)[name] for name in ("groups", "B_offset", "C_offset", "z_offset")} == {
        "groups": 2,
        "B_offset": 6,
        "C_offset": 0,
        "z_offset": 7,
    }


@pytest.mark.parametrize(
    "slicing",
    [
        [_ints("from", 0), _ints("to", 4), _ints("axes", 1), _ints("steps", 1)],  # along time
        [_ints("from", 0), _ints("to", 12), _ints("axes", 2), _ints("steps", 2)],  # every other number
    ],
)
def test_other_slices_stay(slicing) -> None:
    cut = helper.make_node("Slice", ["rows", "from", "to", "axes", "steps"], ["part"], name="part")
    along_time = slicing[2].name == "axes" and numpy_helper.to_array(slicing[2])[0] == 1
    back = helper.make_node("Concat", ["part", "tail"], ["b"], name="b", axis=1)
    tail = helper.make_node("Slice", ["rows", "to", "end", "axes"], ["tail"], name="tail")
    view = helper.make_node("Reshape", ["b" if along_time else "part", "grouped"], ["B"], name="B")
    nodes = [cut, *([tail, back] if along_time else []), view]
    weights = [*slicing, _ints("grouped", 0, 0, _G, _N), _ints("end", 99)]
    infos = [_value("part", "b", 4 if along_time else _L, 6), _value("b", "b", _L, 6)]
    cuts = helper.make_node("Slice", ["gate", "zero", "six", "last"], ["z"], name="z")
    weights += [_ints("zero", 0), _ints("six", 6), _ints("last", 2)]
    infos.append(_value("z", "b", _L, 6))
    wide = 6 if along_time else 12
    model, feeds = _around_a_scan([*nodes, cuts], "B", "B", "z", wide=wide, infos=infos, weights=weights)
    (scan,) = scans(_same(model, feeds))
    assert scan.input[3] == ("b" if along_time else "part")


def test_maps_that_are_no_view_are_reshaped() -> None:
    """B comes with its groups from elsewhere: a Reshape, which moves nothing."""
    nodes = [
        helper.make_node("Reshape", ["rows", "turned"], ["before"], name="before"),
        helper.make_node("Transpose", ["before"], ["B"], name="B", perm=[0, 1, 3, 2]),
        helper.make_node("Slice", ["gate", "zero", "six", "last"], ["z"], name="z"),
    ]
    weights = [_ints("turned", 0, 0, _N, _G), _ints("zero", 0), _ints("six", 6), _ints("last", 2)]
    infos = [_value("before", "b", _L, _N, _G), _value("z", "b", _L, 6)]
    model, feeds = _around_a_scan(nodes, "B", "B", "z", wide=6, infos=infos, weights=weights)
    (scan,) = scans(_same(model, feeds))
    assert scan.input[3] == scan.input[4] == "B/rows"


def test_a_scan_without_a_gate_and_with_its_state() -> None:
    from mimamba_edge.export.onnx.functions import one_node_model
    from tests.onnx.opcases import scan_case

    case = scan_case(g=3, reverse=True, last=True, states=2)
    model = one_node_model(case.op, case.shapes, case.attributes)
    form = tensorrt_form(model)
    np.testing.assert_allclose(evaluate(form, case.feeds), case.expected["y"], atol=1e-5)
    (scan,) = scans(form)
    assert len(scan.input) == 8
    assert {name: fields(scan)[name] for name in ("groups", "B_offset", "z_offset")} == {
        "groups": 3,
        "B_offset": 0,
        "z_offset": 0,
    }


def test_open_sizes_are_refused() -> None:
    model, _ = _around_a_scan([], "rows", "rows", "gate", wide=6)
    with pytest.raises(ExportError, match="the size of its input B is not fixed"):
        tensorrt_form(model)


_BLOCK = {"top_k": 2, "min_bin": 1, "max_bin": 0, "weighting": 0, "amplitude_scale": 1.0}


def _around_a_block(nodes, outputs):
    """A block whose window is "x" and whose result is "y"; nodes before and behind it as given."""
    before = [node for node in nodes if "x" in node.output]
    behind = [node for node in nodes if "x" not in node.output]
    given = ["x", "w1", "b1", "w2", "b2"]
    block = helper.make_node(
        "MultiScaleTemporalBlock", given, ["y"], name="block", domain="mimamba", **_BLOCK
    )
    weights = [_weight("w1", 4, 3, 3, 3), _weight("b1", 4), _weight("w2", 3, 4, 3, 3), _weight("b2", 3)]
    model = _model(
        [*before, block, *behind],
        [_value(WINDOWS, "b", 3, 17)],
        outputs,
        weights,
        [_value("x", "b", 17, 3), _value("y", "b", 17, 3)],
    )
    return model, {WINDOWS: np.random.default_rng(1).normal(size=(2, 3, 17)).astype(np.float32)}


def _turn(name: str, source: str):
    return helper.make_node("Transpose", [source], [name], name=name, perm=[0, 2, 1])


@pytest.mark.parametrize("residual", [False, True])
def test_a_block_is_turned_and_its_other_readers_see_what_they_saw(residual) -> None:
    other = "x" if residual else "y"  # of the window before the block, or of its result
    nodes = [_turn("x", WINDOWS), _turn("first", "y"), helper.make_node("Neg", [other], ["last"], name="neg")]
    nodes += [_turn("again", "last"), helper.make_node("Sub", ["first", "again"], [LOGITS], name="sub")]
    model, feeds = _around_a_block(nodes, [_value(LOGITS, "b", 3, 17)])
    form = _same(model, feeds)
    (block,) = custom_nodes(form)
    assert fields(block)["channel_first"] == 1
    assert block.input[0] == WINDOWS
    assert sum(node.op_type == "Transpose" for node in form.graph.node) == 2


def test_a_block_whose_turned_result_is_the_answer() -> None:
    model, feeds = _around_a_block([_turn("x", WINDOWS), _turn(LOGITS, "y")], [_value(LOGITS, "b", 3, 17)])
    form = _same(model, feeds)
    assert [node.op_type for node in form.graph.node] == ["MultiScaleTemporalBlock", "Identity"]


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Reshape", [WINDOWS, "shape"], ["x"], name="x"), _turn(LOGITS, "y")],
        [_turn("x", WINDOWS), helper.make_node("Neg", ["y"], [LOGITS], name="neg")],
    ],
)
def test_a_block_that_is_not_between_two_transposes_stays(nodes) -> None:
    turned = nodes[1].op_type == "Transpose"
    model, feeds = _around_a_block(nodes, [_value(LOGITS, "b", *((3, 17) if turned else (17, 3)))])
    model.graph.initializer.append(_ints("shape", 0, 17, 3))
    (block,) = custom_nodes(_same(model, feeds))
    assert fields(block)["channel_first"] == 0


def test_a_form_without_its_fields_or_a_portable_file_with_them_is_refused(exported) -> None:
    portable = onnx.load(exported)
    calls = Counter(node.op_type for node in custom_nodes(portable))
    form = tensorrt_form(portable)
    check_graph(form, Expected(calls, bodies=False))
    bad = onnx.ModelProto()
    bad.CopyFrom(form)
    scan = scans(bad)[0]
    scan.attribute.remove(next(a for a in scan.attribute if a.name == "B_offset"))
    with pytest.raises(ExportError, match="other attributes than its plugin"):
        check_graph(bad, Expected(calls, bodies=False))
    scans(portable)[0].attribute.append(helper.make_attribute("z_offset", 3))
    with pytest.raises(ExportError, match="other attributes than the op"):
        check_graph(portable, Expected(calls))
    next(a for a in scans(form)[0].attribute if a.name == "z_offset").i = 7000
    with pytest.raises(ExportError, match="rows of z hold"):
        check_graph(form, Expected(calls, bodies=False))

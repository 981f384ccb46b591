"""The lower precisions of a trained model: types node by node, and answers against its checkpoint's."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from mimamba_edge.errors import DataError, ExportError  # noqa: E402
from mimamba_edge.export.families.msimamba.int8_cpu import to_int8_cpu  # noqa: E402
from mimamba_edge.export.families.msimamba.int8_ranges import calibrate_block  # noqa: E402
from mimamba_edge.export.onnx.functions import without_functions  # noqa: E402
from mimamba_edge.export.onnx.schema import register  # noqa: E402
from mimamba_edge.export.quantize.activations import calibrate_linears  # noqa: E402
from mimamba_edge.export.quantize.fp16 import to_fp16  # noqa: E402
from mimamba_edge.export.quantize.int8_tensorrt import to_int8_tensorrt  # noqa: E402
from mimamba_edge.numerics.metrics import sqnr_db  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]

F32, F16 = TensorProto.FLOAT, TensorProto.FLOAT16
# Types that the plugins accept for T = float16, input by input (design of the ops; no look at the schema).
ACCEPTED = {
    "SelectiveScan": ([F16, F16, F32, F16, F16, F32, F32, F32, F16], [F16, F32]),
    "MultiScaleTemporalBlock": ([F32, F16, F32, F16, F32], [F16]),
}


def kinds(model) -> dict[str, int]:
    """Return the element type of every value, as onnx infers it."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = inferred.graph
    out = {t.name: t.data_type for t in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        out[value.name] = value.type.tensor_type.elem_type
    return out


def check_types(model) -> None:
    register()
    bare = without_functions(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.checker.check_model(bare, full_check=True)
    kind = kinds(bare)
    custom = [node for node in bare.graph.node if node.domain == "mimamba"]
    assert len(custom) == 3
    for node in custom:
        inputs, outputs = ACCEPTED[node.op_type]
        assert [kind[name] for name in node.input] == inputs[: len(node.input)], node.name
        assert [kind[name] for name in node.output] == outputs[: len(node.output)], node.name
    for node in bare.graph.node:
        if node.op_type == "LayerNormalization":
            assert {kind[name] for name in (*node.input, *node.output)} == {F32}, node.name
    assert kind["windows"] == kind["logits"] == F32


def makers(model) -> dict:
    return {name: node for node in model.graph.node for name in node.output}


@pytest.fixture(scope="module")
def half(trained):
    return to_fp16(trained)


@pytest.fixture(scope="module")
def int8_tensorrt(trained, reference):
    return to_int8_tensorrt(trained, calibrate_linears(trained, reference.windows))


@pytest.fixture(scope="module")
def ranges(trained, reference):
    return calibrate_block(trained, reference.windows[:48])


@pytest.fixture(scope="module")
def int8_cpu(trained, ranges):
    return to_int8_cpu(trained, ranges)


def test_fp16_types_node_by_node(half):
    check_types(half)


def test_fp16_never_rounds_what_the_spectrum_sees(half):
    made = makers(half)
    name = next(n for n in half.graph.node if n.op_type == "MultiScaleTemporalBlock").input[0]
    while name != "windows":
        assert made[name].op_type == "Transpose"
        name = made[name].input[0]


def test_fp16_keeps_the_scans_own_numbers(trained, half):
    before = {t.name: numpy_helper.to_array(t) for t in trained.graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in half.graph.initializer}
    scans = [n for n in half.graph.node if n.op_type == "SelectiveScan"]
    for node in scans:
        for which in (2, 5, 6, 7):  # A, D, delta_bias, initial_state
            assert np.array_equal(before[node.input[which]], after[node.input[which]])


def test_fp16_answers(half, reference, run):
    got = run(half, reference.windows)
    assert sqnr_db(reference.logits, got) >= 50
    assert (got.argmax(1) == reference.logits.argmax(1)).all()


def test_the_model_given_is_not_changed(trained, reference, ranges):
    before = trained.SerializeToString(deterministic=True)
    to_fp16(trained)
    to_int8_cpu(trained, ranges)
    to_int8_tensorrt(trained, calibrate_linears(trained, reference.windows[:8]))
    assert trained.SerializeToString(deterministic=True) == before


def test_fp16_refuses_what_it_cannot_hold(trained):
    large = onnx.ModelProto()
    large.CopyFrom(trained)
    weight = next(t for t in large.graph.initializer if t.name.endswith("in_proj/MatMul.weight"))
    value = numpy_helper.to_array(weight).copy()
    value[0, 0] = 7e4
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    with pytest.raises(ExportError, match="in_proj"):
        to_fp16(large)


def test_fp16_computes_in_fp32_what_it_does_not_know():
    """Ops behind which fp16 would be rounded away or overflow, whole numbers and truth values among them."""
    f32 = TensorProto.FLOAT
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="m"),
        helper.make_node("Pow", ["m", "two"], ["p"], name="p"),
        helper.make_node("Less", ["p", "m"], ["less"], name="less"),
        helper.make_node("Where", ["less", "p", "m"], ["y"], name="y"),
        helper.make_node("Add", ["indices", "one"], ["next"], name="next"),
        helper.make_node("Gather", ["y", "next"], ["out"], name="out", axis=1),
    ]
    weights = {
        "w": np.eye(4, dtype=np.float32),
        "two": np.float32(2),
        "indices": np.arange(3),
        "one": np.array(1),
    }
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("x", f32, ["b", 4])],
        [helper.make_tensor_value_info("out", f32, ["b", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = to_fp16(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))
    onnx.checker.check_model(made, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(made).graph.value_info
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred}
    assert kinds["m"] == TensorProto.FLOAT16
    assert [kinds[name] for name in ("p", "y", "less", "next")] == [
        f32,
        f32,
        TensorProto.BOOL,
        TensorProto.INT64,
    ]


def test_int8_for_tensorrt_types_node_by_node(int8_tensorrt):
    check_types(int8_tensorrt)


def test_int8_for_tensorrt_pairs(int8_tensorrt):
    held = {t.name: numpy_helper.to_array(t) for t in int8_tensorrt.graph.initializer}
    made = makers(int8_tensorrt)
    pairs = [n for n in int8_tensorrt.graph.node if n.op_type == "DequantizeLinear"]
    assert len(pairs) == 4  # input and weight of in_proj in both layers
    for pair in pairs:
        quantize = made[pair.input[0]]
        assert quantize.op_type == "QuantizeLinear"
        assert list(quantize.input[1:]) == list(pair.input[1:])
        scale, zero = held[pair.input[1]], held[pair.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert zero.shape == scale.shape
        assert (scale > 0).all()
        weight = held.get(quantize.input[0])
        axes = [{a.name: a.i for a in n.attribute} for n in (quantize, pair)]
        if weight is None:
            assert scale.shape == ()
            assert axes == [{}, {}]
        else:
            assert scale.shape == weight.shape[1:]
            assert axes == [{"axis": 1}, {"axis": 1}]
            assert np.allclose(scale, np.abs(weight).max(axis=0) / 127)
    used = [n for n in int8_tensorrt.graph.node if set(n.input) & {p.output[0] for p in pairs}]
    assert {n.op_type for n in used} == {"MatMul"}
    assert all("in_proj" in n.name for n in used)


def test_int8_for_tensorrt_answers(int8_tensorrt, reference, run):
    got = run(int8_tensorrt, reference.windows)
    assert sqnr_db(reference.logits, got) >= 40
    assert (got.argmax(1) == reference.logits.argmax(1)).mean() >= 0.99


def test_int8_for_tensorrt_needs_every_range(trained):
    with pytest.raises(ExportError, match="LayerNormalization"):
        to_int8_tensorrt(trained, {})


def test_int8_for_the_cpu_answers(int8_cpu, reference, run):
    onnx.checker.check_model(int8_cpu, full_check=True)
    got = run(int8_cpu, reference.windows)
    assert 40 <= sqnr_db(reference.logits, got) < 100  # 100: nothing would have been rounded
    assert (got.argmax(1) == reference.logits.argmax(1)).mean() >= 0.99


def test_int8_for_the_cpu_answers_alike_in_any_batch(int8_cpu, reference, run):
    some = reference.windows[:9]
    alone = np.concatenate([run(int8_cpu, window[None]) for window in some])
    assert np.array_equal(run(int8_cpu, some), alone)


@pytest.mark.parametrize("gain", [0.05, 30.0])
def test_int8_scales_follow_the_window(trained, int8_cpu, reference, run, gain):
    """Windows far smaller and larger than those calibrated on keep their signal-to-noise ratio."""
    windows = reference.windows * np.float32(gain)
    assert sqnr_db(run(trained, windows), run(int8_cpu, windows)) >= 30


def test_int8_of_a_flat_window_is_finite(int8_cpu, reference, run):
    windows = np.zeros_like(reference.windows[:2])
    windows[1] = 3.5
    assert np.isfinite(run(int8_cpu, windows)).all()


def test_each_convolution_alone_costs_less_than_both(trained, ranges, int8_cpu, reference, run):
    none, first, second = (
        sqnr_db(reference.logits, run(to_int8_cpu(trained, ranges, which), reference.windows))
        for which in ((False, False), (True, False), (False, True))
    )
    both = sqnr_db(reference.logits, run(int8_cpu, reference.windows))
    assert none > 100
    assert min(first, second) > both
    assert none > max(first, second)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: w[:0], "no calibration windows"),
        (lambda w: np.full_like(w, np.nan), "NaN"),
        (lambda w: np.ones_like(w), "constant"),
    ],
)
@pytest.mark.parametrize("calibrate", [calibrate_block, calibrate_linears])
def test_windows_that_calibrate_nothing(trained, reference, calibrate, spoil, words):
    with pytest.raises(DataError, match=words):
        calibrate(trained, spoil(reference.windows[:4].copy()))

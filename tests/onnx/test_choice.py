"""Several specifications of an op in one file: a body that chooses, of which the loader leaves what fits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.onnx.opcases import Case, mstb_case, scan_case
from tests.onnx.test_bodies import assert_near, linear_attention, session

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from mimamba_edge.export.onnx.functions import attach_functions, one_node_model, specs  # noqa: E402
from mimamba_edge.export.onnx.inline import inline  # noqa: E402
from mimamba_edge.export.onnx.scan_body import LINEAR_ATTENTION  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]

WEIGHTS = ("A", "D", "delta_bias", "w1", "b1", "w2", "b2")

SCANS = {
    "lengths": [scan_case(l=length, d=6, n=3) for length in (1, 4, 7, 16, 17, 33, 64)],
    "sizes": [
        scan_case(l=4, d=6, n=3, states=2),
        scan_case(l=9, d=33, g=3, n=1, z=False),
        scan_case(l=20, d=16, g=1, n=16, softplus=True),
        scan_case(l=20, d=16, g=16, n=2),
    ],
    "widths alone": [scan_case(l=5, d=d, n=4, z=True) for d in (3, 12)],
    "flags alone": [scan_case(l=6, softplus=softplus) for softplus in (False, True)],
    "directions": [scan_case(l=length, reverse=reverse) for length in (4, 18) for reverse in (False, True)],
    "gates": [scan_case(l=6, z=True), scan_case(l=6), scan_case(l=19, z=True)],
    "last states": [scan_case(l=6, last=True), scan_case(l=19), scan_case(l=6, z=True)],
}
BLOCKS = {
    "sizes": [
        mstb_case(l=32, c=3, f=5, k=3),
        mstb_case(l=37, c=1, f=3, k=5),
        mstb_case(l=64, c=4, f=32, k=11),
    ],
    "settings": [mstb_case(), mstb_case(top_k=3), mstb_case(weighting=1, scale=0.1), mstb_case(min_bin=3)],
    "period rules": [mstb_case(l=33), mstb_case(l=33, rule=1), mstb_case(l=65, rule=1)],
    "scales alone": [mstb_case(weighting=1, scale=0.1), mstb_case(weighting=1, scale=0.2)],
}
SETS = {**{f"scan: {k}": v for k, v in SCANS.items()}, **{f"block: {k}": v for k, v in BLOCKS.items()}}


def together(
    cases: list[Case],
    *,
    batch: int | str = "batch",
    kinds: list[int] | None = None,
    constant: tuple[str, ...] = (),
):
    """Return a model of a node for each case, weights and ``constant`` inside, and its feeds by name."""
    model, feeds = None, {}
    for i, case in enumerate(cases):
        one = one_node_model(case.op, case.shapes, case.attributes, *([] if kinds is None else [kinds[i]]))
        one = onnx.compose.add_prefix(one, f"n{i}_", rename_functions=False)
        if model is None:
            model = one
        else:
            for field in ("node", "input", "output"):
                getattr(model.graph, field).extend(getattr(one.graph, field))
        feeds |= {f"n{i}_{name}": value for name, value in case.feeds.items()}
    inside = (*WEIGHTS, *constant)
    weights = {name for name in feeds if name.partition("_")[2] in inside or feeds[name].shape[0] == 1}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(value.name), value.name))
    for value in (*model.graph.input, *model.graph.output):
        if batch != "batch" and value.type.tensor_type.shape.dim[0].dim_param:
            value.type.tensor_type.shape.dim[0].dim_value = int(batch)
    attach_functions(model)
    return model, feeds


def expected(cases: list[Case]) -> dict[str, np.ndarray]:
    return {
        f"n{i}_{name}": value
        for i, case in enumerate(cases)
        for name, value in case.expected.items()
        if name != "periods"
    }


def check(model, feeds, cases) -> None:
    wanted = expected(cases)
    names = [value.name for value in model.graph.output]
    assert sorted(names) == sorted(wanted)
    for name, got in zip(names, session(model.SerializeToString()).run(names, feeds), strict=True):
        assert_near(got, wanted[name], 3e-6)


@pytest.mark.parametrize("batch", ["batch", 2])
@pytest.mark.parametrize("which", SETS)
def test_every_node_computes_as_its_own_oracle_does(which, batch):
    cases = SETS[which]
    model, feeds = together(cases, batch=batch)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.functions) == 1
    check(model, feeds, cases)
    written_out = inline(model)
    onnx.checker.check_model(written_out, full_check=True)
    check(written_out, feeds, cases)


def test_inputs_that_are_the_same_for_every_window_may_stand_in_the_file():
    """As where B and C are learned and not computed: what is constant is computed in every branch."""
    cases = SETS["scan: sizes"]
    model, feeds = together(cases, batch=2, constant=("B", "C"))
    onnx.checker.check_model(model, full_check=True)
    check(model, feeds, cases)


def test_a_file_that_says_no_sizes_is_written_out_with_all_branches():
    cases = SETS["scan: sizes"]
    model, feeds = together(cases)
    nodes = [
        helper.make_node("Identity", [f"n{i}_u"], [f"n{i}_moved"], name=f"move{i}") for i in range(len(cases))
    ]
    for i, scan in enumerate(model.graph.node):
        scan.input[0] = f"n{i}_moved"
    for node in nodes:
        model.graph.node.insert(0, node)
    written_out = inline(model)
    assert any(node.op_type == "If" for node in written_out.graph.node)
    onnx.checker.check_model(written_out, full_check=True)
    check(written_out, feeds, cases)


@linear_attention
@pytest.mark.parametrize("which", ["scan: sizes", "scan: directions"])
def test_the_form_with_linear_attention_chooses_too(which):
    cases = SETS[which]
    model, feeds = together(cases)
    attach_functions(model, LINEAR_ATTENTION)
    onnx.checker.check_model(model, full_check=True)
    check(model, feeds, cases)
    check(inline(model), feeds, cases)


def operators(model: bytes, folder) -> Counter[str]:
    """Return the nodes that ONNX Runtime has after it loaded a model."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "loaded.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    views = dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), "view")  # it makes one of the other
    nodes = onnx.load(folder / "loaded.onnx").graph.node
    return Counter(views.get(node.op_type, node.op_type) for node in nodes)


@pytest.mark.parametrize("batch", ["batch", 2])
@pytest.mark.parametrize("which", ["scan: lengths", "scan: directions", "block: sizes"])
def test_the_loader_leaves_each_node_what_a_file_of_its_own_has(which, batch, tmp_path):
    both, alone = (operators(m.SerializeToString(), tmp_path) for m in _both(SETS[which], batch))
    assert not both["If"]
    # Views of activations in the shape of the branch are free.
    assert both - alone <= Counter(view=5 * len(SETS[which]))
    assert not alone - both


def _both(cases, batch):
    """Return one model of all cases, and one in which each has its own op."""
    model, _ = together(cases, batch=batch)
    apart, bodies = onnx.ModelProto(), []
    apart.CopyFrom(model)
    for i, (node, spec) in enumerate(zip(apart.graph.node, specs(model), strict=True)):
        body = one_function(spec)
        body.name = node.op_type = f"{node.op_type}{i}"
        bodies.append(body)
    del apart.functions[:]
    apart.functions.extend(bodies)
    return model, apart


def one_function(spec):
    from mimamba_edge.export.onnx.mstb_body import MstbSpec, mstb_function
    from mimamba_edge.export.onnx.scan_body import scan_function

    return mstb_function(spec) if isinstance(spec, MstbSpec) else scan_function(spec)


def test_sizes_that_the_loader_does_not_know_are_read_while_it_runs():
    cases = SETS["scan: sizes"]
    model, feeds = together(cases)
    for value in (*model.graph.input, *model.graph.output):
        for i, axis in enumerate(value.type.tensor_type.shape.dim):
            axis.dim_param = f"{value.name}_{i}"
    for tensor in list(model.graph.initializer):  # weights from outside too
        value = helper.make_tensor_value_info(
            tensor.name, tensor.data_type, [f"{tensor.name}_{i}" for i in range(len(tensor.dims))]
        )
        model.graph.input.append(value)
        feeds[tensor.name] = numpy_helper.to_array(tensor)
        model.graph.initializer.remove(tensor)
    check(model, feeds, cases)


def test_the_reference_evaluator_takes_the_same_branches():
    from onnx.reference import ReferenceEvaluator

    for which in ("scan: sizes", "scan: flags alone", "scan: last states", "block: sizes"):
        model, feeds = together(SETS[which])
        names = [value.name for value in model.graph.output]
        got = ReferenceEvaluator(model).run(names, feeds)
        for name, value in zip(names, got, strict=True):
            assert_near(value, expected(SETS[which])[name], 3e-6)


def test_types_may_differ_too():
    from onnx.reference import ReferenceEvaluator

    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    cases = [scan_case(l=5), scan_case(l=5), scan_case(l=18)]
    for kinds in ([half, single, half], [half, single, single], [half] * 3):
        model, feeds = together(cases, kinds=kinds)
        onnx.checker.check_model(model, full_check=True)
        types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        feeds = {
            name: value.astype(np.float16) if types[name] == half else value for name, value in feeds.items()
        }
        names = [value.name for value in model.graph.output]
        for run in (ReferenceEvaluator(model).run, session(model.SerializeToString()).run):
            for name, kind, value in zip(names, kinds, run(names, feeds), strict=True):
                assert value.dtype == (np.float16 if kind == half else np.float32)
                wanted = expected(cases)[name]
                limit = 3e-3 if kind == half else 3e-6
                assert np.abs(value - wanted).max() <= limit * np.abs(wanted).max()


def test_gates_that_only_some_scans_have_stand_behind_them():
    model, _ = together(SETS["scan: gates"])
    scans = [node for node in model.graph.node if node.op_type == "SelectiveScan"]
    assert [len(node.input) for node in scans] == [8, 8, 8]
    assert Counter(node.op_type for node in model.graph.node) == Counter(SelectiveScan=3, Sigmoid=2, Mul=4)


def test_fp16_and_inner_values_of_such_a_file():
    from mimamba_edge.export.onnx.intermediate_outputs import with_outputs
    from mimamba_edge.export.quantize.fp16 import to_fp16

    cases = SETS["block: sizes"]
    model, feeds = together(cases)
    inner = {f"periods{i}": f"n{i}_MultiScaleTemporalBlock/periods" for i in range(len(cases))}
    got = session(with_outputs(model, inner)).run(list(inner), feeds)
    for case, periods in zip(cases, got, strict=True):
        np.testing.assert_array_equal(periods, case.expected["periods"])
    for which in ("scan: sizes", "block: sizes"):
        model, feeds = together(SETS[which])
        half = to_fp16(model)
        onnx.checker.check_model(half, full_check=True)
        names = [value.name for value in half.graph.output]
        for name, value in zip(names, session(half.SerializeToString()).run(names, feeds), strict=True):
            wanted = expected(SETS[which])[name]
            assert np.abs(value - wanted).max() <= 1e-2 * np.abs(wanted).max()

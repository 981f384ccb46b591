"""Function bodies in ONNX Runtime against the float64 oracles, each op a model of one node."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.numerics import limits
from tests.onnx.opcases import MSTB_CASES, SCAN_CASES, Case, mstb_case, scan_case

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from mimamba_edge.export.onnx.functions import (  # noqa: E402
    attach_functions,
    form_of,
    linear_attention_model,
    one_node_model,
)
from mimamba_edge.export.onnx.inline import inline  # noqa: E402
from mimamba_edge.export.onnx.intermediate_outputs import with_outputs  # noqa: E402
from mimamba_edge.export.onnx.scan_body import LINEAR_ATTENTION, STANDARD  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]


def session(model: bytes):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(case: Case, feeds=None, form=STANDARD) -> dict[str, np.ndarray]:
    model = one_node_model(case.op, case.shapes, case.attributes, form=form)
    onnx.checker.check_model(model, full_check=True)
    names = [name for name in case.expected if name != "periods"]
    return dict(zip(names, session(model.SerializeToString()).run(names, feeds or case.feeds), strict=True))


def assert_near(got: np.ndarray, expected: np.ndarray, rtol: float = 2e-6) -> None:
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= rtol * np.abs(expected).max()


INNER = {"periods": "MultiScaleTemporalBlock/periods"}


@pytest.mark.parametrize("name", SCAN_CASES)
def test_scan_body_is_the_oracle(name):
    case = SCAN_CASES[name]()
    got = run(case)
    assert list(got) == list(case.expected)
    for output, expected in case.expected.items():
        assert_near(got[output], expected)


@pytest.mark.parametrize("flags", range(16))
def test_every_combination_of_flags(flags):
    z, softplus, reverse, last = (bool(flags >> i & 1) for i in range(4))
    case = scan_case(z=z, softplus=softplus, reverse=reverse, last=last, states=2, seed=flags)
    got = run(case)
    for output, expected in case.expected.items():
        assert_near(got[output], expected)


@pytest.mark.parametrize("length", [7, 21])
def test_one_body_for_both_directions(length):
    cases = [scan_case(l=length, reverse=reverse, z=True, softplus=True) for reverse in (False, True)]
    model = one_node_model(cases[0].op, cases[0].shapes, cases[0].attributes)
    other = onnx.NodeProto()
    other.CopyFrom(model.graph.node[0])
    other.name, other.output[0] = "other", "other_y"
    next(a for a in other.attribute if a.name == "reverse").i = 1
    model.graph.node.append(other)
    model.graph.output.append(onnx.helper.make_tensor_value_info("other_y", 1, ["batch", length, 12]))
    attach_functions(model)
    assert len(model.functions) == 1
    for proto in (model, inline(model)):
        onnx.checker.check_model(proto, full_check=True)
        for y, case in zip(session(proto.SerializeToString()).run(None, cases[0].feeds), cases, strict=True):
            assert_near(y, case.expected["y"])


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_one_body_for_any_length(large, reverse):
    sizes = {"b": 2, "d": 1032 if large else 12, "g": 3, "n": 8}
    cases = [
        scan_case(**sizes, l=length, reverse=reverse, z=True, softplus=True, last=True, states=states)
        for length, states in ((1, 1), (2, 2), (7, 2), (65, 1))
    ]
    shapes = {name: ["batch", "length", *shape[2:]] for name, shape in cases[0].shapes.items()}
    shapes |= {name: cases[0].shapes[name] for name in ("A", "D", "delta_bias")}
    shapes["initial_state"] = ["states", *cases[0].shapes["A"]]
    model = one_node_model(cases[0].op, shapes, cases[0].attributes)
    onnx.checker.check_model(model, full_check=True)
    for proto in (model, inline(model)):
        active = session(proto.SerializeToString())
        for case in cases:
            y, state = active.run(None, case.feeds)
            assert_near(y, case.expected["y"])
            assert_near(state, case.expected["last_state"])


@pytest.mark.parametrize(("first", "second"), [(3, 8), (20, 30)])
@pytest.mark.parametrize("reverse", [False, True])
def test_two_scans_with_the_state_handed_on_are_one(first, second, reverse):
    whole = scan_case(l=first + second, softplus=True, reverse=reverse, last=True, z=True)
    parts = (slice(0, first), slice(first, None))
    state, ys = np.zeros((2, 12, 5), np.float32), {}
    state[:] = whole.feeds["initial_state"]
    for part in reversed(parts) if reverse else parts:
        feeds = {k: v[:, part] if k in ("u", "delta", "B", "C", "z") else v for k, v in whole.feeds.items()}
        feeds["initial_state"] = state
        got = run(Case(whole.op, feeds, whole.attributes, whole.expected))
        ys[part.start], state = got["y"], got["last_state"]
    assert_near(np.concatenate([ys[0], ys[first]], axis=1), whole.expected["y"])
    assert_near(state, whole.expected["last_state"])


def at_their_limits(t, reverse: bool, form: str = STANDARD) -> None:
    flags = {"has_z": 0, "delta_softplus": 0, "reverse": int(reverse), "return_last_state": 1}
    y, state = limits.oracle(t, reverse=reverse)
    got = run(Case("SelectiveScan", t, flags, {"y": y, "last_state": state}), form=form)
    limits.assert_same(got["y"], y, t)
    limits.assert_same(got["last_state"], state, t)


@settings(max_examples=60, deadline=None)
@given(t=limits.scans(), reverse=st.booleans())
def test_rates_at_their_limits(t, reverse):
    at_their_limits(t, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", range(1, limits.LONGEST + 1))
def test_states_that_forget_all_at_every_length(length, reverse):
    rng = np.random.default_rng(length)
    shapes = {"u": (1, length, 2), "delta": (1, length, 2), "A": (2, 3), "B": (1, length, 1, 3)}
    shapes |= {"C": shapes["B"], "D": (2,), "delta_bias": (2,), "initial_state": (1, 2, 3)}
    t = {name: rng.uniform(0.1, 1.0, shape).astype(np.float32) for name, shape in shapes.items()}
    t["A"][:, 0], t["A"][:, 1:] = -np.inf, -t["A"][:, 1:]
    at_their_limits(t, reverse)


linear_attention = pytest.mark.skipif(
    tuple(map(int, re.findall(r"\d+", ort.__version__)[:3])) < (1, 25, 1),
    reason="LinearAttention needs onnxruntime 1.25.1 or later",
)


@linear_attention
@pytest.mark.parametrize("name", SCAN_CASES)
def test_linear_attention_is_the_oracle(name):
    case = SCAN_CASES[name]()
    got = run(case, form=LINEAR_ATTENTION)
    assert list(got) == list(case.expected)
    for output, expected in case.expected.items():
        assert_near(got[output], expected)


@linear_attention
@settings(max_examples=40, deadline=None)
@given(t=limits.scans(), reverse=st.booleans())
def test_linear_attention_with_rates_at_their_limits(t, reverse):
    at_their_limits(t, reverse, LINEAR_ATTENTION)


@linear_attention
def test_linear_attention_is_one_node_and_needs_no_other_op_of_its_domain():
    case = scan_case(l=20, g=3, softplus=True, z=True)
    model = linear_attention_model(case.shapes, case.attributes)
    assert form_of(model) == LINEAR_ATTENTION
    assert form_of(one_node_model(case.op, case.shapes, case.attributes)) == STANDARD
    [body] = model.functions
    assert [n.op_type for n in body.node if n.domain] == ["LinearAttention"]
    attach_functions(model)  # as the conversion to fp16 does: the form stays
    assert form_of(model) == LINEAR_ATTENTION


def test_softplus_holds_over_the_whole_range():
    case = scan_case(b=1, l=1, d=9, n=1, softplus=True)
    steps = np.array([-80, -20, -1, 0, 1, 19.9, 20.1, 60, 88], np.float32)
    ones = {k: np.ones_like(v) for k, v in case.feeds.items()}
    feeds = {**ones, "delta": steps[None, None], "delta_bias": 0 * steps, "D": 0 * steps}
    feeds["initial_state"] = 0 * case.feeds["initial_state"]
    got = run(case, feeds)["y"][0, 0]  # = softplus(delta) for u = B = C = 1
    np.testing.assert_allclose(got, np.logaddexp(0.0, steps.astype(np.float64)), rtol=1e-6)


@pytest.mark.parametrize("name", MSTB_CASES)
def test_block_body_is_the_oracle(name):
    case = MSTB_CASES[name]()
    model = one_node_model(case.op, case.shapes, case.attributes)
    onnx.checker.check_model(model, full_check=True)
    y = session(model.SerializeToString()).run(None, case.feeds)[0]
    assert_near(y, case.expected["y"], 3e-6)
    same, periods = session(with_outputs(model, INNER)).run(["y", "periods"], case.feeds)
    np.testing.assert_array_equal(periods, case.expected["periods"])
    np.testing.assert_array_equal(same, y)


def test_windows_that_do_not_move_or_tie():
    t = np.arange(64)
    x = np.zeros((4, 64, 2), np.float32)
    x[0] += np.float32(1e5)  # an electrode's offset and nothing else
    x[1] += np.cos(2 * np.pi * 5 * t / 64)[:, None] + np.cos(2 * np.pi * 9 * t / 64)[:, None]
    x[2] = np.eye(64, 2)  # an impulse: every amplitude is the same but for rounding
    case = mstb_case(x=x, l=64, c=2, top_k=3)
    model = one_node_model(case.op, case.shapes, case.attributes)
    y, periods = session(with_outputs(model, INNER)).run(["y", "periods"], case.feeds)
    np.testing.assert_array_equal(periods[[0, 3]], [[64, 32, 22]] * 2)
    assert sorted(periods[1][:2]) == [8, 13]
    assert_near(y[[0, 1, 3]], case.expected["y"][[0, 1, 3]])


@pytest.mark.parametrize(("c", "top_k", "l"), [(1, 3, 128), (4, 3, 128), (16, 8, 96), (33, 2, 1000)])
def test_the_answer_for_a_window_does_not_depend_on_its_batch(c, top_k, l):  # noqa: E741
    case = mstb_case(b=9, l=l, c=c, f=4, k=5, top_k=top_k)
    model = session(one_node_model(case.op, case.shapes, case.attributes).SerializeToString())
    weights = {name: case.feeds[name] for name in ("w1", "b1", "w2", "b2")}
    whole = model.run(None, case.feeds)[0]
    for start, stop in ((0, 1), (1, 2), (2, 5), (5, 9)):
        part = model.run(None, {**weights, "x": case.feeds["x"][start:stop]})[0]
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16"])
def test_half_precision_tensors_around_float32_arithmetic(kind):
    """Half types round inputs and outputs only: the oracle's answer for rounded inputs, rounded once."""
    import ml_dtypes
    from onnx.reference import ReferenceEvaluator

    half = {"FLOAT16": np.float16, "BFLOAT16": ml_dtypes.bfloat16}[kind]
    eps = {"FLOAT16": 2.0**-11, "BFLOAT16": 2.0**-8}[kind]
    number = getattr(onnx.TensorProto, kind)
    typed = {"u", "delta", "B", "C", "z", "w1", "w2"}
    cases = [
        scan_case(l=4, z=True, softplus=True),
        scan_case(l=7, reverse=True),
        scan_case(l=20, z=True),
        mstb_case(),
    ]
    for case in cases:
        feeds = {k: v.astype(half) if k in typed else v for k, v in case.feeds.items()}
        exact = {k: v.astype(np.float32) for k, v in feeds.items()}
        model = one_node_model(case.op, case.shapes, case.attributes, number)
        onnx.checker.check_model(model, full_check=True)
        got = ReferenceEvaluator(model).run(["y"], feeds)[0]
        assert got.dtype == half
        expected = _oracle(case, exact)
        assert np.abs(got.astype(np.float64) - expected).max() <= 1.1 * eps * np.abs(expected).max()


def _oracle(case: Case, feeds: dict[str, np.ndarray]) -> np.ndarray:
    from mimamba_edge.numerics.mstb import multi_scale_temporal_block
    from mimamba_edge.numerics.scan import selective_scan

    if case.op == "MultiScaleTemporalBlock":
        return multi_scale_temporal_block(**feeds, **case.attributes)
    flags = {name: bool(case.attributes[name]) for name in ("delta_softplus", "reverse")}
    return selective_scan(**feeds, **flags)[0]

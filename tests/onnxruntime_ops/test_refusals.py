"""What does not fit is refused with a message, whatever it is; nothing crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from mimamba_edge.export.onnx.schema import DOMAIN, MSTB, SCAN  # noqa: E402
from tests.onnxruntime_ops.nodes import (  # noqa: E402
    MSTB_FLAGS,
    SCAN_FLAGS,
    Arrays,
    mstb_tensors,
    open_with,
    scan_tensors,
)

pytestmark = [pytest.mark.torch, pytest.mark.ort]
MAKE = {SCAN: lambda: scan_tensors(2, 5, 6, 3, g=2), MSTB: lambda: mstb_tensors(2, 32, 3)}
FLAGS: dict[str, dict[str, Any]] = {SCAN: SCAN_FLAGS, MSTB: MSTB_FLAGS}


def run_open(native: Path, op: str, t: Arrays, flags: dict[str, Any], left_out: tuple[str, ...] = ()) -> None:
    """Run one node whose tensors may have any shape: the runtime's own checks would come first."""
    names = [name for name in t if name not in left_out]
    outputs = ["y", "last_state"] if op == SCAN and flags.get("return_last_state") else ["y"]
    slots = [name if name in names else "" for name in t]
    node = helper.make_node(op, slots, outputs, domain=DOMAIN, **flags)
    kinds = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}

    def info(name: str, kind: int) -> Any:
        return helper.make_tensor_value_info(name, kind, None)

    graph = helper.make_graph(
        [node],
        op,
        [info(name, kinds[str(t[name].dtype)]) for name in names],
        [info(name, TensorProto.FLOAT) for name in outputs],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    open_with(native, model).run(None, {name: t[name] for name in names})


@pytest.mark.parametrize("op", [SCAN, MSTB])
def test_what_fits_runs(native: Path, op: str) -> None:
    run_open(native, op, MAKE[op](), FLAGS[op])


@pytest.mark.parametrize(
    ("op", "name", "shape", "says"),
    [
        (SCAN, "u", (2, 5), r"u is float32 \(2, 5\), expected float32 \(any, any, any\)"),
        (SCAN, "u", (2, 0, 6), "B is|l and d at least 1"),
        (SCAN, "delta", (2, 5, 7), r"delta is float32 \(2, 5, 7\), expected float32 \(2, 5, 6\)"),
        (SCAN, "A", (6, 0), r"n 1 to 256|B is"),
        (SCAN, "A", (6,), "A is float32"),
        (SCAN, "B", (2, 5, 4, 3), "groups that divide d"),
        (SCAN, "B", (2, 5, 0, 3), "groups that divide d"),
        (SCAN, "C", (2, 5, 1, 3), "C is"),
        (SCAN, "D", (), r"D is float32 \(\), expected float32 \(6\)"),
        (SCAN, "delta_bias", (0,), "delta_bias is"),
        (SCAN, "initial_state", (3, 6, 3), r"expected float32 \(2, 6, 3\)"),
        (SCAN, "initial_state", (0, 6, 3), "initial_state is"),
        (SCAN, "z", (2, 5, 6, 1), "z is"),
        (MSTB, "x", (2, 32), "x is"),
        (MSTB, "x", (2, 1, 3), "top_k 3 of the bins 1 to 0"),
        (MSTB, "x", (2, 0, 3), "all at least 1"),
        (MSTB, "w1", (6, 3, 4, 4), "k odd"),
        (MSTB, "w1", (6, 3, 17, 17), "at most 15"),
        (MSTB, "w1", (6, 3, 3, 5), "k odd"),
        (MSTB, "w1", (0, 3, 3, 3), "all at least 1"),
        (MSTB, "w2", (3, 5, 3, 3), "w2 is"),
        (MSTB, "b1", (5,), "b1 is"),
        (MSTB, "b2", (3, 1), "b2 is"),
    ],
)
def test_shapes_that_contradict(native: Path, op: str, name: str, shape: tuple[int, ...], says: str) -> None:
    t = MAKE[op]()
    t[name] = np.zeros(shape, np.float32)
    with pytest.raises(Exception, match=says) as refused:
        run_open(native, op, t, FLAGS[op])
    assert op in str(refused.value)


def test_a_scan_of_too_many_states(native: Path) -> None:
    with pytest.raises(Exception, match="n 257"):
        run_open(native, SCAN, scan_tensors(1, 2, 3, 257), SCAN_FLAGS)


def test_gate_and_attribute_contradict(native: Path) -> None:
    with pytest.raises(Exception, match="z is missing"):
        run_open(native, SCAN, scan_tensors(1, 2, 3, 2), SCAN_FLAGS, left_out=("z",))
    with pytest.raises(Exception, match="has_z is 0"):
        run_open(native, SCAN, scan_tensors(1, 2, 3, 2), {**SCAN_FLAGS, "has_z": 0})


@pytest.mark.parametrize(
    ("op", "flags", "says"),
    [
        (SCAN, {"reverse": 2}, "reverse is 2, expected 0 to 1"),
        (MSTB, {"top_k": 0}, "top_k is 0"),
        (MSTB, {"top_k": 9}, "top_k is 9, expected 1 to 8"),
        (MSTB, {"min_bin": 0}, "min_bin is 0"),
        (MSTB, {"max_bin": -1}, "max_bin is -1"),
        (MSTB, {"max_bin": 17}, "bins 1 to 17 of a window of 32"),
        (MSTB, {"min_bin": 9, "max_bin": 10}, "top_k 3 of the bins 9 to 10"),
        (MSTB, {"weighting": 2}, "weighting is 2"),
        (MSTB, {"period_rule": 2}, "period_rule is 2, expected 0 to 1"),
    ],
)
def test_attributes_out_of_range(native: Path, op: str, flags: dict[str, int], says: str) -> None:
    with pytest.raises(Exception, match=says):
        run_open(native, op, MAKE[op](), {**FLAGS[op], **flags})


@pytest.mark.parametrize(("op", "flag"), [(op, flag) for op, flags in FLAGS.items() for flag in flags])
def test_attributes_that_are_missing(native: Path, op: str, flag: str) -> None:
    flags = {name: value for name, value in FLAGS[op].items() if name != flag}
    with pytest.raises(Exception, match=flag):
        run_open(native, op, MAKE[op](), flags)


@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_types_that_do_not_fit_together(native: Path, dtype: str) -> None:
    for op, name in ((SCAN, "delta"), (SCAN, "A"), (MSTB, "w2"), (MSTB, "x")):
        t = MAKE[op]()
        t[name] = t[name].astype(dtype)
        with pytest.raises(Exception, match=r"[Tt]ype|float32"):
            run_open(native, op, t, FLAGS[op])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_shapes_by_chance_run_or_are_refused(native: Path, data: st.DataObject) -> None:
    """Nearly right ones: each tensor keeps its shape, loses or gains an axis, or has one size changed."""
    op = data.draw(st.sampled_from([SCAN, MSTB]))
    t = MAKE[op]()
    for name in data.draw(st.sets(st.sampled_from(sorted(t)), max_size=3)):
        shape = list(t[name].shape)
        change = data.draw(st.sampled_from(["size", "lose", "gain"]))
        at = data.draw(st.integers(0, len(shape) - 1))
        if change == "size":
            shape[at] = data.draw(st.sampled_from([0, 1, 2, 3, 5, 6, 7, 64]))
        elif change == "lose":
            del shape[at]
        else:
            shape.insert(at, data.draw(st.integers(0, 3)))
        t[name] = np.ones(shape, np.float32)
    said = op
    try:
        run_open(native, op, t, FLAGS[op])
    except Exception as error:  # of several classes, by version
        said = str(error)
    assert op in said

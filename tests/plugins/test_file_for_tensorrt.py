"""A whole file for TensorRT whose custom nodes are the kernels' PTX, on tensors as plugins get them."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import numpy as np  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402

from mimamba_edge.contract import OPS, WINDOWS  # noqa: E402
from mimamba_edge.export.onnx.functions import without_functions  # noqa: E402
from mimamba_edge.export.onnx.tensorrt import tensorrt_form  # noqa: E402
from mimamba_edge.export.quantize.fp16 import to_fp16  # noqa: E402
from mimamba_edge.load import builtin_model  # noqa: E402
from mimamba_edge.numerics.metrics import sqnr_db  # noqa: E402
from mimamba_edge.runtime.ort import OrtRunner  # noqa: E402
from mimamba_edge.runtime.reference import Reference  # noqa: E402
from mimamba_edge.trt.one_node import one_node  # noqa: E402
from mimamba_edge.trt.plugin_probe import BOUND  # noqa: E402
from tests.onnx.plugin_nodes import evaluate, numbers  # noqa: E402
from tests.ptx.device import Kernels  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort]
_INPUTS = ("u", "delta", "A", "B", "C", "D", "delta_bias", "initial_state", "z")


def on(kernels: Kernels) -> list[type[OpRun]]:
    """Return the two ops on the simulated device."""

    class SelectiveScan(OpRun):
        op_domain = "mimamba"

        def _run(self, *tensors, **_):
            fields, given = numbers(self.onnx_node), dict(zip(_INPUTS, tensors, strict=False))
            rows = {name: given[name].shape[2] for name in ("B", "C", "z")}
            d, n, groups = *given["A"].shape, fields["groups"]
            for name, shape in (("B", (groups, n)), ("C", (groups, n)), ("z", (d,))):
                begin = fields[f"{name}_offset"]
                part = given[name][:, :, begin : begin + np.prod(shape)]
                given[name] = part.reshape(*part.shape[:2], *shape)
            last = bool(fields["return_last_state"])
            y, state = kernels.scan(
                given,
                str(given["u"].dtype),
                softplus=bool(fields["delta_softplus"]),
                reverse=bool(fields["reverse"]),
                last=last,
                rows=rows,
            )
            return (y, state) if last else (y,)

    class MultiScaleTemporalBlock(OpRun):
        op_domain = "mimamba"

        def _run(self, *tensors, **_):
            fields = numbers(self.onnx_node)
            given = dict(zip(("x", "w1", "b1", "w2", "b2"), tensors, strict=True))
            turned = bool(fields.pop("channel_first"))
            return (kernels.mstb(given, str(tensors[1].dtype), **fields, channel_first=turned),)

    return [SelectiveScan, MultiScaleTemporalBlock]


def test_the_built_in_model_on_the_kernels_answers_as_onnx_runtime_does(kernels) -> None:
    x = Reference.beside(builtin_model()).windows[:2]
    with OrtRunner(builtin_model(), threads=1) as runner:
        expected = runner.logits(x)
    form = tensorrt_form(onnx.load(builtin_model()))
    assert sqnr_db(expected, evaluate(form, {WINDOWS: x}, on(kernels))) >= 100


def test_in_fp16_it_is_as_near_as_the_ops_in_float64(kernels) -> None:
    model, x = to_fp16(onnx.load(builtin_model())), Reference.beside(builtin_model()).windows[:2]
    got = evaluate(tensorrt_form(model), {WINDOWS: x}, on(kernels))
    assert sqnr_db(evaluate(without_functions(model), {WINDOWS: x}), got) >= 50


@pytest.mark.parametrize("op", OPS)
def test_what_doctor_runs_is_right_on_the_kernels(kernels, op) -> None:
    node = one_node(op)
    (wanted, *_) = node.outputs.values()
    got = evaluate(onnx.load_from_string(node.onnx()), dict(node.inputs), on(kernels))
    assert np.abs(got - wanted).max() / np.abs(wanted).max() < BOUND / 100

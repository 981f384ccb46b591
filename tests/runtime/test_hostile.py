"""``.onnx`` files that were made to do harm: refused before they load, or left without an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.ort, pytest.mark.torch]

from onnx import TensorProto, helper  # noqa: E402

from mimamba_edge.errors import ArtifactError, RunnerError  # noqa: E402
from mimamba_edge.runtime import ort  # noqa: E402
from mimamba_edge.runtime.expansion import MOST_NODES, check_expansion  # noqa: E402
from mimamba_edge.runtime.patience import FIRST_RUN_S  # noqa: E402
from tests.modelfiles import tiny_contract, write_manifest_for  # noqa: E402

_OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("mimamba", 1)]
_CONTRACT = tiny_contract()


def _model(nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto] | None = None) -> onnx.ModelProto:
    c = _CONTRACT
    windows = helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["b", c.n_chans, c.n_times])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", c.n_outputs])
    graph = helper.make_graph(nodes, "g", [windows], [logits])
    graph.metadata_props.clear()
    model = helper.make_model(graph, opset_imports=_OPSETS, functions=functions or [], ir_version=10)
    helper.set_model_props(model, {"mimamba.contract": c.to_json()})
    return model


def _calls(times: int, layers: int) -> onnx.ModelProto:
    """Functions that each call the one before ``times`` times."""
    functions = []
    for layer in range(layers):
        inner, domain = ("Identity", "") if layer == 0 else (f"F{layer - 1}", "mimamba")
        names = ["x", *(f"t{i}" for i in range(times - 1)), "y"]
        nodes = [helper.make_node(inner, [names[i]], [names[i + 1]], domain=domain) for i in range(times)]
        functions.append(helper.make_function("mimamba", f"F{layer}", ["x"], ["y"], nodes, _OPSETS))
    return _model([helper.make_node(f"F{layers - 1}", ["windows"], ["logits"], domain="mimamba")], functions)


@pytest.mark.parametrize(("times", "layers"), [(2, 40), (10, 6), (100, 3), (1, 60)])
def test_functions_that_expand_are_refused_before_they_are_loaded(
    tmp_path: Path, times: int, layers: int
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_calls(times, layers).SerializeToString())
    for model in (path, path.read_bytes()):
        with pytest.raises(ArtifactError, match="would become too large to load") as caught:
            ort.open_session(model, name="m.onnx")
        assert len(str(caught.value)) < 4096


def test_a_function_that_calls_itself_is_refused() -> None:
    node = helper.make_node("F", ["x"], ["y"], domain="mimamba")
    model = _model(
        [helper.make_node("F", ["windows"], ["logits"], domain="mimamba")],
        [helper.make_function("mimamba", "F", ["x"], ["y"], [node], _OPSETS)],
    )
    with pytest.raises(ArtifactError, match="calls itself"):
        check_expansion(model.SerializeToString(), "m.onnx")


def test_graphs_within_nodes_count() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", [f"x{i}"], [f"x{i + 1}"]) for i in range(MOST_NODES)], "b", [], []
    )
    node = helper.make_node("If", ["windows"], ["logits"], then_branch=body, else_branch=body)
    with pytest.raises(ArtifactError, match="nodes after"):
        check_expansion(_model([node]).SerializeToString(), "m.onnx")


def test_what_is_no_protobuf_is_refused(tmp_path: Path) -> None:
    whole = _calls(2, 3).SerializeToString()
    check_expansion(whole, "m.onnx")
    for data in (
        b"",
        b"\x00" * 9,
        b"\xff" * 50,
        whole[: len(whole) // 2],
        b"{}" * 100,
        b"\x3a\xff\xff\xff\xff\x7f",
    ):
        (tmp_path / "m.onnx").write_bytes(data)
        with pytest.raises(ArtifactError):
            ort.open_session(tmp_path / "m.onnx", name="m.onnx")
    with (tmp_path / "m.onnx").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="too large"):
        check_expansion(tmp_path / "m.onnx", "m.onnx")


def test_a_loop_without_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c = _CONTRACT
    values = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("cond", "go")]
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    carried = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v", "w")]
    body = helper.make_graph(
        [helper.make_node("Identity", ["cond"], ["go"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [number, values[0], carried[0]],
        [values[1], carried[1]],
    )
    true = helper.make_node(
        "Constant", [], ["true"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True])
    )
    ends = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, [1], [at]))
        for name, at in (("from", 0), ("to", c.n_outputs), ("axis", 1), ("last", 2))
    ]
    nodes = [
        *(true, *ends),
        helper.make_node("ReduceMean", ["windows", "last"], ["mean"], keepdims=0),
        helper.make_node("Slice", ["mean", "from", "to", "axis"], ["some"]),
        helper.make_node("Loop", ["", "true", "some"], ["logits"], body=body),
    ]
    path = tmp_path / "m.onnx"
    path.write_bytes(_model(nodes).SerializeToString())
    write_manifest_for(path, c, "onnx")
    monkeypatch.setitem(FIRST_RUN_S, "cpu", 0.3)
    with ort.OrtRunner(path) as runner, pytest.raises(RunnerError, match="gave no answer") as caught:
        runner.logits(np.zeros((1, c.n_chans, c.n_times), np.float32))
    assert "endless loop" in str(caught.value)

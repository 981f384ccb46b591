"""A tiny exported set for TensorRT: portable file, ``.trt.onnx``, reference, and their manifests."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.contract import LOGITS, WINDOWS, Contract
from tests.modelfiles import SOURCE, tiny_contract, write_manifest_for, write_model, write_reference


def write_trt_model(
    path: Path,
    contract: Contract | None = None,
    *,
    op: str = "SelectiveScan",
    kind: str = "trt.onnx",
    source: str = SOURCE,
    batch: str | int = "b",
) -> Path:
    """Write a file with one custom node and its manifest."""
    import onnx
    from onnx import TensorProto, helper

    contract = contract or tiny_contract()
    plugin = {"plugin_namespace": "mimamba", "plugin_version": "1"}
    node = helper.make_node(op, [WINDOWS], [LOGITS], name="/layers.0/scan", domain="mimamba", **plugin)
    shapes = {WINDOWS: [batch, contract.n_chans, contract.n_times], LOGITS: [batch, contract.n_outputs]}
    made = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()}
    graph = helper.make_graph([node], "tiny", [made[WINDOWS]], [made[LOGITS]])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mimamba", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    write_manifest_for(path, contract, kind, source=source)
    return path


def write_set(folder: Path, *, scale: float = 1.0, portable: bool = False) -> Path:
    """Write all files of a model and return its ``tiny.trt.onnx``; ``scale`` makes the reference wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    contract = tiny_contract()
    write_reference(folder / "tiny.ref.npz", contract, n=9, scale=scale)
    if portable:
        write_model(folder / "tiny.onnx", contract)
    return write_trt_model(folder / "tiny.trt.onnx", contract)

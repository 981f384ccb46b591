"""Tiny exported models for tests: a linear map with all the files that stand around it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.artifact import Manifest, sha256_file, write_manifest
from mimamba_edge.contract import LOGITS, METADATA_KEY, WINDOWS, Contract, Scaling

SOURCE = "c" * 64

SMALL_CONTRACT = Contract(
    ch_names=("TP9", "AF7"),
    sfreq=128.0,
    n_times=32,
    hop=16,
    class_names=("calm", "tense", "glad"),
    scaling=Scaling("robust", (0.0, 1.0), (2.0, 3.0)),
)
"""Of the small network in the tests of checkpoints."""


def tiny_contract(**changes: Any) -> Contract:
    base = Contract(
        ch_names=("TP9", "AF7", "AF8"),
        sfreq=32.0,
        n_times=20,
        hop=5,
        class_names=("calm", "happy"),
        scaling=Scaling(kind="none"),
    )
    return dataclasses.replace(base, **changes)


def weights(contract: Contract, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(contract.n_chans * contract.n_times, contract.n_outputs)).astype(np.float32)


def noise(contract: Contract, n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, contract.n_chans, contract.n_times)).astype(np.float32)


def answers(contract: Contract, windows: np.ndarray) -> np.ndarray:
    """What the model of :func:`write_model` must say, computed in float64."""
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    return (flat @ weights(contract).astype(np.float64)).astype(np.float32)


def write_manifest_for(path: Path, contract: Contract, kind: str, *, source: str = SOURCE) -> None:
    manifest = Manifest(
        file=path.name,
        kind=kind,
        precision="fp32",
        sha256=sha256_file(path),
        source_sha256=source,
        contract=contract,
        source={"commit": None, "dirty": None},
    )
    write_manifest(path, manifest)


def write_model(
    path: Path,
    contract: Contract | None = None,
    *,
    inside: Contract | str | None = "same",
    scale: float = 1.0,
    output: str = LOGITS,
    custom: bool = False,
    manifest: bool = True,
) -> Contract:
    """Write a linear model, its manifest, and what tests want to be wrong with it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    contract = contract or tiny_contract()
    shape = ["b", contract.n_chans, contract.n_times]
    nodes = [
        helper.make_node("Flatten", [WINDOWS], ["flat"], name="/flatten"),
        helper.make_node("MatMul", ["flat", "w"], [output], name="/head"),
    ]
    if custom:
        nodes[0] = helper.make_node(
            "SelectiveScan", [WINDOWS], ["flat"], name="/scan", domain="mimamba", reverse=1
        )
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(WINDOWS, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["b", contract.n_outputs])],
        [numpy_helper.from_array(weights(contract) * np.float32(scale), "w")],
    )
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid("mimamba", 1)] if custom else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    held = contract if inside == "same" else inside
    if held is not None:
        helper.set_model_props(model, {METADATA_KEY: held.to_json()})
    onnx.save(model, path)
    if manifest:
        write_manifest_for(path, contract, "onnx")
    return contract


def write_reference(
    path: Path, contract: Contract, *, n: int = 70, scale: float = 1.0, source: str = SOURCE
) -> np.ndarray:
    """Write a reference beside a model and return its windows."""
    windows = noise(contract, n)
    with path.open("wb") as file:
        periods = np.full((n, 3), 7, dtype=np.int64)
        np.savez(
            file, windows=windows, logits=answers(contract, windows) * np.float32(scale), periods=periods
        )
    write_manifest_for(path, contract, "ref.npz", source=source)
    return windows

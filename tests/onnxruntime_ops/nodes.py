"""One node of our ops in a session that has the native library and no function body to fall back to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mimamba_edge.export.onnx.functions import one_node_model, without_functions
from mimamba_edge.export.onnx.schema import MSTB, SCAN
from mimamba_edge.numerics.mstb import multi_scale_temporal_block
from mimamba_edge.numerics.scan import selective_scan
from tests.numerics.problems import mstb_arrays, scan_arrays

Arrays = dict[str, NDArray[Any]]
KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
# One rounding to the type, and the float32 tolerance of the kernels on top.
TOLERANCE = {"float32": 1e-5, "float16": 2.0**-11 + 1e-5, "bfloat16": 2.0**-8 + 1e-5}
SCAN_FLAGS = {"has_z": 1, "delta_softplus": 1, "reverse": 0, "return_last_state": 1}
MSTB_FLAGS = {"top_k": 3, "min_bin": 1, "max_bin": 0, "weighting": 0, "amplitude_scale": 1.0}
_OF_TYPE = {SCAN: ("u", "delta", "B", "C", "z"), MSTB: ("w1", "w2")}


def rounded(x: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """The nearest values of a type, as float32."""
    x = np.ascontiguousarray(x, np.float32)
    if dtype == "bfloat16":
        bits = x.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    return x.astype(dtype).astype(np.float32)


def scan_tensors(
    b: int, length: int, d: int, n: int, *, g: int = 1, z: bool = True, dtype: str = "float32",
    per_window: bool = True, seed: int = 0,
) -> Arrays:  # fmt: skip
    t = scan_arrays(b, length, d, n, g=g, z=z, per_window=per_window, seed=seed)
    return {k: rounded(v, dtype if k in _OF_TYPE[SCAN] else "float32") for k, v in t.items()}


def mstb_tensors(
    b: int, length: int, c: int, *, f: int = 6, k: int = 3, dtype: str = "float32", seed: int = 0
) -> Arrays:
    t = mstb_arrays(b, length, c, f=f, k=k, seed=seed)
    return {name: rounded(v, dtype if name in _OF_TYPE[MSTB] else "float32") for name, v in t.items()}


def node_model(
    op: str, tensors: Mapping[str, NDArray[Any]], values: Mapping[str, int | float], dtype: str = "float32",
    *, constant: tuple[str, ...] = (), body: bool = False,
) -> onnx.ModelProto:  # fmt: skip
    """A model of one node with float32 inputs and outputs; tensors of another type are cast inside."""
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    model = one_node_model(op, shapes, values, KINDS[dtype])
    model = model if body else without_functions(model)
    graph, casts = model.graph, []
    for value in [*graph.input, *graph.output]:
        kind = value.type.tensor_type.elem_type
        if kind == TensorProto.FLOAT:
            continue
        inside, given = f"{value.name}_{dtype}", value in graph.input
        node = graph.node[0]
        names = node.input if given else node.output
        names[list(names).index(value.name)] = inside
        ends = ([value.name], [inside], kind) if given else ([inside], [value.name], TensorProto.FLOAT)
        casts.append((given, helper.make_node("Cast", ends[0], ends[1], to=ends[2])))
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = [c for first, c in casts if first] + list(graph.node) + [c for first, c in casts if not first]
    del graph.node[:]
    graph.node.extend(nodes)
    for name in constant:
        graph.initializer.append(onnx.numpy_helper.from_array(tensors[name], name))
        graph.input.remove(next(value for value in graph.input if value.name == name))
    return model


def open_with(library: Path | None, model: onnx.ModelProto | bytes, *, threads: int = 1) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if library is not None:
        options.register_custom_ops_library(str(library))
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(session: Any, tensors: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    feeds = {value.name: tensors[value.name] for value in session.get_inputs()}
    outputs: list[NDArray[Any]] = session.run(None, feeds)
    return outputs


def error(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    assert got.shape == wanted.shape
    assert np.isfinite(got).all()
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def check_scan(
    library: Path, t: Arrays, dtype: str = "float32", *, threads: int = 1, constant: tuple[str, ...] = (),
    **flags: int,
) -> None:  # fmt: skip
    """Hold outputs of the kernel to the float64 oracle."""
    values = {**SCAN_FLAGS, "has_z": int("z" in t), **flags}
    session = open_with(library, node_model(SCAN, t, values, dtype, constant=constant), threads=threads)
    wanted = selective_scan(
        **t, delta_softplus=bool(values["delta_softplus"]), reverse=bool(values["reverse"])
    )
    longer = max(1.0, np.sqrt(t["u"].shape[1] / 128))
    for _ in range(2):  # the second call finds what the first laid out
        y, *last = run(session, t)
        assert error(y, wanted[0]) <= TOLERANCE[dtype] * longer
        assert all(error(state, wanted[1]) <= 1e-5 * longer for state in last)
    assert len(last) == values["return_last_state"]


def check_mstb(
    library: Path, t: Arrays, dtype: str = "float32", *, threads: int = 1, constant: tuple[str, ...] = (),
    **flags: Any,
) -> NDArray[Any]:  # fmt: skip
    """Hold the kernel's output to the oracle; its spectrum is float64, too: near-ties go the oracle's way."""
    values = {**MSTB_FLAGS, **flags}
    session = open_with(library, node_model(MSTB, t, values, dtype, constant=constant), threads=threads)
    wanted = multi_scale_temporal_block(**t, **values)
    for _ in range(2):
        (y,) = run(session, t)
        assert error(y, wanted) <= TOLERANCE[dtype]
    return y

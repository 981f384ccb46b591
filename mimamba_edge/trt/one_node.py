"""A model of one custom node for each op, its inputs, and what it must give: a plugin's smallest test.

A device has no package onnx, so the file is written here, field by field (onnx/onnx.proto; Protocol Buffers,
"Encoding").
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import OPS
from mimamba_edge.numerics.mstb import multi_scale_temporal_block
from mimamba_edge.numerics.scan import selective_scan

__all__ = ["OneNode", "one_node"]

_DOMAIN = "mimamba"
_IR, _OPSET, _FLOAT = 10, 18, 1


@dataclass(frozen=True)
class OneNode:
    """A node with all its tensors, float32.

    Attributes:
        op: The op.
        attributes: What the plugin is told.
        inputs: By name, in the op's order; all of them are inputs of the model.
        outputs: What it must give, from float64.
    """

    op: str
    attributes: Mapping[str, int | float]
    inputs: Mapping[str, NDArray[np.float32]]
    outputs: Mapping[str, NDArray[np.float64]]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors, inputs first."""
        return {name: a.shape for held in (self.inputs, self.outputs) for name, a in held.items()}

    def onnx(self) -> bytes:
        """Return the model as an ONNX file."""
        found_by = {"plugin_namespace": _DOMAIN, "plugin_version": str(OPS[self.op])}
        node = b"".join(
            (
                *(_field(1, name) for name in self.inputs),
                *(_field(2, name) for name in self.outputs),
                _field(3, self.op),
                _field(4, self.op),
                *(_field(5, _attribute(*pair)) for pair in {**self.attributes, **found_by}.items()),
                _field(7, _DOMAIN),
            )
        )
        graph = b"".join(
            (
                _field(1, node),
                _field(2, "one"),
                *(_field(11, _value(name, array.shape)) for name, array in self.inputs.items()),
                *(_field(12, _value(name, array.shape)) for name, array in self.outputs.items()),
            )
        )
        opsets = [_field(2, _OPSET), _field(1, _DOMAIN) + _field(2, OPS[self.op])]
        return _field(1, _IR) + _field(7, graph) + b"".join(_field(8, opset) for opset in opsets)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | float | str | bytes) -> bytes:
    """Return a field of a message: a whole number from 0 on, a float32, a text or an inner message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: int | float | str) -> bytes:
    """Return an AttributeProto, whose fields f, i and s are of the types 1, 2 and 3."""
    field, kind = (4, 3) if isinstance(value, str) else (2, 1) if isinstance(value, float) else (3, 2)
    return _field(1, name) + _field(field, value) + _field(20, kind)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    """Return a ValueInfoProto of float32 with a fixed shape."""
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, sizes)))


def one_node(op: str) -> OneNode:
    """Return a node of an op (:data:`mimamba_edge.contract.OPS`) whose answers are known."""
    make = {"SelectiveScan": _scan, "MultiScaleTemporalBlock": _block}[op]
    return make(np.random.default_rng(0))


def _f32(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _scan(rng: np.random.Generator) -> OneNode:
    """B begins at the third number of its rows: a plugin that does not know offsets gives other values."""
    length, d, n, begin = 7, 8, 16, 2
    rows = _f32(rng.normal(size=(1, length, begin + n)))
    inputs = {
        "u": _f32(rng.normal(size=(1, length, d))),
        "delta": _f32(rng.normal(size=(1, length, d))),
        "A": _f32(-rng.uniform(0.1, 4, size=(d, n))),
        "B": rows,
        "C": _f32(rng.normal(size=(1, length, n))),
        "D": _f32(rng.normal(size=d)),
        "delta_bias": _f32(rng.normal(size=d)),
        "initial_state": _f32(rng.normal(size=(1, d, n))),
        "z": _f32(rng.normal(size=(1, length, d))),
    }
    parts = {**inputs, "B": rows[:, :, None, begin:], "C": inputs["C"][:, :, None]}
    y, state = selective_scan(*parts.values(), delta_softplus=True)
    attributes = {"has_z": 1, "delta_softplus": 1, "reverse": 0, "return_last_state": 1, "groups": 1}
    offsets = {"B_offset": begin, "C_offset": 0, "z_offset": 0}
    return OneNode("SelectiveScan", {**attributes, **offsets}, inputs, {"y": y, "last_state": state})


def _block(rng: np.random.Generator) -> OneNode:
    """Two clear rhythms, so that rounding cannot change which ones the op finds."""
    length, channels, hidden, size = 64, 4, 8, 3
    t = np.arange(length)[:, None] / length
    phase = rng.uniform(0, 2 * np.pi, size=(2, channels))
    x = 2 * np.sin(2 * np.pi * 5 * t + phase[0]) + np.sin(2 * np.pi * 11 * t + phase[1])
    inputs = {
        "x": _f32(x + 0.05 * rng.normal(size=x.shape))[None],
        "w1": _f32(0.3 * rng.normal(size=(hidden, channels, size, size))),
        "b1": _f32(rng.normal(size=hidden)),
        "w2": _f32(0.3 * rng.normal(size=(channels, hidden, size, size))),
        "b2": _f32(rng.normal(size=channels)),
    }
    y = multi_scale_temporal_block(*inputs.values(), top_k=2)
    choice = {"top_k": 2, "min_bin": 1, "max_bin": 0, "weighting": 0, "period_rule": 0}
    attributes = {**choice, "amplitude_scale": 1.0, "channel_first": 0}
    return OneNode("MultiScaleTemporalBlock", attributes, inputs, {"y": y})

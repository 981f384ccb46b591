"""The page of the custom ops, made from their ONNX schemas and their functions' docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from onnx import defs

from mimamba_edge.contract import FIELDS
from mimamba_edge.export.onnx.schema import DOMAIN, MSTB, SCAN, register
from mimamba_edge.export.ops import multi_scale_temporal_block, selective_scan
from mimamba_edge.export.ops.folding import PERIOD_RULES, WEIGHTINGS

from .markdown import cell, table

OPS = {
    SCAN: (
        selective_scan,
        """`selective_scan_fn` of mamba_ssm (state-spaces/mamba), for real B and C that change over time. Its
tensors are `(b, d, l)`, and `(b, n, l)` or `(b, g, n, l)` for B and C: here time comes before channels, as
matrix products leave it. The state at the start is an input here, and the one at the end an output.""",
    ),
    MSTB: (
        multi_scale_temporal_block,
        """`TimesBlock` of TimesNet (thuml/Time-Series-Library) is a relative: `period_rule` 1 and
`weighting` 1 are its rules. Periods are chosen for each window by itself; TimesNet
takes the mean of a batch.""",
    ),
}
"""The function of each op, and what upstream has in its place."""
ABOUT = """The two ops of ONNX domain `mimamba`, version 1. T is float32, float16 or bfloat16, one for all
tensors of a node; the arithmetic is float32, rounded once when it is stored.

| runs by | where |
|---|---|
| function bodies | any ONNX runtime with opset 18 |
| [native ops](../tensorrt.md#native-ops-for-onnx-runtime) | ONNX Runtime on CPU and CUDA |
| [plugins](../tensorrt.md#what-tensorrt-sees) | TensorRT 10.3 to 11 |
| PyTorch | the functions below |
| float64 NumPy | `mimamba_edge.numerics`: what all others are compared with |
"""
MEANINGS = {
    "has_z": "1: the gate z is given",
    "return_last_state": "1: the state after the last step is an output",
    "groups": "a row of B and of C holds `groups` times n numbers",
    "B_offset": "where B begins in a row of its tensor",
    "C_offset": "where C begins in a row of its tensor",
    "z_offset": "where z begins in a row of its tensor; 0 where there is no z",
    "channel_first": "1: x and y are `(b, c, l)`; 0: `(b, l, c)`",
    "plugin_namespace": f"`{DOMAIN}`: how TensorRT finds the plugin",
    "plugin_version": "`1`: how TensorRT finds the plugin",
}
"""Of attributes that the functions do not have."""


def _arguments(function: Any) -> dict[str, str]:
    """Return what a docstring says of each argument."""
    text = inspect.getdoc(function) or ""
    told = re.search(r"^Args:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    lines = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", told[1] if told else "", re.MULTILINE)
    values = {"WEIGHTINGS": WEIGHTINGS, "PERIOD_RULES": PERIOD_RULES}

    def spelled(name: str) -> str:
        return " or ".join(f"{number} ({word})" for word, number in values[name].items())

    return {name: re.sub(r":data:`(\w+)`", lambda found: spelled(found[1]), words) for name, words in lines}


def _tensors(op: str, function: Any) -> str:
    schema, told = defs.get_schema(op, domain=DOMAIN), _arguments(function)
    rows = []
    for way, tensors in (("input", schema.inputs), ("output", schema.outputs)):
        for tensor in tensors:
            kind = "T" if tensor.type_str == "T" else "float32"
            optional = ", optional" if tensor.option == defs.OpSchema.FormalParameterOption.Optional else ""
            words = told.get(
                tensor.name, "`(b, d, n)`" if tensor.name == "last_state" else "the shape of the first input"
            )
            rows.append((way + optional, f"`{tensor.name}`", kind, cell(words.replace("``", "`"))))
    return table(("", "tensor", "type", "shape and meaning"), rows)


def _attributes(op: str, function: Any) -> str:
    schema, told = defs.get_schema(op, domain=DOMAIN), _arguments(function)
    rows = []
    for name, attribute in schema.attributes.items():
        kind = attribute.type.name if hasattr(attribute.type, "name") else str(attribute.type)
        form = "all" if attribute.required else "`.trt.onnx`"
        if name in FIELDS[op] and name in told:
            form = "all"
        words = told.get(name) or MEANINGS[name]
        rows.append((f"`{name}`", kind, form, cell(words.replace("``", "`"))))
    return table(("attribute", "type", "files", "meaning"), rows)


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of the page."""
    register()
    parts = [
        "# Operators\n",
        ABOUT,
    ]
    for op, (function, upstream) in OPS.items():
        schema = defs.get_schema(op, domain=DOMAIN)
        parts += [
            f"## {op}\n",
            f"{str(schema.doc).strip()}\n",
            f"**Upstream:** {upstream}\n",
            _tensors(op, function),
            _attributes(op, function),
            f"```{{eval-rst}}\n.. autofunction:: mimamba_edge.export.ops.{function.__name__}\n```\n",
        ]
    yield "reference/operators.md", "\n".join(parts)

"""Schemas of the custom ops: ONNX domain ``mimamba``, version 1 (shapes and formulas: export/ops)."""

from __future__ import annotations

from onnx import defs
from onnx.defs import OpSchema

from mimamba_edge.contract import FIELDS, OPS

__all__ = ["DEFAULTS", "DOMAIN", "MSTB", "SCAN", "register"]

DOMAIN = "mimamba"
SCAN = "SelectiveScan"
MSTB = "MultiScaleTemporalBlock"
DEFAULTS = {MSTB: {"period_rule": 0}}
"""Attributes that a node of a portable file leaves out where they have these values."""

_F32 = "tensor(float)"
_T = ("T", ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"], "One type for all tensors of a node.")
_PLUGIN = ("plugin_namespace", "plugin_version")
"""What TensorRT finds a plugin by; only nodes of the TensorRT form of a file carry them."""


def _formal(name: str, kind: str, *, optional: bool = False) -> OpSchema.FormalParameter:
    option = OpSchema.FormalParameterOption
    return OpSchema.FormalParameter(name, kind, param_option=option.Optional if optional else option.Single)


def _attributes(op: str, ints: tuple[str, ...], floats: tuple[str, ...] = ()) -> list[OpSchema.Attribute]:
    """Return an op's attributes, and those of its TensorRT form, which onnx must know to let it pass."""
    of_form = [name for name in FIELDS[op] if name not in (*ints, *floats)]
    return [
        *(OpSchema.Attribute(name, OpSchema.AttrType.INT, required=True) for name in ints),
        *(OpSchema.Attribute(name, OpSchema.AttrType.FLOAT, required=True) for name in floats),
        *(OpSchema.Attribute(name, OpSchema.AttrType.INT, required=False) for name in of_form),
        *(OpSchema.Attribute(name, OpSchema.AttrType.STRING, required=False) for name in _PLUGIN),
    ]


def _schemas() -> list[OpSchema]:
    scan = OpSchema(
        SCAN,
        DOMAIN,
        OPS[SCAN],
        "Selective scan of Mamba over (b, l, d), channel-last, in float32.",
        inputs=[
            _formal("u", "T"),
            _formal("delta", "T"),
            _formal("A", _F32),
            _formal("B", "T"),
            _formal("C", "T"),
            _formal("D", _F32),
            _formal("delta_bias", _F32),
            _formal("initial_state", _F32),
            _formal("z", "T", optional=True),
        ],
        outputs=[_formal("y", "T"), _formal("last_state", _F32, optional=True)],
        type_constraints=[_T],
        attributes=_attributes(SCAN, ("has_z", "delta_softplus", "reverse", "return_last_state")),
    )
    mstb = OpSchema(
        MSTB,
        DOMAIN,
        OPS[MSTB],
        "Folds windows (b, l, c) by their strongest periods, convolves twice, unfolds, adds.",
        inputs=[
            _formal("x", _F32),
            _formal("w1", "T"),
            _formal("b1", _F32),
            _formal("w2", "T"),
            _formal("b2", _F32),
        ],
        outputs=[_formal("y", "T")],
        type_constraints=[_T],
        attributes=_attributes(MSTB, ("top_k", "min_bin", "max_bin", "weighting"), ("amplitude_scale",)),
    )
    return [scan, mstb]


def register() -> None:
    """Tell onnx about the ops, once per process."""
    for schema in _schemas():
        if not defs.has(schema.name, schema.domain):
            defs.register_schema(schema)

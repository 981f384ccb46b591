"""The structs of ``kernels/*_plan.h`` and ``common.h`` for ctypes: the one description of their layout."""

from __future__ import annotations

import ctypes as c

__all__ = ["I32", "I64", "PTR", "TYPES", "Device", "Mstb", "Scan"]

TYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
"""Values of ``Dtype``."""
I64, I32, PTR = c.c_int64, c.c_int32, c.c_void_p


class Device(c.Structure):
    """``Device``: what a launcher must know of the device."""

    _fields_ = (("multiprocessors", I32), ("shared_bytes", I64), ("max_blocks", I64))


class Scan(c.Structure):
    """``ScanProblem``."""

    _fields_ = (
        *((name, PTR) for name in ("u", "delta", "B", "C", "z", "A", "D", "delta_bias", "initial_state")),
        ("y", PTR),
        ("last_state", PTR),
        *((name, I64) for name in ("b", "l", "d", "g", "n", "state_batch")),
        *((name, I64) for name in ("z_row", "B_row", "C_row")),
        ("type", I32),
        ("delta_softplus", c.c_bool),
        ("reverse", c.c_bool),
        ("segments", I64),
    )


class Mstb(c.Structure):
    """``MstbProblem``."""

    _fields_ = (
        *((name, PTR) for name in ("x", "w1", "b1", "w2", "b2", "y")),
        *((name, I64) for name in ("b", "l", "c", "f", "k")),
        ("type", I32),
        *((name, I64) for name in ("top_k", "min_bin", "max_bin")),
        ("weighting", I32),
        ("amplitude_scale", c.c_float),
        ("channel_first", c.c_bool),
        ("period_rule", I32),
        ("groups", I64),
        ("images_in_workspace", c.c_bool),
    )

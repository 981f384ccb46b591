"""The recurrence of SelectiveScan as a node of ONNX Runtime's LinearAttention (com.microsoft, from 1.25.1).

Its gated rule is ``S_t = exp(g_t) S_{t-1} + k_t v_t^T, o_t = scale q_t^T S_t``: Mamba-1's, a head of n keys
and one value for each channel, ``g = dt A``, ``k = B``, ``v = dt u``, ``q = C``, scale 1. Where groups of
channels share B and C, there is a head of the query for each group.
Source: onnxruntime docs/ContribOperators.md, com.microsoft.LinearAttention.
"""

from __future__ import annotations

from mimamba_edge.errors import DependencyError
from mimamba_edge.export.onnx.body import Body
from mimamba_edge.naming import version_numbers
from mimamba_edge.runtime.ort import load_onnxruntime

__all__ = ["MICROSOFT", "SINCE", "attend", "need_linear_attention"]

MICROSOFT = "com.microsoft"
"""Domain of the op."""
SINCE = (1, 25, 1)
"""Version of ONNX Runtime from which there is the op."""
_FIRST = -(2**63) + 1
"""An end before the first element, for a Slice that runs backwards."""


def need_linear_attention() -> None:
    """Check that the installed ONNX Runtime has the op.

    Raises:
        DependencyError: It is not installed, or too old.
    """
    found = str(load_onnxruntime().__version__)
    if version_numbers(found, 3) < SINCE:
        raise DependencyError(
            "the form linear-attention needs an op of ONNX Runtime's own that this one does not have",
            got=f"onnxruntime {found}",
            expected="1.25.1 or later",
            do="install a newer onnxruntime, or export without --form",
        )


def attend(
    b: Body,
    sizes: tuple[int, int, int],
    reverse: bool,
    dt: str,
    drive: str,
    B: str,
    C: str,
    A: str,
    state: str,
) -> tuple[str, str]:
    """Add the recurrence; returns ``y (b, l, d)`` before skip and gate, and the last state ``(b, d, n)``.

    Args:
        b: Where to.
        sizes: d, g and n.
        reverse: From the last step to the first: the op knows one direction only, so time is turned.
        dt: Step sizes ``(b, l, d)``.
        drive: Step sizes times input, same shape.
        B: ``(b, l, g, n)``.
        C: ``(b, l, g, n)``.
        A: ``(d, n)``.
        state: ``(1 | b, d, n)``.
    """
    d, g, n = sizes

    def turned(value: str) -> str:
        if not reverse:
            return value
        return b.op("Slice", value, b.ints(-1), b.ints(_FIRST), b.ints(1), b.ints(-1))

    dt, drive, B, C = (turned(value) for value in (dt, drive, B, C))
    decays = b.op("Reshape", b.op("Mul", b.op("Unsqueeze", dt, b.ints(3)), A), b.ints(0, 0, d * n))
    batch = b.op("Concat", b.op("Shape", dt, end=1), b.ints(d, n), axis=0)
    past = b.op("Unsqueeze", b.op("Expand", state, batch), b.ints(3))
    heads = b.ints(0, 0, g * n)
    y, last = b.many(
        "LinearAttention",
        *(b.op("Reshape", C, heads), b.op("Reshape", B, heads), drive, past, decays),
        out=(b.name("attended"), b.name("attended_state")),
        domain=MICROSOFT,
        q_num_heads=g,
        kv_num_heads=d,
        update_rule="gated",
        scale=1.0,
    )
    return turned(b.op("Reshape", y, b.ints(0, 0, d))), b.op("Squeeze", last, b.ints(3))

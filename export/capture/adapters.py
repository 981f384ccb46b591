"""Functions that stand in for scans and kernels of other packages, with the arguments of those.

What an argument means follows from its name: each stand-in binds a call to the signature of the function
whose place it takes, so that another order or other defaults are no matter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mimamba_edge.errors import ExportError
from mimamba_edge.export.capture.carried import SSM, carrying, refuse_reverse
from mimamba_edge.export.ops.scan import selective_scan

__all__ = [
    "Function",
    "binder",
    "causal_conv1d",
    "channel_first_scan",
    "channel_last_scan",
    "convolved",
    "cross_merge",
    "cross_scan",
    "layer_norm",
    "mamba_inner",
    "name_of",
    "normed",
    "rms_norm",
    "run_scan",
]

Function = Callable[..., Any]
_ALIASES = {
    "u": ("u", "x", "xs", "hidden_states"),
    "delta": ("delta", "dt", "dts"),
    "A": ("A", "As"),
    "B": ("B", "Bs"),
    "C": ("C", "Cs"),
    "D": ("D", "Ds"),
    "z": ("z",),
    "delta_bias": ("delta_bias", "dt_bias"),
}


def binder(original: Function) -> Callable[..., dict[str, Any]]:
    """Return what names the arguments of a call, defaults among them."""
    signature = inspect.signature(original)

    def bind(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    return bind


def _scan_arguments(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a call's tensors under the names of our op.

    Raises:
        ExportError: One that must be there is not.
    """
    out = {
        name: next((given[alias] for alias in aliases if alias in given), None)
        for name, aliases in _ALIASES.items()
    }
    if missing := [name for name in ("u", "delta", "A", "B", "C") if not isinstance(out[name], Tensor)]:
        raise ExportError(f"a call of {where} lacks tensors that a selective scan has", got=missing)
    return out


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in a type; where it has that, torch.export would trace two nodes that do nothing."""
    return value if value.dtype == dtype else value.to(dtype)


def run_scan(
    tensors: Mapping[str, Any], where: str, *, delta_softplus: bool, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Run our op on channel-last tensors, B and C ``(b, l, g, n)``; missing ones become zeros.

    Raises:
        ExportError: The scan is complex.
    """
    u, A = tensors["u"], tensors["A"]
    if A.is_complex() or tensors["B"].is_complex() or tensors["C"].is_complex():
        raise ExportError(f"{where} scans complex states; mimamba.SelectiveScan has real ones")
    real = torch.float64 if u.dtype == torch.float64 else torch.float32
    zeros = u.new_zeros(u.shape[2], dtype=real)
    D, bias, z = tensors["D"], tensors["delta_bias"], tensors["z"]
    start, carried = zeros.new_zeros(1, *A.shape), carrying()
    if carried is not None:
        if reverse:
            raise refuse_reverse(carried)
        name, start = carried.take(SSM, u, tuple(A.shape))
        carried.lengths[name] = u.shape[1]
    y, last_state = selective_scan(
        u,
        _cast(tensors["delta"], u.dtype),
        _cast(A, real),
        _cast(tensors["B"], u.dtype),
        _cast(tensors["C"], u.dtype),
        zeros if D is None else _cast(D.reshape(-1), real),
        zeros if bias is None else _cast(bias.reshape(-1), real),
        _cast(start, real),
        None if z is None else _cast(z, u.dtype),
        delta_softplus=delta_softplus,
        reverse=reverse,
    )
    if carried is not None:
        carried.after[name] = last_state
    return y, last_state


def name_of(original: Function) -> str:
    """Return a function's name for people."""
    return f"{original.__module__}.{original.__qualname__}"


def channel_first_scan(original: Function) -> Function:
    """Return a stand-in for a scan over ``(b, d, l)`` with B and C ``(b, n, l)`` or ``(b, g, n, l)``."""
    bind, where = binder(original), name_of(original)

    def scan(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        tensors = _scan_arguments(given, where)
        for name in ("u", "delta", "z"):
            if tensors[name] is not None:
                tensors[name] = tensors[name].transpose(1, 2)
        for name in ("B", "C"):
            value = tensors[name]
            if value.ndim not in (3, 4):
                raise ExportError(
                    f"{where} is called with a {name} that does not change over time",
                    got=tuple(value.shape),
                    expected="(b, n, l) or (b, g, n, l), which mimamba.SelectiveScan has",
                )
            tensors[name] = (
                value.transpose(1, 2).unsqueeze(2) if value.ndim == 3 else value.permute(0, 3, 1, 2)
            )
        y, last_state = run_scan(tensors, where, delta_softplus=bool(given.get("delta_softplus", False)))
        y = y.transpose(1, 2)
        return (y, last_state) if given.get("return_last_state") else y

    return scan


def channel_last_scan(original: Function) -> Function:
    """Return a stand-in for a scan over ``(b, l, d)`` with B and C ``(b, l, n)`` or ``(b, l, g, n)``."""
    bind, where = binder(original), name_of(original)

    def scan(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        tensors = _scan_arguments(given, where)
        for name in ("B", "C"):
            if tensors[name].ndim == 3:
                tensors[name] = tensors[name].unsqueeze(2)
        y, last_state = run_scan(tensors, where, delta_softplus=bool(given.get("delta_softplus", False)))
        return (y, last_state) if given.get("return_last_state") else y

    return scan


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    """Convolve each channel of ``(b, d, l)`` with the present and the past; ``weight (d, [1,] k)``."""
    kernel = _cast(weight.reshape(weight.shape[0], 1, weight.shape[-1]), x.dtype)
    bias = None if bias is None else _cast(bias, x.dtype)
    carried = carrying()
    if carried is not None:
        y = carried.convolve(x, kernel, bias, groups=x.shape[1])
    else:
        y = F.conv1d(F.pad(x, (kernel.shape[-1] - 1, 0)), kernel, bias, groups=x.shape[1])
    return F.silu(y) if activation in ("silu", "swish") else y


def causal_conv1d(original: Function) -> Function:
    """Return a stand-in for ``causal_conv1d_fn`` over ``(b, d, l)``."""
    bind, where = binder(original), name_of(original)

    def convolve(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        extra = ("seq_idx", "initial_states", "final_states_out")
        if used := [name for name in extra if given.get(name) is not None]:
            raise ExportError(f"{where} is called with arguments that cannot be exported", got=used)
        if given.get("return_final_states"):
            raise ExportError(f"{where} is asked for its final states, which cannot be exported")
        x = given["x"] if "x" in given else given["hidden_states"]
        if given.get("activation") not in (None, "silu", "swish"):
            raise ExportError(f"{where} has an unknown activation", got=given["activation"])
        return convolved(x, given["weight"], given.get("bias"), given.get("activation"))

    return convolve


def normed(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Return values of root mean square 1 along the last axis, times a weight."""
    scaled = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return scaled if weight is None else scaled * weight


def mamba_inner(original: Function) -> Function:
    """Return a stand-in for the fused Mamba blocks: from what ``in_proj`` gave to the output.

    ``mamba_inner_fn``; without its last projection (``mamba_inner_fn_no_out_proj``), in both directions with
    ``A_b`` (``bimamba_inner_fn``), with normed B, C and step (FalconMamba).
    """
    bind, where = binder(original), name_of(original)

    def block(*args: Any, **kwargs: Any) -> Tensor:
        given = bind(args, kwargs)
        A, eps = given["A"], given.get("b_c_dt_rms_eps", 1e-6)
        rank, n = given["delta_proj_weight"].shape[1], A.shape[-1]
        x, z = given["xz"].chunk(2, dim=1)
        x = convolved(x, given["conv1d_weight"], given["conv1d_bias"], "silu").transpose(1, 2)
        delta, B, C = torch.split(F.linear(x, given["x_proj_weight"]), [rank, n, n], dim=-1)
        parts = {}
        for name, value in (("dt", delta), ("B", B), ("C", C)):
            weight, bias = given.get(f"{name.lower()}_rms_weight"), given.get(f"{name}_proj_bias")
            value = value if bias is None else value + bias
            parts[name] = value if weight is None else normed(value, weight, eps)
        if given.get("B") is not None or given.get("C") is not None:
            raise ExportError(f"{where} is called with a B or C of its own, which cannot be exported")
        tensors = {
            "u": x,
            "delta": F.linear(parts["dt"], given["delta_proj_weight"]),
            "A": A,
            "B": parts["B"].unsqueeze(2),
            "C": parts["C"].unsqueeze(2),
            "D": given.get("D"),
            "z": z.transpose(1, 2),
            "delta_bias": given.get("delta_bias"),
        }
        softplus = bool(given.get("delta_softplus", True))
        y, _ = run_scan(tensors, where, delta_softplus=softplus)
        if given.get("A_b") is not None:
            back, _ = run_scan({**tensors, "A": given["A_b"]}, where, delta_softplus=softplus, reverse=True)
            y = y + back
        if "out_proj_weight" not in given:
            return y.transpose(1, 2)
        return F.linear(y, given["out_proj_weight"], given["out_proj_bias"])

    return block


def _norm(original: Function, *, rms: bool | None) -> Function:
    bind, where = binder(original), name_of(original)

    def norm(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        extra = ("x1", "weight1", "bias1", "rowscale", "out", "residual_out")
        if used := [name for name in extra if given.get(name) is not None]:
            raise ExportError(f"{where} is called with arguments that cannot be exported", got=used)
        x, residual = given["x"], given.get("residual")
        whole = x if residual is None else x + residual
        kept = whole.float() if given.get("residual_in_fp32") else whole
        weight, bias, eps = given["weight"], given.get("bias"), given["eps"]
        if rms if rms is not None else given.get("is_rms_norm"):
            y = normed(whole, weight, eps)
            y = y if bias is None else y + bias
        else:
            y = F.layer_norm(whole, (whole.shape[-1],), weight, bias, eps)
        y = _cast(y, x.dtype)
        return (y, kept) if given.get("prenorm") else y

    return norm


def layer_norm(original: Function) -> Function:
    """Return a stand-in for mamba_ssm's ``layer_norm_fn``: layer or RMS norm of a sum."""
    return _norm(original, rms=None)


def rms_norm(original: Function) -> Function:
    """Return a stand-in for mamba_ssm's ``rms_norm_fn``."""
    return _norm(original, rms=True)


def _plain_kernel(original: Function, name: str) -> Function:
    """Return VMamba's own torch form of a function that would ask for a CUDA device first."""
    plain, bind = original.__globals__[name], binder(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        given = bind(args, kwargs)
        given.pop("force_torch", None)
        return plain.apply(*given.values())

    return call


def cross_scan(original: Function) -> Function:
    """Return a stand-in for VMamba's ``cross_scan_fn``."""
    return _plain_kernel(original, "CrossScanF")


def cross_merge(original: Function) -> Function:
    """Return a stand-in for VMamba's ``cross_merge_fn``."""
    return _plain_kernel(original, "CrossMergeF")

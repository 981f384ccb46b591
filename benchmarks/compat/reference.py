"""A model by the plain PyTorch references that its package holds beside its kernels: an independent judge."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from torch import nn

__all__ = ["by_own_references"]

_SCAN = ("selective_scan_fn", "selective_scan_ref")
_NORMS = (
    ("rms_norm_fn", "rms_norm_ref", "rms_norm_ref"),
    ("layer_norm_fn", "layer_norm_ref", "rms_norm_ref"),
)
Function = Callable[..., Any]


@contextlib.contextmanager
def by_own_references(model: nn.Module) -> Iterator[list[str]]:
    """Let a model of mamba_ssm, or of a copy of it, run without kernels and without anything of ours.

    Args:
        model: Its mixers take their slow path.

    Yields:
        One name for each scan that the reference has run: none if the model does not call it.
    """
    ran: list[str] = []
    modules = [m for m in list(sys.modules.values()) if isinstance(m, ModuleType) and "." in m.__name__]
    with contextlib.ExitStack() as undo:

        def put(space: dict[str, Any], name: str, value: object) -> None:
            undo.callback(space.__setitem__, name, space[name])
            space[name] = value

        for module in modules:
            if module.__name__.startswith("mimamba_edge"):
                continue
            space = vars(module)
            if (scan := _beside(space, *_SCAN)) is not None:
                put(space, _SCAN[0], _counted(scan, ran))
            for name, plain, rms in _NORMS:
                refs = _beside(space, name, plain), _beside(space, name, rms)
                if refs[0] is not None and refs[1] is not None:
                    put(space, name, _norm(refs[0], refs[1]))
            if "causal_conv1d_fn" in space and not module.__name__.startswith("causal_conv1d"):
                put(space, "causal_conv1d_fn", None)
        for part in model.modules():
            if vars(part).get("use_fast_path"):
                put(vars(part), "use_fast_path", False)
        yield ran


def _beside(space: dict[str, Any], name: str, reference: str) -> Function | None:
    """Return the reference in the module where a function of this name was written."""
    home = sys.modules.get(str(getattr(space.get(name), "__module__", "")))
    found = vars(home).get(reference) if home is not None else None
    return found if callable(found) else None


def _counted(scan: Function, ran: list[str]) -> Function:
    def call(*args: Any, **kwargs: Any) -> Any:
        ran.append(scan.__name__)
        return scan(*args, **kwargs)

    return call


def _norm(layer: Function, rms: Function) -> Function:
    """Return a norm with the arguments of the kernels, of which the references know most."""

    def call(*args: Any, is_rms_norm: bool = False, **kwargs: Any) -> Any:
        reference = rms if is_rms_norm else layer
        known = inspect.signature(reference).parameters
        return reference(*args, **{name: value for name, value in kwargs.items() if name in known})

    return call

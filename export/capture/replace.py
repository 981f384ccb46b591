"""The replacement: functions of loaded modules and methods of a model's classes, put back afterwards."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from mimamba_edge.errors import ConfigError, quoted
from mimamba_edge.export.capture.entries import FUNCTIONS, LAYOUTS, METHODS, Function, entry_of, fits
from mimamba_edge.export.capture.stubs import Absent
from mimamba_edge.export.capture.timesnet import times_block
from mimamba_edge.export.capture.transformers4 import fused_forward

__all__ = ["as_selective_scan", "capture"]

_OURS = "mimamba_edge"
_open = [0]
"""Contexts that are open."""


def as_selective_scan(layout: str) -> Callable[[Function], Function]:
    """Mark a function or method of one's own as a selective scan: ``@as_selective_scan("channel-last")``.

    It runs as it is, and through our op while :func:`capture` is open.

    Args:
        layout: As the values of ``scans`` in :func:`capture`.

    Raises:
        ConfigError: There is no such layout.
    """
    _check_layout("that is marked", layout)

    def marked(function: Function) -> Function:
        stand_in = LAYOUTS[layout](function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return (stand_in if _open[0] else function)(*args, **kwargs)

        return call

    return marked


@contextlib.contextmanager
def capture(model: nn.Module, scans: Mapping[str, str] | None = None) -> Iterator[nn.Module]:
    """Let the selective scans of a model run through our op while the context is open.

    Known are the scans of mamba_ssm (which needs no compiled extension then), transformers, mambapy, VMamba,
    Vim and those that copied them: functions by name and parameters in any loaded module, methods in the
    model's classes; so are the blocks of TimesNet (:mod:`mimamba_edge.export.capture.timesnet`).
    Parameters, buffers and names of the model stay as they are. Python modules are changed for the whole
    process while the context is open, and put back when it closes.

    Args:
        model: Any module.
        scans: Scans that are not known, ``{"package.module:function": layout}``; a method is
            ``"package.module:Class.method"``. The layout is ``"channel-first"``, ``u (b, d, l)``, or
            ``"channel-last"``, ``u (b, l, d)``; arguments are found by their names: ``u, delta, A, B, C``
            and, where there are such, ``D, z, delta_bias, delta_softplus, return_last_state``.

    Raises:
        ConfigError: A scan that was named does not exist, or has no such arguments.
    """
    with contextlib.ExitStack() as undo:
        _open[0] += 1
        undo.callback(_close)
        for where, layout in (scans or {}).items():
            _replace_named(undo, where, layout)
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType) and not module.__name__.startswith(_OURS):
                _replace_functions(undo, vars(module))
        classes = {kind for part in model.modules() for kind in type(part).__mro__ if kind is not nn.Module}
        for kind in classes:
            _replace_methods(undo, kind)
            if (fused := fused_forward(kind)) is not None:
                _put(undo, kind, "slow_forward", vars(kind)["slow_forward"], fused[0])
                for name, new in fused[1].items():
                    space = fused[0].__globals__
                    _put(undo, space, name, space[name], new)
        for part in model.modules():
            _replace_functions(undo, vars(part), by_name=False)
            if (block := times_block(part)) is not None and "forward" not in vars(part):
                vars(part)["forward"] = block
                undo.callback(vars(part).pop, "forward")
        yield model


def _close() -> None:
    _open[0] -= 1


def _check_layout(where: str, layout: str) -> None:
    if layout not in LAYOUTS:
        raise ConfigError(
            f"unknown layout of the scan {where}", got=quoted(layout), expected=" or ".join(LAYOUTS)
        )


def _put(undo: contextlib.ExitStack, holder: Any, name: str, old: object, new: object) -> None:
    if isinstance(holder, dict):
        holder[name] = new
        undo.callback(holder.__setitem__, name, old)
    else:
        setattr(holder, name, new)
        undo.callback(setattr, holder, name, old)


def _replace_functions(undo: contextlib.ExitStack, space: dict[str, Any], *, by_name: bool = True) -> None:
    """Replace what a module, or a model's part, holds under known names (in a part: known functions)."""
    found = (
        [(name, name) for name in FUNCTIONS if name in space]
        if by_name
        else [
            (key, name)
            for key, value in space.items()
            if (name := getattr(value, "__name__", "")) in FUNCTIONS
        ]
    )
    for key, name in found:
        value = space[key]
        if isinstance(value, Absent):
            sample = FUNCTIONS[name].sample
            if sample is not None:
                _put(undo, space, key, value, FUNCTIONS[name].stand_in(sample))
        elif (entry := entry_of(name, value)) is not None:
            _put(undo, space, key, value, entry.stand_in(value))


def _replace_methods(undo: contextlib.ExitStack, kind: type) -> None:
    if kind.__module__.startswith(_OURS):
        return
    for name, entry in METHODS.items():
        method = vars(kind).get(name)
        if callable(method) and fits(entry, method):
            _put(undo, kind, name, method, entry.stand_in(method))


def _replace_named(undo: contextlib.ExitStack, where: str, layout: str) -> None:
    _check_layout(where, layout)
    module_name, _, path = where.partition(":")
    *outer, name = path.split(".")
    try:
        holder: Any = importlib.import_module(module_name)
        for part in outer:
            holder = getattr(holder, part)
        function: Callable[..., Any] = getattr(holder, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"there is no scan {where}",
            got=error,
            expected="package.module:function or package.module:Class.method",
        ) from error
    new = LAYOUTS[layout](function)
    # Others may have imported it by name.
    holders = [] if outer else [vars(m) for m in list(sys.modules.values()) if isinstance(m, ModuleType)]
    for space in holders:
        for key in [key for key, value in space.items() if value is function]:
            _put(undo, space, key, function, new)
    if outer:
        _put(undo, holder, name, function, new)

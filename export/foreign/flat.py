"""What a model returns, as a plain tuple of tensors with names."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["flat"]


def _named(result: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of whatever a model returns, with names; what is no tensor is left out."""
    if isinstance(result, Tensor):
        yield name or "output", result
    elif isinstance(result, Mapping):
        for key, value in result.items():
            yield from _named(value, f"{name}_{key}" if name else str(key))
    elif isinstance(result, (list, tuple)):
        if len(result) == 1:
            yield from _named(result[0], name)
        else:
            for index, value in enumerate(result):
                yield from _named(value, f"{name or 'output'}_{index}")
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        yield from _named({f.name: getattr(result, f.name) for f in dataclasses.fields(result)}, name)


@contextlib.contextmanager
def flat(model: nn.Module) -> Iterator[list[str]]:
    """Let a model return its tensors as a plain tuple while the context is open.

    Yields:
        Names of the outputs; filled by each call.
    """
    names: list[str] = []
    forward = model.forward

    def call(*args: Any) -> tuple[Tensor, ...]:
        found = dict(_named(forward(*args)))
        names[:] = list(found)
        return tuple(found.values())

    held = vars(model).get("forward")
    model.forward = call
    try:
        yield names
    finally:
        del model.forward
        if held is not None:
            model.forward = held

"""A model that a user names by ``package.module:factory``, and its weights. This runs the user's Python."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from mimamba_edge.contract import FOREIGN_FAMILY
from mimamba_edge.errors import CheckpointError, ConfigError, listed, quoted
from mimamba_edge.export.archive import MOST_BYTES, Forbidden, check_archive
from mimamba_edge.export.capture.stubs import without_compiled_modules
from mimamba_edge.export.checkpoint import load_checkpoint
from mimamba_edge.naming import close_names

__all__ = ["build", "frozen", "load_state", "load_weights", "make", "place_of", "refusal"]

_MOST_WEIGHTS = 1_800_000_000
"""Bytes. An ONNX file holds 2 GiB; more would need external data, which no verb here writes or reads."""

_HERE = str(Path(__file__).parents[1])


def build(spec: str, sizes: Mapping[str, Any] | None = None) -> nn.Module:
    """Import a factory, call it and return its model: evaluation mode, float32, CPU.

    Args:
        spec: As :func:`make`.
        sizes: As :func:`make`.

    Raises:
        ConfigError: There is no such factory, it raises, or what it returns is no model.
    """
    torch.manual_seed(0)
    return frozen(make(spec, sizes), spec)


def make(spec: str, sizes: Mapping[str, Any] | None = None) -> object:
    """Import a factory, call it and return what it makes, as it is.

    The current folder comes first on the path, as with ``python -m``. Compiled extensions of Mamba packages
    that are not installed are replaced by stubs meanwhile.

    Args:
        spec: ``package.module:factory``; a class, a function, or a model that is there already.
        sizes: Values for those arguments of the factory that have these names (braindecode's: ``n_chans``,
            ``n_times``, ``n_outputs``, ``sfreq``); all of them if it takes ``**kwargs``.

    Raises:
        ConfigError: There is no such factory, or it raises.
    """
    module_name, _, path = spec.partition(":")
    if not module_name or not path or not all(part.isidentifier() for part in path.split(".")):
        raise ConfigError("not the name of a factory", got=quoted(spec), expected="package.module:factory")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with without_compiled_modules():
            return _made(_found(module_name, path), spec, sizes or {})
    finally:
        sys.path.remove(here)


def frozen(model: object, spec: str) -> nn.Module:
    """Return a model in evaluation mode, float32, on the CPU.

    Raises:
        ConfigError: It is none, or too large for an ONNX file.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"{spec} did not return a model", got=type(model).__name__, expected="a torch.nn.Module"
        )
    held = [*model.parameters(), *model.buffers()]
    size = sum(v.numel() * (4 if v.is_floating_point() else v.element_size()) for v in held)
    if size > _MOST_WEIGHTS:
        raise ConfigError(
            f"the model of {spec} is too large for one ONNX file",
            got=f"{sum(v.numel() for v in held):,} parameters, {size / 1e9:.1f} GB in float32",
            expected=f"at most {_MOST_WEIGHTS / 1e9:.1f} GB: weights beside the graph (external data) "
            "are not written",
            do="let the factory return a smaller variant, or a part of the model",
        )
    return model.to("cpu", torch.float32).eval().requires_grad_(False)


def _found(module_name: str, path: str) -> Any:
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        named = error.name or ""
        if not f"{module_name}.".startswith(f"{named}."):
            raise ConfigError(
                f"{module_name} cannot be imported",
                got=refusal(error),
                do=f"install {named} in this environment"
                if named
                else f"mend what `import {module_name}` raises",
            ) from error
        raise ConfigError(
            f"there is no module {named}",
            got=f"--model {module_name}:{path}",
            do=f"leave out .py: --model {module_name.removesuffix('.py').replace('/', '.')}:{path}"
            if module_name.endswith(".py")
            else "run in the folder that holds it, or install it; PYTHONPATH counts",
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{module_name} cannot be imported: it raises", got=refusal(error)) from error
    for part in path.split("."):
        if not hasattr(found, part):
            public = _factories(found)
            raise ConfigError(
                f"{module_name} has no {path}",
                got=quoted(part),
                expected=f"one of {', '.join(public[:12])}" if public else "a function or a class in it",
                do=close_names(part, public),
            )
        found = getattr(found, part)
    return found


def _factories(holder: Any) -> list[str]:
    """Return the public functions and classes that a module defines itself, and models in it."""
    return [
        name
        for name, value in vars(holder).items()
        if not name.startswith("_")
        and callable(value)
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == holder.__name__)
    ]


def _made(factory: Any, spec: str, sizes: Mapping[str, Any]) -> Any:
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise ConfigError(
            f"{spec} cannot be called", got=type(factory).__name__, expected="a function or a class"
        )
    given = {name: sizes[name] for name in _taken(factory, sizes)}
    try:
        return factory(**given)
    except (Exception, SystemExit) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        without = f", or of some of {', '.join(sizes)}" if sizes else ""
        raise ConfigError(
            f"the factory {spec} raises when it is called "
            + (f"with {shown}" if given else "without arguments"),
            got=refusal(error),
            do=f"write a function without arguments{without} that returns the model, and name that one",
        ) from error


def _taken(factory: Any, sizes: Mapping[str, Any]) -> list[str]:
    """Return which of some arguments a factory takes by name."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable of C
        return []
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return list(sizes)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name in sizes if name in parameters and parameters[name].kind in kinds]


def refusal(error: BaseException) -> str:
    """Return an exception of the user's code in one line: class, first line of text, file and line.

    The place is the innermost that is not inside torch, where there is one.
    """
    lines = str(error).strip().splitlines()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_HERE)]
    of_torch = str(Path(torch.__file__).parent)
    places = [frame for frame in frames if not frame.filename.startswith(of_torch)] or frames
    where = f" ({places[-1].filename}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}: {lines[0] if lines else ''}{where}"


def place_of(error: BaseException, model: nn.Module) -> str:
    """Return the path of the innermost module of a model that an exception came through; ``""``: none."""
    names = {id(part): name for name, part in model.named_modules()}
    found = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        holder = trace.tb_frame.f_locals.get("self")
        found = names.get(id(holder)) or found
        trace = trace.tb_next
    return found


def load_weights(model: nn.Module, path: Path) -> None:
    """Load weights by name; nothing in the file is executed.

    Args:
        model: Changed in place.
        path: ``.safetensors``, or ``.pt``, ``.pth`` or ``.bin`` of ``torch.save``; the weights may stand
            under ``state_dict``, ``model`` or ``model_state_dict``.

    Raises:
        CheckpointError: The file is missing, damaged or holds more than tensors, or weights do not fit: all
            that are missing, unknown or of another shape are listed.
    """
    try:
        load_state(model, _read(path), path)
    except CheckpointError as error:
        if (export := _export_of(path)) is None:
            raise
        raise CheckpointError(
            f"{path} is a checkpoint that `train` wrote, not weights of this model", do=export
        ) from error


def _export_of(path: Path) -> str | None:
    """Return the command that exports a checkpoint of this tool; ``None``: it is none."""
    try:
        contract = load_checkpoint(path).contract
    except CheckpointError:
        return None
    more = " --model package.module:factory" if contract.family == FOREIGN_FAMILY else ""
    return f"mimamba-edge export {path}{more}"


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights that were read from a file by name.

    Raises:
        CheckpointError: They do not fit: all that are missing, unknown or of another shape are listed.
    """
    wanted = model.state_dict()
    problems = [
        f"{name}: missing, expected {tuple(v.shape)}" for name, v in wanted.items() if name not in state
    ]
    problems += [f"{name}: not in the model" for name in state if name not in wanted]
    problems += [
        f"{name}: got {tuple(state[name].shape)}, expected {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if problems:
        raise CheckpointError(
            f"the weights {path} do not fit the model:\n    {listed(problems)}",
            do="name the weights of this very model, or let the factory load them itself",
        )
    model.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"the weights {path} are not there", do="check the path")
    if path.stat().st_size > MOST_BYTES:
        raise CheckpointError(f"the weights {path} are too large", expected=f"at most {MOST_BYTES:,} bytes")
    try:
        if path.suffix == ".safetensors":
            raw: Any = safetensors.torch.load_file(path)
        else:
            check_archive(path)
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except Forbidden as error:
        raise CheckpointError(
            f"{path} was refused: it contains more than tensors, which could run code; nothing was executed",
            got=error,
            do="save the state_dict alone, or let the factory load the file",
        ) from None
    except Exception as error:  # torch and safetensors raise many classes for damaged files
        raise CheckpointError(f"the weights {path} cannot be read", got=refusal(error)) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(raw, Mapping) and isinstance(raw.get(key), Mapping):
            raw = raw[key]
    if not isinstance(raw, Mapping) or not all(isinstance(value, Tensor) for value in raw.values()):
        raise CheckpointError(f"{path} holds no weights", got=type(raw).__name__, expected="tensors by name")
    return {str(name): value for name, value in raw.items()}

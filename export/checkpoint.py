"""Checkpoints: a configuration, weights and a contract in one file that cannot run code.

``.pt``: ``torch.save({"format": 1, "config": ..., "state_dict": ..., "contract": ...})``, read with
``weights_only=True`` and nothing else. ``.safetensors``: the weights, the rest as JSON in its metadata.
"""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mimamba_edge.artifact import write_bytes
from mimamba_edge.contract import Contract
from mimamba_edge.errors import CheckpointError, ConfigError, ContractError, listed, quoted, shorten
from mimamba_edge.export.archive import MOST_BYTES, Forbidden, check_archive
from mimamba_edge.export.network import Network
from mimamba_edge.family import FAMILIES, Config, family_named, family_of
from mimamba_edge.files import begins_as_text
from mimamba_edge.strict_json import Malformed, check_bounds, decode

__all__ = ["FORMAT", "Checkpoint", "load_checkpoint", "save_checkpoint", "write_checkpoint"]

FORMAT = 1
"""Version of the checkpoint's layout."""
_METADATA = "mimamba."
_MOST_HEADER = 4 << 20
_WHOLE = ("torch.int64", "torch.int32", "torch.bool")
"""Types of counters and masks among the weights of networks of others."""
_AGAIN = "train again, or get an undamaged copy of the file"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose weights were found whole.

    Attributes:
        config: The model's configuration.
        state_dict: Every parameter, float32; of a network of others also whole numbers as they are.
        contract: What the model expects and gives.
    """

    config: Config
    state_dict: dict[str, Tensor]
    contract: Contract

    def build(self) -> Network:
        """Return the model with these weights, in evaluation mode.

        Raises:
            ConfigError: It is a network of others, whose code is not here.
        """
        model = family_of(self.contract).network(self.config.to_dict())
        model.load_state_dict(self.state_dict)
        return model.eval()


def save_checkpoint(path: Path, model: Network, contract: Contract) -> None:
    """Write a checkpoint atomically; the contract gets the model's family and configuration.

    Args:
        path: ``.safetensors`` for that format, any other name for torch's.
        model: The model.
        contract: Its contract.

    Raises:
        CheckpointError: Contract and model disagree, or a weight is not finite: nobody could read the file.
        OutputError: The file cannot be written.
    """
    contract = dataclasses.replace(contract, family=model.family)
    write_checkpoint(path, model.state_dict(), model.config, contract)


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], config: Config, contract: Contract) -> None:
    """Write a checkpoint atomically from its parts; the contract gets the configuration.

    Raises:
        CheckpointError, OutputError: As :func:`save_checkpoint`.
    """
    path = Path(path)
    contract = dataclasses.replace(contract, model=config.to_dict())
    state = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    _refuse(path, [*_disagreements(config, contract), *_not_finite(state)], "written")
    parts = {"format": FORMAT, "config": config.to_dict(), "contract": contract.to_dict()}
    if path.suffix == ".safetensors":
        metadata = {_METADATA + name: json.dumps(value, sort_keys=True) for name, value in parts.items()}
        data = safetensors.torch.save(state, metadata=metadata)
    else:
        buffer = io.BytesIO()
        torch.save({**parts, "state_dict": state}, buffer)
        data = buffer.getvalue()
    write_bytes(path, data)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        CheckpointError: The file is missing, damaged, of an unknown format, wants more than tensors, or its
            parts do not fit each other; all faults of the weights are listed at once.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"the checkpoint {path} is {'not a file' if path.exists() else 'not there'}",
            do="check the path, or run `mimamba-edge train`",
        )
    if path.stat().st_size > MOST_BYTES:
        raise CheckpointError(
            f"the checkpoint {path} is too large",
            got=f"{path.stat().st_size:,} bytes",
            expected=f"at most {MOST_BYTES:,}",
        )
    raw = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(raw, dict) or "format" not in raw:
        raise _not_ours(path, raw)
    written = raw["format"]
    if type(written) is not int or written != FORMAT:
        raise CheckpointError(
            f"{path} has a format that this version cannot read",
            got=quoted(written) if isinstance(written, (int, str)) else f"a {type(written).__name__}",
            expected=FORMAT,
            do="install the mimamba-edge version that wrote it",
        )
    if missing := [key for key in ("config", "state_dict", "contract") if key not in raw]:
        raise CheckpointError(f"{path} is incomplete", got=f"no {', '.join(missing)}", do=_AGAIN)
    try:
        for part in ("config", "contract"):
            check_bounds(raw[part], part)
        contract = Contract.from_dict(raw["contract"])
        config = family_of(contract).config(raw["config"])
    except (ConfigError, ContractError, Malformed) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    state = raw["state_dict"]
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{path} is incomplete", got=f"state_dict is a {type(state).__name__}", do=_AGAIN
        )
    _refuse(path, [*_disagreements(config, contract), *_misfits(contract.family, config, state)])
    state = {
        name: value.detach().to(torch.float32) if value.is_floating_point() else value.detach()
        for name, value in state.items()
    }
    _refuse(path, _not_finite(state))
    return Checkpoint(config, state, contract)


def _not_ours(path: Path, raw: Any) -> CheckpointError:
    """Return what to do with a file of others, or with the weights of a network of ours alone."""
    held = raw.get("state_dict", raw) if isinstance(raw, dict) else {}
    shapes = {
        name: tuple(value.shape)
        for name, value in (held.items() if isinstance(held, Mapping) else ())
        if isinstance(name, str) and not _not_plain(value)
    }
    for family in FAMILIES:
        settings = family_named(family).settings_in(shapes)
        if settings and not [
            *_misfits(family, family_named(family).config({**settings, "sfreq": 1.0}), held)
        ]:
            return CheckpointError(
                f"{path} holds the weights of a network of the family {family} without settings and contract",
                expected="a checkpoint, which holds all three, or a factory that says the rest, as net.py:\n"
                "    from mimamba_edge.family import family_named\n"
                f"    def net(): return family_named({family!r}).network({settings} | {{'sfreq': RATE}})",
                do="add settings that are not the defaults and leave no trace in weights, put the rate in Hz "
                "for RATE, and run\n    mimamba-edge export --model net:net "
                f"--weights {path.name} --input 1x{settings['n_chans']}x{settings['n_times']} "
                "--channels NAME,... --sfreq RATE --classes NAME,...",
            )
    return CheckpointError(
        f"{path} is not a checkpoint of this tool",
        got=f"keys {quoted(list(raw)[:4], 300)}" if isinstance(raw, dict) else type(raw).__name__,
        expected="a dict with the keys format, config, state_dict, contract",
        do="weights of a model of your own: `mimamba-edge export --model package.module:factory "
        f"--weights {path.name} --input 1x3x224x224`, which runs that factory's code",
    )


def _refuse(path: Path, problems: Any, use: str = "used") -> None:
    """Raise one error that lists every problem, if there is one."""
    if found := listed(problems):
        raise CheckpointError(f"the checkpoint {path} cannot be {use}:\n    {found}", do=_AGAIN)


def _read_torch(path: Path) -> Any:
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on foreign pickles; the errors below say more
            return torch.load(path, map_location="cpu", weights_only=True)
    except Forbidden as error:
        raise CheckpointError(
            f"{path} was refused: it contains more than tensors, which could run code; nothing was executed",
            got=error,
            expected="numbers, text, lists, dicts and tensors only",
            do="where you trust its source, load it by torch, save its weights alone by\n"
            "    torch.save(model.state_dict(), 'weights.pt')\n"
            "and export them with the code of the model:\n"
            "    mimamba-edge export --model package.module:factory --weights weights.pt --input 1x3x224x224",
        ) from None
    except Exception as error:  # torch raises many classes for damaged files
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> CheckpointError:
    # The text of a KeyError is the bare key.
    reason = "" if isinstance(error, KeyError) else str(error).split(". ")[0].strip()
    return CheckpointError(
        f"the checkpoint {path} is damaged or not a checkpoint",
        got=begins_as_text(path) or f"{path.stat().st_size} bytes; {reason or type(error).__name__}",
        do="copy it again from its source and compare the sizes",
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as head:
            if int.from_bytes(head.read(8), "little") > _MOST_HEADER:
                raise Malformed(f"a header of more than {_MOST_HEADER:,} bytes")
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            raw: dict[str, Any] = {"state_dict": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
        for name, text in metadata.items():
            if name.startswith(_METADATA):
                raw[name.removeprefix(_METADATA)] = decode(text, object)
        return raw
    except Exception as error:  # as many classes as torch's
        raise _damaged(path, error) from None


def _disagreements(config: Config, contract: Contract) -> Iterator[str]:
    for name in ("n_chans", "n_times", "n_outputs", "sfreq"):
        ours, promised = getattr(config, name), getattr(contract, name)
        if ours != promised:
            yield f"{name}: the configuration says {ours}, the contract {promised}"


def _misfits(family: str, config: Config, state: Mapping[Any, Any]) -> Iterator[str]:
    """Yield every weight that is missing, unknown, mis-shaped or not a floating-point tensor.

    Of a network of others only the tensors are judged: to know its names and shapes is to run its code.
    """
    if not family_named(family).has_code:
        for name, value in state.items():
            if not isinstance(name, str):
                yield f"{quoted(name)}: not the name of a weight"
            elif (kind := _not_plain(value)) and kind not in _WHOLE:
                yield f"{shorten(name, 80)}: got {kind}, expected a dense tensor of real numbers"
        return
    with torch.device("meta"):
        expected = family_named(family).network(config.to_dict()).state_dict()
    for name, wanted in expected.items():
        if name not in state:
            yield f"{name}: missing, expected shape {tuple(wanted.shape)}"
            continue
        value = state[name]
        if kind := _not_plain(value):
            yield f"{name}: got {kind}, expected a dense floating-point tensor"
        elif value.shape != wanted.shape:
            yield f"{name}: got shape {tuple(value.shape)}, expected {tuple(wanted.shape)}"
    for name in state:
        if name not in expected:
            yield f"{shorten(name, 80) if isinstance(name, str) else quoted(name)}: unknown"


def _not_plain(value: object) -> str | None:
    """Return what a weight is instead of numbers in memory, whose shape can be asked for."""
    if type(value) not in (Tensor, torch.nn.Parameter) or not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_nested or value.is_quantized or value.layout is not torch.strided:
        return "a nested, quantised or sparse tensor"
    if value.device.type != "cpu":
        return f"a tensor on the device {value.device.type}"
    return None if value.is_floating_point() else str(value.dtype)


def _not_finite(state: Mapping[str, Tensor]) -> Iterator[str]:
    for name, value in state.items():
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            yield f"{name}: {bad} of {value.numel()} weights are NaN or infinite"

"""Networks of others to train: made by a factory that the user names, once for every fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ConfigError, ExportError
from mimamba_edge.export.families.foreign import ForeignConfig
from mimamba_edge.export.foreign.contract import check_fits
from mimamba_edge.export.foreign.factory import make, place_of, refusal
from mimamba_edge.signature import Tensor as Described

__all__ = ["ForeignBlueprint", "checked_blueprint"]

_TRIED = 4
"""Windows that a network is tried on."""


@dataclass(frozen=True)
class ForeignBlueprint:
    """Makes networks by a factory. This runs the user's Python, in worker processes too.

    Attributes:
        config: Name of the factory, and what it is called with.
    """

    config: ForeignConfig

    def network(self) -> nn.Module:
        """Return a new network: float32, on the CPU; what the factory froze stays frozen.

        Raises:
            ConfigError: There is no such factory, it raises, or what it returns is no model.
        """
        spec = self.config.name
        model = make(spec, self.config.sizes)
        if not isinstance(model, nn.Module):
            raise ConfigError(
                f"{spec} did not return a model", got=type(model).__name__, expected="a torch.nn.Module"
            )
        return model.to("cpu", torch.float32)


def checked_blueprint(spec: str, contract: Contract) -> ForeignBlueprint:
    """Return what makes the networks of a factory, after a network of it was tried.

    Args:
        spec: ``package.module:factory``.
        contract: What it must take and give.

    Raises:
        ConfigError: There is no such factory, it raises, gives the same network twice, or nothing to train.
        ExportError: The network does not take the windows, or does not give one number a class.
    """
    blueprint = ForeignBlueprint(ForeignConfig.of(spec, contract))
    model, other = blueprint.network(), blueprint.network()
    _check_new(model, other, spec)
    _try(model, contract)
    return blueprint


def _check_new(model: nn.Module, other: nn.Module, spec: str) -> None:
    held = {value.data_ptr() for value in model.state_dict().values() if value.numel()}
    if model is other or any(value.data_ptr() in held for value in other.state_dict().values()):
        raise ConfigError(
            f"{spec} gives the same weights each time: what one fold learned would be known to the next",
            expected="a function or class that makes a new network at each call",
            do="write a function that returns copy.deepcopy(model), or name the class",
        )
    if not any(value.requires_grad for value in model.parameters()):
        raise ConfigError(
            f"the network of {spec} has nothing to train",
            got=f"{sum(value.numel() for value in model.parameters()):,} parameters, none with requires_grad",
            do="let the factory leave some with requires_grad",
        )


def _try(model: nn.Module, contract: Contract) -> None:
    """Run a network once as a fit does, before anybody waits for the first of many."""
    windows = torch.randn(_TRIED, contract.n_chans, contract.n_times)
    try:
        logits = model.train()(windows)
        if isinstance(logits, Tensor):
            check_fits(contract, [_described(logits)], None)
            logits.sum().backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                logits = model.eval()(windows[:1])
    except ExportError:
        raise
    except Exception as error:
        place = place_of(error, model)
        raise ConfigError(
            "the network does not run on these windows" + (f": module {place} raises" if place else ""),
            got=refusal(error),
            expected=f"one that takes (b, {contract.n_chans}, {contract.n_times}), float32",
            do="choose another --window, --sfreq or --channels, or let the factory return a module that fits",
        ) from error
    if not isinstance(logits, Tensor):
        raise ConfigError(
            "the network does not return one tensor",
            got=type(logits).__name__,
            expected=f"logits (b, {contract.n_outputs})",
            do="let the factory return a module that gives the logits alone",
        )
    check_fits(contract, [_described(logits)], None)


def _described(logits: Tensor) -> Described:
    return Described("logits", str(logits.dtype).removeprefix("torch."), tuple(logits.shape[1:]))

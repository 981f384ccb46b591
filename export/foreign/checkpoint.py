"""Checkpoints of networks of others: weights and a contract for the network of a factory named again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from mimamba_edge.contract import FOREIGN_FAMILY, Contract
from mimamba_edge.errors import CheckpointError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint
from mimamba_edge.export.families.foreign import ForeignConfig
from mimamba_edge.export.foreign.blueprint import ForeignBlueprint
from mimamba_edge.export.foreign.factory import frozen, load_state

__all__ = ["load_into", "need_foreign", "open_network"]


def open_network(path: Path, spec: str) -> tuple[nn.Module, Contract]:
    """Return the network of a checkpoint, ready for an export, and its contract.

    Args:
        path: What ``train --model`` wrote.
        spec: ``package.module:factory``, which is run.

    Raises:
        CheckpointError: The file cannot be used, holds a network of ours, or weights of another network.
        ConfigError: There is no such factory, it raises, or what it returns is no model.
    """
    held = load_checkpoint(path)
    need_foreign(held, path, spec)
    blueprint = ForeignBlueprint(ForeignConfig.of(spec, held.contract))
    network = load_into(blueprint, held, path)
    return frozen(network, spec), dataclasses.replace(held.contract, model=blueprint.config.to_dict())


def need_foreign(held: Checkpoint, path: Path, spec: str) -> None:
    """Check that a checkpoint needs a factory.

    Raises:
        CheckpointError: It is of a network of ours.
    """
    if held.contract.family != FOREIGN_FAMILY:
        raise CheckpointError(
            f"{path} holds a network of ours, which needs no factory",
            got=f"--model {spec}",
            do="leave --model out",
        )


def load_into(blueprint: ForeignBlueprint, held: Checkpoint, path: Path) -> nn.Module:
    """Return a network with the weights of a checkpoint.

    Raises:
        CheckpointError: They do not fit; all that are missing, unknown or of another shape are listed.
    """
    network = blueprint.network()
    load_state(network, held.state_dict, path)
    return network

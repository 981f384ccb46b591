"""The contract of an EEG network of others: ``(b, channels, samples)`` to one number a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimamba_edge.contract import FOREIGN_FAMILY, Contract, Scaling, default_hop
from mimamba_edge.errors import ConfigError, ContractError, ExportError, quoted
from mimamba_edge.export.foreign.inputs import parse_shape
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signature import Tensor
from mimamba_edge.strict_json import Malformed, read_json

__all__ = ["check_fits", "contract_for", "read_contract"]

_SCALINGS = ("none", "window-zscore")


def contract_for(
    shape: str, channels: Sequence[str], sfreq: float, classes: Sequence[str], scaling: str = "none"
) -> Contract:
    """Return a contract with the hop and the filters that ``train`` gives, without a mains notch.

    Args:
        shape: Of the input: ``1xCHANNELSxSAMPLES``.
        channels: Names in the order of the input.
        sfreq: Rate of the windows in Hz.
        classes: Names in the order of the output.
        scaling: ``"none"``: the network takes microvolts; ``"window-zscore"``.

    Raises:
        ConfigError: The shape is not that of so many channels, or the scaling needs numbers.
        ContractError: A name stands twice, or a value is out of its range.
    """
    taken = parse_shape(shape)
    if len(taken.sizes) != 2 or taken.dtype != "float32" or taken.sizes[0] != len(channels):
        raise ConfigError(
            "--input does not fit --channels",
            got=f"{shape} for {len(channels)} channels",
            expected=f"1x{len(channels)}xSAMPLES, float32",
            do="where the network takes another shape, let the factory return a module that reshapes",
        )
    if scaling not in _SCALINGS:
        raise ConfigError(
            "not a scaling for a network of others",
            got=quoted(scaling),
            expected=" or ".join(_SCALINGS),
            do="with centre and scale for each channel: export_module(..., contract=Contract(...)) in Python",
        )
    return Contract(
        ch_names=tuple(channels),
        sfreq=sfreq,
        n_times=taken.sizes[1],
        hop=default_hop(sfreq),
        class_names=tuple(classes),
        filters=default_filters(sfreq, None),
        scaling=Scaling(scaling),
        family=FOREIGN_FAMILY,
    )


def read_contract(path: Path) -> Contract:
    """Read a contract from a file of its own, as ``docs/formats/contract.schema.json`` describes it.

    Raises:
        ContractError: It is not there or no JSON, or a field is missing, unknown or out of its range.
    """
    try:
        raw = read_json(path, dict[str, Any])
    except (OSError, Malformed) as error:
        got = error.strerror if isinstance(error, OSError) else error
        raise ContractError(
            f"the contract {path} cannot be read",
            got=got,
            expected="a JSON object",
            do="docs/formats/contract.schema.json says what stands in it",
        ) from error
    if "manifest_format" in raw:
        raise ContractError(
            f"{path} is a manifest: its contract tells of the weights beside it",
            expected="a contract alone",
            do='write the object under "contract" to a file, without its "training" and "temperature"',
        )
    try:
        return Contract.from_dict(raw)
    except ContractError as error:
        raise ContractError(
            f"the contract {path} cannot be used: {error.what}",
            got=error.got,
            expected=error.expected,
            do="correct the field; docs/formats/contract.schema.json says what stands there",
        ) from error


def check_fits(contract: Contract, outputs: Sequence[Tensor], batch: int | None) -> None:
    """Check that a traced network gives what its contract says.

    Raises:
        ExportError: It gives something else, or takes one batch size only.
    """
    (wanted,) = contract.signature.outputs
    if [(tensor.dtype, tensor.shape) for tensor in outputs] != [(wanted.dtype, wanted.shape)]:
        raise ExportError(
            "the model's output does not fit the classes",
            got=", ".join(map(str, outputs)),
            expected=f"one output, float32 (b, {contract.n_outputs}): {', '.join(contract.class_names)}",
            do="name its classes, in order, or let the factory return a module that gives one logit for each",
        )
    if batch is not None:
        raise ExportError(
            "the model cannot be streamed: torch could not leave its batch size open",
            got=f"batch {batch} only",
            expected="any batch size: several streams share one run",
            do="replace fixed sizes in its forward, such as view(1, ...), by x.shape[0] or -1",
        )

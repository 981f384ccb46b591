"""The contract of an EEG network of others: ``(b, channels, samples)`` to one number a class."""

from __future__ import annotations

from collections.abc import Sequence

from mimamba_edge.contract import FOREIGN_FAMILY, Contract, Scaling, default_hop
from mimamba_edge.errors import ConfigError, ExportError, quoted
from mimamba_edge.export.foreign.inputs import parse_shape
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.signature import Tensor

__all__ = ["check_fits", "contract_for"]

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
            do="correct --classes, or let the factory return a module that gives one logit for each class",
        )
    if batch is not None:
        raise ExportError(
            "the model cannot be streamed: torch could not leave its batch size open",
            got=f"batch {batch} only",
            expected="any batch size: several streams share one run",
            do="replace fixed sizes in its forward, such as view(1, ...), by x.shape[0] or -1",
        )

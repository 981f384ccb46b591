"""What a model carries beside its graph: the contract, and with it the family."""

from __future__ import annotations

from onnx import ModelProto

from mimamba_edge.contract import METADATA_KEY, Contract
from mimamba_edge.family import Family, family_of

__all__ = ["family_in"]


def family_in(model: ModelProto) -> Family | None:
    """Return the family of a model; ``None`` where it carries no contract.

    Raises:
        ContractError: The contract is damaged, or this build does not know the family.
    """
    text = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    return None if text is None else family_of(Contract.from_json(text))

"""What a file for ONNX Runtime says of itself, compared with its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import manifest_path
from mimamba_edge.contract import METADATA_KEY, Contract, Promise
from mimamba_edge.errors import ArtifactError, ContractError
from mimamba_edge.signature import FREE, SIGNATURE_KEY, TYPES, Signature, Tensor

__all__ = ["check_contract", "check_tensors"]


def check_contract(path: Path, metadata: Mapping[str, str], promise: Promise) -> None:
    """Check that a file carries the contract of its manifest.

    Args:
        path: The file.
        metadata: Texts in it.
        promise: Contract or signature of its manifest.

    Raises:
        ContractError: It carries none.
        ArtifactError: It carries another one.
    """
    tensors = isinstance(promise, Signature)
    key, kind = (SIGNATURE_KEY, Signature) if tensors else (METADATA_KEY, Contract)
    text = metadata.get(key)
    if text is None:
        raise ContractError(
            f"{path} carries no contract",
            expected=f"metadata_props[{key!r}]",
            do="use a file that `mimamba-edge export` wrote",
        )
    inside, beside = kind.from_json(text).to_dict(), promise.to_dict()
    differing = [key for key in {**inside, **beside} if inside.get(key) != beside.get(key)]
    if differing:
        raise ArtifactError(
            f"{path} and {manifest_path(path).name} hold different contracts",
            got={key: inside.get(key) for key in differing},
            expected={key: beside.get(key) for key in differing},
            do="export again",
        )


def check_tensors(path: Path, session: Any, signature: Signature) -> None:
    """Check that the tensors of a session are those of the manifest.

    Args:
        path: The file.
        session: An ``InferenceSession`` of it.
        signature: Of its manifest.

    Raises:
        ArtifactError: They are others.
    """
    got = {t.name: (t.type, list(t.shape)) for t in (*session.get_inputs(), *session.get_outputs())}
    handed = [(name, s.shape) for s in signature.states for name in (s.input, s.output)]
    tensors = [signature.input, *signature.outputs]
    tensors += [Tensor(name, "float32", shape) for name, shape in handed]
    want = {t.name: (TYPES[t.dtype], [signature.batch or "b", *t.shape]) for t in tensors}
    fits = len(session.get_inputs()) == 1 + len(signature.states) and all(
        name in got
        and got[name][0] == kind
        and [FREE if isinstance(size, str) else size for size in got[name][1][1:]] == shape[1:]
        for name, (kind, shape) in want.items()
    )
    if not fits:
        raise ArtifactError(
            f"the tensors of {path} do not match its contract", got=got, expected=want, do="export again"
        )

"""Reference input and output beside an artefact: what a runtime's answers are verified against."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.artifact import Manifest
from mimamba_edge.contract import LOGITS, Contract, Promise
from mimamba_edge.errors import ArtifactError
from mimamba_edge.runtime.base import Arrays, need_contract, signature_of

__all__ = ["PRECISION_SUFFIXES", "Reference", "reference_path"]

PRECISION_SUFFIXES = (".fp16", ".int8-cpu", ".int8")
"""What stands in the name of an artefact of lower precision, before ``.onnx``."""


def reference_path(artifact: Path) -> Path:
    """Return the path of the ``NAME.ref.npz`` of an artefact.

    ``NAME.onnx``, ``NAME.trt.onnx``, ``NAME.inline.onnx``, ``NAME.plan`` and those of lower precision
    (``NAME.fp16.onnx``, ...) share one: the checkpoint's answers.
    """
    artifact = Path(artifact)
    name = artifact.name
    for suffix in (".plan", ".onnx", ".trt", ".inline", *PRECISION_SUFFIXES):
        name = name.removesuffix(suffix)
    return artifact.with_name(name + ".ref.npz")


_MOST_BYTES = 512 << 20
"""Of all arrays: 256 windows of the most channels and samples that a model takes."""


@dataclass(frozen=True)
class Reference:
    """The checkpoint's answers on some windows.

    Attributes:
        windows: ``(n, n_chans, n_times)`` float32, scaled; of a model without a contract its input.
        outputs: ``logits (n, n_outputs)`` float32, and the auxiliary outputs of the model's family; of a
            model without a contract its outputs.
        source_sha256: Hash of the checkpoint that gave the answers.
        promise: The checkpoint's contract, or the model's signature.
    """

    windows: NDArray[np.float32]
    outputs: Arrays
    source_sha256: str
    promise: Promise

    @property
    def contract(self) -> Contract:
        """The checkpoint's contract.

        Raises:
            ContractError: The model has none.
        """
        return need_contract(self.promise, "the model")

    @property
    def logits(self) -> NDArray[np.float32]:
        """``(n, n_outputs)``."""
        return self.outputs[LOGITS]  # type: ignore[return-value]

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a ``.ref.npz`` and check it against its manifest and contract.

        Raises:
            ArtifactError: The file or its manifest is missing or damaged, or they disagree.
        """
        path = Path(path)
        manifest = Manifest.load(path)
        signature = signature_of(manifest.promise)
        wanted = {t.name: t for t in (signature.input, *signature.outputs)}
        try:
            with zipfile.ZipFile(path) as archive:
                if (size := sum(entry.file_size for entry in archive.infolist())) > _MOST_BYTES:
                    raise ValueError(f"{size:,} bytes when unpacked, at most {_MOST_BYTES:,} are read")
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                arrays: dict[str, NDArray[Any]] = {n: np.asarray(held[n]) for n in wanted}
                arrays.update({n: np.asarray(held[n]) for n in held.files if n not in arrays})
        except Exception as error:  # whatever a damaged file sets off in zipfile, zlib, tokenize and NumPy
            raise ArtifactError(
                f"{path} is not a file of reference windows", got=error, do="export again"
            ) from error
        windows = arrays[signature.input.name]
        n = windows.shape[0] if windows.ndim else 0
        got = {name: (str(a.dtype), a.shape) for name, a in arrays.items()}
        fits = (
            n >= 1
            and all(got[name][0] == t.dtype and t.takes(arrays[name].shape[1:]) for name, t in wanted.items())
            and all(a.dtype.kind in "fiub" and a.shape[:1] == (n,) for a in arrays.values())
        )
        if not fits:
            raise ArtifactError(f"the arrays in {path} do not match its contract", got=got, do="export again")
        return cls(
            windows=arrays.pop(signature.input.name),
            outputs=arrays,
            source_sha256=manifest.source_sha256,
            promise=manifest.promise,
        )

    @classmethod
    def beside(cls, artifact: Path) -> Reference:
        """Read the reference of an artefact and check that both were made from the same checkpoint.

        Raises:
            ArtifactError: As :meth:`load`, or the two have different sources.
        """
        path = reference_path(artifact)
        if not path.is_file():
            raise ArtifactError(
                f"{artifact} has no reference outputs beside it, so it cannot be verified",
                expected=path,
                do="copy NAME.ref.npz and its manifest along with the model, or export again",
            )
        reference, source = cls.load(path), Manifest.load(Path(artifact)).source_sha256
        if reference.source_sha256 != source:
            raise ArtifactError(
                f"{artifact} and {path.name} were made from different checkpoints",
                got=f"source sha256 {reference.source_sha256}",
                expected=f"source sha256 {source}",
                do="copy both from the same export, or export again",
            )
        return reference

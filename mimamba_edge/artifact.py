"""The manifest beside each artefact; what writes files whole is in :mod:`mimamba_edge.files`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mimamba_edge import __version__
from mimamba_edge.contract import OPS, Contract, Promise
from mimamba_edge.errors import ArtifactError, ContractError, PluginError
from mimamba_edge.files import (
    atomic_write,
    cache_folder,
    check_writable,
    made_folder,
    manifest_path,
    sha256_bytes,
    sha256_file,
    source_state,
    write_bytes,
    write_json,
)
from mimamba_edge.signature import Signature
from mimamba_edge.strict_json import Malformed, convert, read_json

__all__ = [
    "INLINED",
    "Manifest",
    "atomic_write",
    "cache_folder",
    "check_writable",
    "load_library_manifest",
    "load_portable_manifest",
    "made_folder",
    "manifest_path",
    "sha256_bytes",
    "sha256_file",
    "source_state",
    "write_bytes",
    "write_json",
    "write_manifest",
]

T = TypeVar("T")

MANIFEST_FORMAT = 1
INLINED = "inline.onnx"
"""Kind of a model of standard ops without functions, and how its file's name ends."""
MOST_BYTES = 2 << 30
"""Of an artefact: what protobuf can hold. A terabyte that is not on the disk is not hashed."""


@dataclass(frozen=True)
class Manifest:
    """What stands in ``FILE.json`` beside an artefact ``FILE``.

    Attributes:
        file: Name of the artefact, without folders.
        kind: ``"onnx"``, ``"trt.onnx"``, :data:`INLINED`, ``"plan"`` or ``"ref.npz"``.
        precision: ``"fp32"`` and so on.
        sha256: Hash of the artefact's bytes.
        source_sha256: Hash of what it was made from (the checkpoint).
        contract: The model's contract; ``None`` where it has none.
        ops: Versions of the custom ops inside.
        versions: Versions of the tools that made it.
        source: Commit and dirty flag of the code that made it.
        verification: Figures of the check that let it be published.
        manifest_format: :data:`MANIFEST_FORMAT`.
        engine: Of a plan: what the engine depends on; left out of the file where it is empty.
        signature: Of a model without a contract: its tensors; left out of the file where there is a contract.
        form: Of scans whose bodies are not standard ops alone: ``"linear-attention"``; else left out.
    """

    file: str
    kind: str
    precision: str
    sha256: str
    source_sha256: str
    contract: Contract | None
    ops: dict[str, int] = field(default_factory=lambda: dict(OPS))
    versions: dict[str, str] = field(default_factory=lambda: {"mimamba-edge": __version__})
    source: dict[str, Any] = field(default_factory=source_state)
    verification: dict[str, Any] = field(default_factory=dict)
    manifest_format: int = MANIFEST_FORMAT
    engine: dict[str, Any] = field(default_factory=dict)
    signature: Signature | None = None
    form: str = ""

    def __post_init__(self) -> None:
        if (self.contract is None) == (self.signature is None):
            raise ContractError("a manifest needs a contract or, of a model without one, a signature")

    @property
    def promise(self) -> Promise:
        """The contract, or of a model without one its signature."""
        promise = self.contract or self.signature
        assert promise is not None
        return promise

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self)
        for name in ("contract", "signature"):
            held = getattr(self, name)
            plain[name] = None if held is None else held.to_dict()
        for name in ("engine", "signature", "form"):
            if not plain[name]:
                del plain[name]
        return plain

    @classmethod
    def load(cls, artifact: Path) -> Manifest:
        """Read the manifest beside ``artifact`` and check that it describes these very bytes.

        Raises:
            ArtifactError: Either file is missing or damaged, or they disagree.
            ContractError: The contract inside is not valid.
        """
        artifact = Path(artifact)
        path = manifest_path(artifact)
        if not artifact.is_file():
            raise ArtifactError(f"{artifact} is not there", do="check the path, or run `mimamba-edge export`")
        if not path.is_file():
            raise ArtifactError(
                f"{artifact} has no manifest beside it",
                expected=path,
                do="copy the manifest along with the file, or export again",
            )
        try:
            raw = read_json(path, dict[str, Any])
            if raw.get("manifest_format", MANIFEST_FORMAT) != MANIFEST_FORMAT:
                raise ArtifactError(
                    f"the manifest {path} has a format that this version cannot read",
                    got=raw["manifest_format"],
                    expected=MANIFEST_FORMAT,
                    do="install the mimamba-edge version that wrote it, or export again",
                )
            if raw.get("contract") is not None:
                Contract.from_dict(raw["contract"])  # its errors say more
            manifest = convert(raw, cls)
        except (OSError, Malformed) as error:
            raise ArtifactError(f"the manifest {path} is damaged", got=error, do="export again") from error
        if (size := artifact.stat().st_size) > MOST_BYTES:
            raise ArtifactError(
                f"{artifact} is too large", got=f"{size:,} bytes", expected=f"at most {MOST_BYTES:,}"
            )
        actual = sha256_file(artifact)
        if actual != manifest.sha256:
            raise ArtifactError(
                f"{artifact} and its manifest {path.name} disagree",
                got=f"sha256 {actual}",
                expected=f"sha256 {manifest.sha256}",
                do="copy both files again from where they were exported, or export again",
            )
        return manifest


def load_portable_manifest(artifact: Path, done: str) -> Manifest:
    """Read the manifest of a portable model, of any precision.

    Args:
        artifact: ``NAME.onnx``.
        done: What would be done with it, for errors: ``"quantised"``.

    Raises:
        ArtifactError: As :meth:`Manifest.load`, or the file is of another kind.
    """
    manifest = Manifest.load(artifact)
    if manifest.kind != "onnx":
        raise ArtifactError(
            f"{artifact} cannot be {done}",
            got=f"kind {manifest.kind!r} in its manifest",
            expected="the portable NAME.onnx of `mimamba-edge export`",
        )
    return manifest


def write_manifest(artifact: Path, manifest: Manifest) -> None:
    """Write the manifest beside ``artifact`` atomically."""
    write_json(manifest_path(artifact), manifest.to_dict())


def load_library_manifest(library: Path, cls: type[T], *, key: str, number: int, what: str, build: str) -> T:
    """Read the manifest beside a shared library that this package built.

    Args:
        library: The library.
        cls: What stands in the manifest, but for its format.
        key: Name of the format's number in it.
        number: The format that is read.
        what: The library in words, for the error.
        build: The command that makes one, for the error.

    Raises:
        PluginError: It is not readable, of another format or malformed.
    """
    path = manifest_path(library)
    try:
        raw = read_json(path, dict[str, Any])
        if raw.pop(key, None) != number:
            raise Malformed(f"not of format {number}")
        return convert(raw, cls)
    except (OSError, Malformed) as error:
        raise PluginError(
            f"{path} is not the manifest of {what}", got=error, do=f"build the library again: {build}"
        ) from error

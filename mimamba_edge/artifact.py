"""Files that are whole or not there: atomic writes, hashes, and the manifest beside each artefact."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from mimamba_edge import __version__
from mimamba_edge.contract import OPS, Contract
from mimamba_edge.errors import ArtifactError, OutputError
from mimamba_edge.plain import Malformed, convert, read_json

__all__ = [
    "Manifest",
    "atomic_write",
    "cache_folder",
    "check_outputs",
    "check_writable",
    "made_folder",
    "manifest_path",
    "sha256_bytes",
    "sha256_file",
    "source_state",
    "write_bytes",
    "write_json",
    "write_manifest",
]

MANIFEST_FORMAT = 1
MOST_BYTES = 2 << 30
"""Of an artefact: what protobuf can hold. A terabyte that is not on the disk is not hashed."""


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder of what can be made again (plugin libraries, engines, timing caches); not made here.

    ``MIMAMBA_CACHE``, else ``$XDG_CACHE_HOME/mimamba-edge``, else ``~/.cache/mimamba-edge``.
    """
    if named := os.environ.get("MIMAMBA_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mimamba-edge"


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` for the block; what was made and is still empty at its end is removed again."""
    missing = list(itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()


@contextlib.contextmanager
def atomic_write(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its name when the block ends well.

    On any exception (Ctrl-C too) the temporary file is removed and ``path`` stays as it was.

    Args:
        path: The file.
        private: Nobody else may read it (mode 0600), whatever the umask.

    Raises:
        OutputError: The folder cannot be created or written, or the disk is full.
    """
    path = Path(path)
    try:
        with made_folder(path.parent), _replacing(path, private) as file:
            yield file
    except OSError as error:
        raise _output_error(path, error) from error


@contextlib.contextmanager
def _replacing(path: Path, private: bool) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary: Path | None = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private; an artefact gets what the user's umask allows.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o600 if private else 0o666 & ~umask)
        Path(name).replace(path)
        temporary = None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"the disk is full: {path} was not written",
            got=error.strerror,
            do="free space or write elsewhere; nothing was overwritten",
        )
    return OutputError(
        f"cannot write {path}",
        got=error.strerror or str(error),
        expected="a folder that this user may write to",
        do="choose another output path",
    )


def check_writable(path: Path) -> None:
    """Find out before long work whether ``path`` can be written later; nothing is made for that.

    Raises:
        OutputError: The folder cannot be created or written, or ``path`` is a folder.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise OutputError(f"cannot write {path}", got="a folder", expected="a file name")
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _output_error(path, error) from error


def check_outputs(outputs: Sequence[Path | None], inputs: Sequence[Path | str] = ()) -> None:
    """Find out before long work whether all ``outputs`` can be written, and none over an input or another.

    An input's manifest, its form for TensorRT and its reference windows count as inputs; so do the recordings
    and checkpoints in a folder. An artefact's manifest is an output as it is.

    Raises:
        OutputError: See :func:`check_writable`; or the paths collide.
    """
    read = [Path(path).resolve() for path in inputs]
    taken: dict[Path, str] = {}
    for path in read:
        reference = path.with_suffix(".ref.npz")
        for held in (path, path.with_suffix(".trt.onnx"), reference):
            taken[held] = taken[manifest_path(held)] = "an input of this command"
    for given in outputs:
        if given is None:
            continue
        check_writable(given)
        path = Path(given).resolve()
        within = path.parent in read and path.suffix in (".csv", ".pt", ".safetensors") and path.exists()
        if within or path in taken:
            raise OutputError(
                f"{given} would be overwritten",
                got=taken.get(path, "a file in a folder that this command reads"),
                expected="a path of its own for each output",
                do="choose another output path",
            )
        taken[path] = "another output of this command"
        if path.suffix in (".onnx", ".npz", ".plan"):
            taken[manifest_path(path)] = "another output of this command"


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write ``data`` to ``path`` atomically (see :func:`atomic_write`)."""
    with atomic_write(path, private=private) as file:
        file.write(data)


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically; NaN and infinity are refused."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode(), private=private)


def source_state() -> dict[str, Any]:
    """Return ``{"commit", "dirty"}`` of the checkout this package runs from; ``None`` values outside one."""
    here = Path(__file__).resolve().parent
    none: dict[str, Any] = {"commit": None, "dirty": None}
    if not (here.parent / ".git").exists():
        return none
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5
        )
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return none
    if commit.returncode or status.returncode:
        return none
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


@dataclass(frozen=True)
class Manifest:
    """What stands in ``FILE.json`` beside an artefact ``FILE``.

    Attributes:
        file: Name of the artefact, without folders.
        kind: ``"onnx"``, ``"trt.onnx"``, ``"plan"`` or ``"ref.npz"``.
        precision: ``"fp32"`` and so on.
        sha256: Hash of the artefact's bytes.
        source_sha256: Hash of what it was made from (the checkpoint).
        contract: The model's contract.
        ops: Versions of the custom ops inside.
        versions: Versions of the tools that made it.
        source: Commit and dirty flag of the code that made it.
        verification: Figures of the check that let it be published.
        manifest_format: :data:`MANIFEST_FORMAT`.
        engine: Of a plan: what the engine depends on; left out of the file where it is empty.
    """

    file: str
    kind: str
    precision: str
    sha256: str
    source_sha256: str
    contract: Contract
    ops: dict[str, int] = field(default_factory=lambda: dict(OPS))
    versions: dict[str, str] = field(default_factory=lambda: {"mimamba-edge": __version__})
    source: dict[str, Any] = field(default_factory=source_state)
    verification: dict[str, Any] = field(default_factory=dict)
    manifest_format: int = MANIFEST_FORMAT
    engine: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = asdict(self)
        plain["contract"] = self.contract.to_dict()
        if not self.engine:
            del plain["engine"]
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
                    f"the manifest {path} has a format that this build does not read",
                    got=raw["manifest_format"],
                    expected=MANIFEST_FORMAT,
                    do="install the mimamba-edge version that wrote it, or export again",
                )
            if "contract" in raw:
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


def manifest_path(artifact: Path) -> Path:
    """Return the path of the manifest that belongs to an artefact: its name with ``.json`` appended."""
    artifact = Path(artifact)
    return artifact.with_name(artifact.name + ".json")


def write_manifest(artifact: Path, manifest: Manifest) -> None:
    """Write the manifest beside ``artifact`` atomically."""
    write_json(manifest_path(artifact), manifest.to_dict())

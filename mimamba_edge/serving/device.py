"""A model for a device: every file that `build`, `parity`, `bench` and `stream` want, in one archive."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge.artifact import (
    Manifest,
    check_writable,
    load_portable_manifest,
    manifest_path,
    sha256_bytes,
    write_bytes,
)
from mimamba_edge.errors import ArtifactError, ConfigError, MimambaError
from mimamba_edge.outputs import Kind, check_outputs, tar_archive
from mimamba_edge.runtime.reference import reference_path

__all__ = ["SUMS", "ModelFile", "model_files", "pack"]

SUMS = "SHA256SUMS"
"""Of all files, as ``sha256sum --check`` reads them."""
_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_CPU_ONLY = ".int8-cpu.onnx"


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Attributes:
        path: Where it is, or would be.
        purpose: What wants it.
        problem: Why it cannot be used; ``None`` if nothing speaks against it.
    """

    path: Path
    purpose: str
    problem: MimambaError | None = None

    @property
    def present(self) -> bool:
        """Whether there is such a file."""
        return self.path.is_file()


def model_files(model: Path) -> list[ModelFile]:
    """Return the files that belong to a model, each looked at: there, whole, and of the same export.

    Args:
        model: The portable ``NAME.onnx``, of any precision.

    Raises:
        ConfigError: It is not one.
    """
    model = Path(model)
    if not model.name.endswith(".onnx") or model.name.endswith((".trt.onnx", ".inline.onnx")):
        raise ConfigError(
            f"{model} is not the portable file of a model",
            expected="NAME.onnx, with NAME.trt.onnx and NAME.ref.npz beside it",
            do="name that file; a checkpoint is exported first: mimamba-edge export CKPT.pt",
        )
    parts = {model: "the model in ONNX Runtime, and its manifest"}
    if not model.name.endswith(_CPU_ONLY):
        parts[model.with_suffix(".trt.onnx")] = "what `build` makes an engine of TensorRT from"
    parts[reference_path(model)] = "reference outputs, with which `build` and `bench` verify"
    source, found = "", []
    for path, purpose in parts.items():
        problem: MimambaError | None = None
        try:
            manifest = load_portable_manifest(path, "packed") if path == model else Manifest.load(path)
            source = source or manifest.source_sha256
            if manifest.source_sha256 != source:
                raise ArtifactError(
                    f"{path} is of another export than {model}",
                    got=f"made from sha256 {manifest.source_sha256}",
                    expected=f"sha256 {source}",
                    do="copy all files of one export, or export again",
                )
        except MimambaError as error:
            problem = error
        found.append(ModelFile(path, purpose, problem))
    return found


def pack(model: Path, out: Path) -> list[Path]:
    """Write an archive of what a device needs of a model, and return the files in it.

    The same files give the same bytes.

    Args:
        model: The portable ``NAME.onnx``.
        out: ``NAME.tar``, ``NAME.tar.gz`` or ``NAME.tgz``.

    Raises:
        ConfigError: Not such names.
        ArtifactError: A file is missing, damaged or of another export.
        OutputError: The archive cannot be written, or something else has its name.
    """
    if not out.name.endswith(_SUFFIXES):
        names = ", ".join(f"NAME{suffix}" for suffix in _SUFFIXES)
        raise ConfigError("not a name for an archive", got=out, expected=names)
    parts = model_files(model)
    for part in parts:
        if part.problem:
            raise part.problem
    paths = [path for part in parts for path in (part.path, manifest_path(part.path))]
    check_outputs([(out, Kind("an archive that `pack` wrote", _ours))], [model])
    check_writable(out)
    held = {path.name: path.read_bytes() for path in paths}
    sums = "".join(f"{sha256_bytes(data)}  {name}\n" for name, data in held.items())
    write_bytes(
        out,
        tar_archive(
            model.name.removesuffix(".onnx"), {**held, SUMS: sums.encode()}, compress=out.suffix != ".tar"
        ),
    )
    return paths


def _ours(path: Path) -> bool:
    try:
        with tarfile.open(path) as archive:
            return any(Path(name).name == SUMS for name in archive.getnames())
    except (OSError, tarfile.TarError, EOFError):
        return False

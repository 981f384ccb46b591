"""``NAME.inline.onnx``: written, and verified in ONNX Runtime, the one runtime that must be there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from onnx import ModelProto

from mimamba_edge import __version__
from mimamba_edge.artifact import (
    INLINED,
    Manifest,
    load_portable_manifest,
    sha256_bytes,
    source_state,
    write_bytes,
    write_manifest,
)
from mimamba_edge.errors import ConfigError, GateError
from mimamba_edge.export.onnx.inlined import inlined_form
from mimamba_edge.export.onnx.intermediate_outputs import runner_with_auxiliary
from mimamba_edge.files import staging
from mimamba_edge.parity.compare import Parity, verdict
from mimamba_edge.parity.verify import figures, verify
from mimamba_edge.parity.windows import WindowSet, find_windows
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.runtime.ort import load_onnxruntime
from mimamba_edge.runtime.reference import Reference

__all__ = ["inline_file", "inlined_path", "write_inlined"]


def inlined_path(portable: Path) -> Path:
    """Return ``NAME.inline.onnx`` of ``NAME.onnx``."""
    return portable.with_name(f"{portable.name.removesuffix('.onnx')}.{INLINED}")


def write_inlined(model: ModelProto, path: Path, portable: Manifest) -> Manifest:
    """Write the form of a model without functions, and its manifest, not yet verified.

    Args:
        model: The portable form.
        path: ``NAME.inline.onnx``.
        portable: Manifest of the portable file.

    Raises:
        ExportError: The model has no such form.
    """
    content = inlined_form(model).SerializeToString()
    write_bytes(path, content)
    about = {"file": path.name, "kind": INLINED, "sha256": sha256_bytes(content), "ops": {}}
    manifest = dataclasses.replace(portable, **about, verification={})  # type: ignore[arg-type]
    write_manifest(path, manifest)
    return manifest


def inline_file(
    portable: Path, out: Path, *, progress: Callable[[str], None] = lambda _: None
) -> tuple[Parity, WindowSet]:
    """Write the inlined form of an exported file, if it gives the answers of the reference windows.

    Args:
        portable: ``NAME.onnx`` of any precision, ``NAME.ref.npz`` beside it.
        out: ``NAME.inline.onnx``.
        progress: Told what is being done.

    Raises:
        ArtifactError: The file is damaged, of another kind, or has no reference windows.
        ConfigError: ``out`` is not a name for such a file.
        GateError: The answers differ.
        MimambaError: The model has no such form, or the file cannot be written.
    """
    if not out.name.endswith(f".{INLINED}") or out.name == f".{INLINED}":
        raise ConfigError("not a name for an inlined model", got=out, expected=f"NAME.{INLINED}")
    manifest = load_portable_manifest(portable, "inlined")
    reference = Reference.beside(portable)
    windows = find_windows(reference.promise, artifact=portable)
    with staging([out]) as folder:
        progress("writing the bodies out")
        versions = {"mimamba-edge": __version__, "onnx": version("onnx")}
        versions["onnxruntime"] = str(load_onnxruntime().__version__)
        about = dataclasses.replace(manifest, versions=versions, source=source_state())
        made = write_inlined(read_model(portable), folder / out.name, about)
        progress("verifying the inlined file in ONNX Runtime")
        with runner_with_auxiliary(folder / out.name) as runner:
            parity = verify(runner, reference.outputs, windows.data, batches=(1, 64))
        if not parity.passed:
            raise GateError(verdict(parity, out.name), do="report this with the file")
        made.verification.update(figures(windows, parity), portable_sha256=manifest.sha256)
        write_manifest(folder / out.name, made)
    return parity, windows

"""The way all exports publish: files and manifests together, and only if what they answer is right."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from mimamba_edge import __version__
from mimamba_edge.artifact import INLINED, Manifest, sha256_bytes, write_bytes, write_manifest
from mimamba_edge.contract import Contract, Promise
from mimamba_edge.errors import ConfigError, GateError, OutputError
from mimamba_edge.export.onnx.inlined_file import inlined_path, write_inlined
from mimamba_edge.export.onnx.scan_body import STANDARD
from mimamba_edge.files import staging
from mimamba_edge.parity.compare import Parity, verdict
from mimamba_edge.parity.verify import figures
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.ort import load_onnxruntime
from mimamba_edge.runtime.reference import reference_path
from mimamba_edge.signature import Signature

__all__ = ["Artefacts", "checked_name", "files_of", "publish"]


@dataclass(frozen=True)
class Artefacts:
    """What an export writes.

    Attributes:
        portable: The portable model.
        tensorrt: Its form for TensorRT.
        reference: Reference inputs and answers by name.
        windows: The reference inputs, and where they come from.
    """

    portable: ModelProto
    tensorrt: ModelProto
    reference: Mapping[str, Any]
    windows: WindowSet


def files_of(out: Path, *, inline: bool = False) -> tuple[Path, ...]:
    """Return what an export to ``NAME.onnx`` writes: portable, for TensorRT, reference windows, inlined.

    Raises:
        OutputError: ``out`` names no file.
    """
    if not out.name:
        raise OutputError(f"cannot write {out}", got="a folder", expected="a file name")
    files = out, out.with_name(out.name.removesuffix(".onnx") + ".trt.onnx"), reference_path(out)
    return (*files, inlined_path(out)) if inline else files


def checked_name(out: Path) -> None:
    """Check that a path can be that of a portable file.

    Raises:
        ConfigError: It cannot.
    """
    wrong = (".trt.onnx", f".{INLINED}")
    if not out.name.endswith(".onnx") or out.name.endswith(wrong) or out.name == ".onnx":
        raise ConfigError("not a name for an exported model", got=out, expected="NAME.onnx")


def publish(
    out: Path,
    made: Artefacts,
    promise: Promise,
    *,
    source_sha256: str,
    judge: Callable[[Path], Parity],
    form: str = STANDARD,
    inline: bool = False,
) -> tuple[tuple[Path, ...], Parity]:
    """Write the artefacts of a model with their manifests, all together and only if the verdict is good.

    Args:
        out: ``NAME.onnx``.
        made: The files.
        promise: The model's contract, or the signature of a model without one.
        source_sha256: Hash of what the model was made from.
        judge: Judges a file, which stands with its manifest where it is told.
        form: Of the scans' bodies.
        inline: Write ``NAME.inline.onnx`` as well.

    Returns:
        The files, and the verdict on the portable one.

    Raises:
        GateError: The verdict is not good; nothing was written.
        OutputError: The files cannot be written.
    """
    targets = files_of(out, inline=inline)
    contents = [
        ("onnx", made.portable.SerializeToString()),
        ("trt.onnx", made.tensorrt.SerializeToString()),
        ("ref.npz", _packed(made.reference)),
    ]
    with staging(list(targets)) as folder:
        manifests = []
        for target, (kind, content) in zip(targets, contents, strict=False):
            write_bytes(folder / target.name, content)
            manifests.append(
                Manifest(
                    target.name,
                    kind,
                    "fp32",
                    sha256_bytes(content),
                    source_sha256,
                    promise if isinstance(promise, Contract) else None,
                    versions=_versions(),
                    signature=promise if isinstance(promise, Signature) else None,
                    form=form if kind == "onnx" and form != STANDARD else "",
                )
            )
        write_manifest(folder / out.name, manifests[0])
        parity = _judged(folder / out.name, judge)
        for manifest in manifests:
            manifest.verification.update(figures(made.windows, parity))
            write_manifest(folder / manifest.file, manifest)
        if inline:
            path = folder / targets[-1].name
            manifest = write_inlined(made.portable, path, manifests[0])
            manifest.verification.update(figures(made.windows, _judged(path, judge)))
            write_manifest(path, manifest)
    return targets, parity


def _judged(path: Path, judge: Callable[[Path], Parity]) -> Parity:
    parity = judge(path)
    if not parity.passed:
        raise GateError(verdict(parity, path.name), do="report this with the model's configuration")
    return parity


def _packed(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    tools = {tool: version(tool) for tool in ("torch", "onnx", "onnxscript")}
    # Not by its distribution, which has several names.
    return {"mimamba-edge": __version__, **tools, "onnxruntime": str(load_onnxruntime().__version__)}

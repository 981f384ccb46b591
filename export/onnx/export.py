"""From a checkpoint to verified files: ``NAME.onnx``, ``NAME.trt.onnx``, ``NAME.ref.npz``, manifests."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from mimamba_edge import __version__
from mimamba_edge.artifact import INLINED, Manifest, sha256_bytes, sha256_file, write_bytes, write_manifest
from mimamba_edge.contract import METADATA_KEY, WINDOWS, Contract
from mimamba_edge.errors import CheckpointError, ConfigError, GateError, OutputError
from mimamba_edge.export.checkpoint import load_checkpoint
from mimamba_edge.export.network import Network
from mimamba_edge.export.onnx.check import Expected, check_graph
from mimamba_edge.export.onnx.functions import attach_functions
from mimamba_edge.export.onnx.inlined_file import inlined_path, write_inlined
from mimamba_edge.export.onnx.linear_attention import need_linear_attention
from mimamba_edge.export.onnx.scan_body import FORMS, LINEAR_ATTENTION, STANDARD
from mimamba_edge.export.onnx.tensorrt import tensorrt_form
from mimamba_edge.export.onnx.tidy import tidy
from mimamba_edge.export.onnx.translate import trace
from mimamba_edge.export.onnx.verify import answers, verify
from mimamba_edge.family import family_named
from mimamba_edge.files import staging
from mimamba_edge.parity.compare import Parity, verdict
from mimamba_edge.parity.windows import WindowSet, find_windows
from mimamba_edge.runtime.base import Arrays
from mimamba_edge.runtime.ort import load_onnxruntime
from mimamba_edge.runtime.reference import reference_path

__all__ = ["ExportResult", "export_checkpoint", "files_of", "output_beside", "to_onnx"]

_WINDOWS = 128
_FEWEST_WINDOWS = 64
"""Reference windows of a model with large windows, which take long."""
_LARGE = 1 << 12
"""Numbers in a window from which it counts as large."""


@dataclass(frozen=True)
class ExportResult:
    """What an export made.

    Attributes:
        files: The artefacts, without their manifests.
        parity: The check that let them be published.
        windows: What it ran on.
    """

    files: tuple[Path, ...]
    parity: Parity
    windows: WindowSet


def to_onnx(model: Network, contract: Contract, form: str = STANDARD) -> ModelProto:
    """Return the portable ONNX model of a network: checked, with bodies and contract, not yet verified.

    Args:
        model: The network.
        contract: Its contract.
        form: Of the scans' bodies, one of :data:`FORMS`.

    Raises:
        ExportError: The model cannot be exported, or its graph breaks a rule.
    """
    expected = _expected(model)
    proto = trace(model.frozen())
    tidy(proto, name=type(model).__name__)
    attach_functions(proto, form)
    helper.set_model_props(proto, {METADATA_KEY: contract.to_json()})
    check_graph(proto, expected)
    return proto


def _expected(model: Network, *, bodies: bool = True) -> Expected:
    return Expected(family_named(model.family).custom_nodes(model.config.to_dict()), bodies)


def output_beside(checkpoint: Path) -> Path:
    """Return where a checkpoint is exported to by default: beside it, under its name.

    Raises:
        CheckpointError: It is not there, is no file, or is an exported model.
    """
    if not checkpoint.is_file():
        raise CheckpointError(
            f"the checkpoint {checkpoint} is not there",
            got="a folder" if checkpoint.is_dir() else None,
            do="check the path",
        )
    if checkpoint.suffix == ".onnx":
        raise CheckpointError(
            f"{checkpoint} is an exported model, not a checkpoint",
            expected=".pt or .safetensors",
            do="name the checkpoint that it was exported from",
        )
    return checkpoint.with_suffix(".onnx")


def files_of(out: Path, *, inline: bool = False) -> tuple[Path, ...]:
    """Return what an export to ``NAME.onnx`` writes: portable, for TensorRT, reference windows, inlined.

    Raises:
        OutputError: ``out`` names no file.
    """
    if not out.name:
        raise OutputError(f"cannot write {out}", got="a folder", expected="a file name")
    files = out, out.with_name(out.name.removesuffix(".onnx") + ".trt.onnx"), reference_path(out)
    return (*files, inlined_path(out)) if inline else files


def export_checkpoint(
    checkpoint: Path | str,
    out: Path | str,
    *,
    data: Path | None = None,
    inline: bool = False,
    form: str = STANDARD,
    progress: Callable[[str], None] | None = None,
) -> ExportResult:
    """Write the artefacts of a checkpoint, all together and only if they agree with it.

    The reference windows are those of the recordings in ``data``, else simulated EEG (seeded) that went
    through the contract's own signal path.

    Args:
        checkpoint: ``.pt`` or ``.safetensors``.
        out: ``NAME.onnx``.
        data: A recording or a folder of recordings.
        inline: Write ``NAME.inline.onnx`` as well.
        form: Of the scans' bodies, one of :data:`FORMS`.
        progress: Told what is being done.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: ``out`` is not a name for a portable file, or the form is unknown or cannot be inlined.
        DataError: The recordings cannot be used.
        DependencyError: onnxruntime is not installed, or too old for the form.
        ExportError: The model cannot be exported.
        GateError: The exported file does not agree with the checkpoint.
        OutputError: The files cannot be written.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    say = progress or (lambda _: None)
    if (
        not out.name.endswith(".onnx")
        or out.name.endswith((".trt.onnx", f".{INLINED}"))
        or out.name == ".onnx"
    ):
        raise ConfigError("not a name for an exported model", got=out, expected="NAME.onnx")
    targets = list(files_of(out, inline=inline))
    _check_form(form, inline)  # before the long work: what verifies the file must be there
    say("reading the checkpoint")
    held = load_checkpoint(checkpoint)
    source, model, contract = sha256_file(checkpoint), held.build(), held.contract
    with staging(targets) as folder:
        say("tracing the model")
        portable = to_onnx(model, contract, form)
        tensorrt = tensorrt_form(portable)
        check_graph(tensorrt, _expected(model, bodies=False))
        say("running the checkpoint on reference windows")
        size = held.config.n_chans * held.config.n_times
        windows = find_windows(contract, data=data, limit=_FEWEST_WINDOWS if size >= _LARGE else _WINDOWS)
        reference = answers(model, contract, windows.data)
        contents = [
            ("onnx", portable.SerializeToString()),
            ("trt.onnx", tensorrt.SerializeToString()),
            ("ref.npz", _packed({WINDOWS: windows.data, **reference})),
        ]
        manifests = []
        for target, (kind, content) in zip(targets, contents, strict=False):
            write_bytes(folder / target.name, content)
            manifests.append(
                Manifest(
                    target.name,
                    kind,
                    "fp32",
                    sha256_bytes(content),
                    source,
                    contract,
                    versions=_versions(),
                    form=form if kind == "onnx" and form != STANDARD else "",
                )
            )
        write_manifest(folder / out.name, manifests[0])
        parity = _verified(folder / out.name, reference, windows, say)
        for manifest in manifests:
            figures = {"windows": windows.to_dict(), "checks": [vars(check) for check in parity.checks]}
            manifest.verification.update(figures)
            write_manifest(folder / manifest.file, manifest)
        if inline:
            path = folder / targets[-1].name
            manifest = write_inlined(portable, path, manifests[0])
            checks = [vars(check) for check in _verified(path, reference, windows, say).checks]
            manifest.verification.update(windows=windows.to_dict(), checks=checks)
            write_manifest(path, manifest)
    return ExportResult(tuple(targets), parity, windows)


def _verified(path: Path, reference: Arrays, windows: WindowSet, say: Callable[[str], None]) -> Parity:
    say(f"verifying {path.name} in ONNX Runtime")
    parity = verify(path, reference, windows.data)
    if not parity.passed:
        raise GateError(verdict(parity, path.name), do="report this with the checkpoint's configuration")
    return parity


def _check_form(form: str, inline: bool) -> None:
    if form not in FORMS:
        raise ConfigError("not a form of an exported file", got=form, expected=" or ".join(FORMS))
    load_onnxruntime()
    if form == LINEAR_ATTENTION:
        need_linear_attention()
        if inline:
            raise ConfigError(
                "an inlined file holds standard ops only",
                got=f"--form {form} with --inline",
                do="leave out one of the two",
            )


def _packed(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    tools = {tool: version(tool) for tool in ("torch", "onnx", "onnxscript")}
    # Not by its distribution, which has several names.
    return {"mimamba-edge": __version__, **tools, "onnxruntime": str(load_onnxruntime().__version__)}

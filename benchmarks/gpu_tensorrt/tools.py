"""Commands that are run and the artefacts that are measured."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import Manifest, manifest_path, sha256_bytes, write_bytes, write_manifest
from mimamba_edge.errors import ArtifactError, DependencyError, EngineError
from mimamba_edge.load import builtin_model
from mimamba_edge.runtime.reference import reference_path

SUFFIX = ".trt.onnx"


def run(command: Sequence[str | Path], what: str, *, seconds: float = 540) -> str:
    """Run a command and return its standard output.

    Raises:
        DependencyError: There is no such program.
        EngineError: It failed or took too long; its last words are in the message.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    except FileNotFoundError as error:
        raise DependencyError(
            f"{what} needs {words[0]}", got=error.strerror, do=f"install {words[0]}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{what} took more than {seconds:.0f} s", do=" ".join(words)) from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-3000:]
        raise EngineError(
            f"{what} failed", got=f"exit {done.returncode}\n{said}", do=f"run it yourself: {' '.join(words)}"
        )
    return done.stdout


def artefacts(named: Path | None, work: Path) -> list[Path]:
    """Return the files to measure: the one named and its fp16 and int8 siblings, or the built-in model.

    Raises:
        ArtifactError: The file is not there or is no ``.trt.onnx``.
        DependencyError: No file was named and there is no onnx to make one of the built-in model.
    """
    if named is None:
        return [_builtin(work)]
    if not named.is_file() or not named.name.endswith(SUFFIX):
        raise ArtifactError(
            f"{named} is no exported file", expected=f"NAME{SUFFIX}", do="mimamba-edge export"
        )
    name = named.name.removesuffix(SUFFIX)
    beside = [named.with_name(f"{name}.{precision}{SUFFIX}") for precision in ("fp16", "int8")]
    return [named, *(path for path in beside if path.is_file())]


def _builtin(work: Path) -> Path:
    portable = builtin_model()
    try:
        import onnx

        from mimamba_edge.export.onnx.tensorrt import tensorrt_form
    except ImportError as error:
        raise DependencyError(
            "the built-in model's .trt.onnx is made from its portable file, which needs the package onnx",
            got=error,
            do=f"name a NAME{SUFFIX} of `mimamba-edge export`, its NAME.ref.npz beside it",
        ) from error
    for path in (portable, reference_path(portable)):
        for each in (path, manifest_path(path)):
            shutil.copyfile(each, work / each.name)
    target = work / portable.name.replace(".onnx", SUFFIX)
    content = tensorrt_form(onnx.load(portable)).SerializeToString()
    write_bytes(target, content)
    manifest = Manifest.load(portable)
    write_manifest(
        target,
        dataclasses.replace(manifest, file=target.name, kind="trt.onnx", sha256=sha256_bytes(content)),
    )
    return target


def quantiles(milliseconds: dict[str, Any] | None) -> str:
    """Return ``p50 / p99`` for a table."""
    return "" if milliseconds is None else f"{milliseconds['p50']:.4f} / {milliseconds['p99']:.4f}"

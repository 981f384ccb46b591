"""The lower precisions that `bench --fp16 --int8` puts beside a model: found beside it, or made."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mimamba_edge.bench.entries import Variant
from mimamba_edge.errors import ArtifactError, ConfigError, DependencyError, MimambaError

__all__ = ["providers_at_hand", "variants"]


def providers_at_hand() -> list[str]:
    """Return what can run exported files here: the CPU, and CUDA and TensorRT where they work."""
    from mimamba_edge.runtime.ort import PROVIDERS, load_onnxruntime
    from mimamba_edge.trt.api import load_tensorrt
    from mimamba_edge.trt.cuda import load_cuda

    available = load_onnxruntime().get_available_providers()
    found = [name for name, provider in PROVIDERS.items() if provider in available]
    try:
        load_tensorrt()
        load_cuda().device()
    except MimambaError:
        return found
    return [*found, "tensorrt"]


def variants(
    model: Path,
    *,
    fp16: bool,
    int8: bool,
    providers: Sequence[str],
    data: Path | None,
    say: Callable[[str], None],
) -> list[Variant]:
    """Return the model and its lower precisions for every provider; what is missing is made.

    Args:
        model: The portable fp32 ``NAME.onnx``.
        fp16: Whether fp16 is wanted.
        int8: Whether INT8 is.
        providers: What runs them.
        data: Recordings to calibrate and judge on.
        say: Told which files are used and which are made.

    Raises:
        MimambaError: The model is of another kind, or an artefact beside it is damaged.
    """
    if not model.name.endswith(".onnx") or model.name.endswith(".trt.onnx"):
        raise ConfigError(
            f"{model} cannot be made in lower precision", expected="the portable NAME.onnx of `export`"
        )
    found: dict[str, tuple[str, Any, str]] = {}
    plain: list[Variant] = []
    lower: list[Variant] = []
    fp32 = None
    for provider in providers:
        wanted = ["fp16"] if fp16 else []
        if int8 and provider != "cuda":
            wanted.append("int8-tensorrt" if provider == "tensorrt" else "int8-cpu")
        for name in wanted:
            if name not in found:
                found[name] = _ensure(model, name, data, say)
            spec, accuracy, why_not = found[name]
            fp32 = fp32 or _right(accuracy, "fp32")
            lower.append(Variant(spec, provider, _right(accuracy, None), why_not))
    for provider in providers:
        plain.append(Variant(str(model), provider, fp32))
        plain += [one for one in lower if one.provider == provider]
    return plain


def _right(accuracy: dict[str, Any] | None, precision: str | None) -> dict[str, int] | None:
    if accuracy is None:
        return None
    name = precision or next(key for key in accuracy["right"] if key != "fp32")
    return {"right": accuracy["right"][name], "n_trials": accuracy["n_trials"]}


def _ensure(model: Path, name: str, data: Path | None, say: Callable[[str], None]) -> tuple[str, Any, str]:
    """Return the artefact's path, its accuracy if known, and why there is none."""
    from mimamba_edge.artifact import Manifest

    suffix = {"fp16": ".fp16", "int8-cpu": ".int8-cpu", "int8-tensorrt": ".int8"}[name]
    path = model.with_name(model.name.removesuffix(".onnx") + suffix + ".onnx")
    source = Manifest.load(model)
    if path.is_file():
        held = Manifest.load(path)
        if held.verification.get("fp32_sha256") != source.sha256:
            raise ArtifactError(
                f"{path} was not made from {model}",
                got=f"from sha256 {held.verification.get('fp32_sha256')}",
                expected=source.sha256,
                do=f"make it again: mimamba-edge quantize {model} ...",
            )
        say(f"{path.name} stands beside the model")
        return str(path), held.verification.get("accuracy"), ""
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("torch") is None:
        return str(path), None, "not beside the model, and making it needs the extra [export]"
    try:
        return _make(model, path, name, data, say)
    except DependencyError as error:
        return str(path), None, error.what


def _make(
    model: Path, path: Path, name: str, data: Path | None, say: Callable[[str], None]
) -> tuple[str, Any, str]:
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.console import progress
    from mimamba_edge.export.quantize.pipeline import Request, quantize
    from mimamba_edge.export.quantize.recipes import RECIPES
    from mimamba_edge.export.quantize.verdict import keep, standing
    from mimamba_edge.parity.compare import missed

    recipe = RECIPES[name]
    if recipe.calibrated and data is None:
        raise ConfigError(
            f"{path.name} is not beside the model, and to make it takes recordings",
            do="add --data with a recording or a folder of them",
        )
    request, sha256 = Request(model, path, recipe, data, "mse", None), Manifest.load(model).sha256
    if (refused := standing(request, sha256)) is not None:
        kept, refusal = refused
        why = f"refused before ({kept.name}): {refusal.reasons}"
        return str(path), refusal.accuracy, why
    with progress(f"making {path.name}") as bar:
        evaluation, files = quantize(request, bar)
    if files:
        say(f"{path.name} was made, as it was not beside the model: {path}")
        return str(path), evaluation.accuracy, ""
    keep(request, sha256, evaluation)
    return (
        str(path),
        evaluation.accuracy,
        f"made, but below the acceptance limits: {missed(evaluation.checks, values=True)}",
    )

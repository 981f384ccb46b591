"""From a portable fp32 file to one of lower precision, published only if it is worth having."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from onnx import ModelProto

from mimamba_edge import __version__
from mimamba_edge.artifact import (
    Manifest,
    load_portable_manifest,
    manifest_path,
    sha256_bytes,
    write_bytes,
    write_manifest,
)
from mimamba_edge.console import Progress
from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.errors import ArtifactError, ConfigError
from mimamba_edge.export.onnx.check import check_graph, expected
from mimamba_edge.export.onnx.functions import custom_nodes
from mimamba_edge.export.onnx.tensorrt import tensorrt_form
from mimamba_edge.export.quantize.evaluate import (
    Evaluation,
    accuracy_check,
    evaluate,
    measure_speed,
    speed_check,
)
from mimamba_edge.export.quantize.folds import find_folds, paired_accuracy
from mimamba_edge.export.quantize.recipes import Recipe
from mimamba_edge.export.quantize.sensitivity import Cost, rank
from mimamba_edge.files import staging
from mimamba_edge.parity.gates import MIN_WINDOWS
from mimamba_edge.parity.windows import WindowSet, find_windows
from mimamba_edge.runtime.base import need_contract
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.runtime.ort import load_onnxruntime
from mimamba_edge.runtime.reference import Reference, reference_path

__all__ = ["CALIBRATION", "JUDGED", "Request", "load", "output_for", "quantize", "rank_ops"]

CALIBRATION = 256
"""Windows that ranges are taken from, spread evenly over the recordings."""
JUDGED = 2 * MIN_WINDOWS
"""Windows that the candidate's answers are compared on, at most."""


@dataclass(frozen=True)
class Request:
    """What to make of what.

    Attributes:
        model: The portable fp32 file.
        out: Where the portable file of lower precision goes.
        recipe: Which.
        calib: Recordings; ``None`` where the recipe needs none.
        method: Of calibration.
        folds: Fold checkpoints; looked for if ``None``.
    """

    model: Path
    out: Path
    recipe: Recipe
    calib: Path | None
    method: str
    folds: Path | None


def output_for(model: Path, recipe: Recipe, given: Path | None) -> Path:
    """Return the path of the portable file: the one given, else beside the model under its name.

    Raises:
        ConfigError: The name given is not one of a model.
    """
    if given is None:
        return model.with_name(model.name.removesuffix(".onnx") + recipe.suffix + ".onnx")
    name = given.name.removesuffix(".onnx").removesuffix(".trt")
    if not given.name.endswith(".onnx") or not name:
        raise ConfigError("not a name for a quantised model", got=given, expected=f"NAME{recipe.suffix}.onnx")
    return given.with_name(name + ".onnx")


def load(path: Path) -> tuple[ModelProto, Manifest]:
    """Return a portable fp32 model and its manifest.

    Raises:
        ArtifactError: It is of another kind or precision, or damaged.
    """
    if not path.name.endswith(".onnx") or path.name.endswith(".trt.onnx"):
        raise ArtifactError(
            f"{path} cannot be quantised", expected="the portable NAME.onnx of `mimamba-edge export`"
        )
    manifest = load_portable_manifest(path, "quantised")
    if manifest.precision != "fp32":
        raise ArtifactError(
            f"{path} is already {manifest.precision}",
            expected="the fp32 file",
            do="name the exported NAME.onnx",
        )
    return read_model(path), manifest


def quantize(request: Request, bar: Progress) -> tuple[Evaluation, tuple[Path, ...]]:
    """Make, judge and, if it passes, publish an artefact of lower precision.

    Args:
        request: What to make.
        bar: Told what is being done.

    Returns:
        The judgement, and the artefacts that were published: none if it did not pass.

    Raises:
        MimambaError: The model, the recordings or the output cannot be used.
    """
    recipe = request.recipe
    model, manifest = load(request.model)
    recipe.check_fits(model)
    if recipe.calibrated and request.calib is None:
        raise ConfigError(
            f"{recipe.name} needs recordings to calibrate on", do="add --data with a recording or folder"
        )
    if request.folds is not None and (request.calib is None or not request.calib.is_dir()):
        raise ConfigError(
            "--folds needs the labelled data set that they were trained on",
            got=f"--data {request.calib}" if request.calib else "no --data",
            expected="--data FOLDER with labels.csv",
        )
    load_onnxruntime()
    if reference_path(request.model).is_file():
        Reference.beside(request.model)  # what later verifies the new file must be sound
    targets = [request.out]
    if recipe.runs_in == "tensorrt":
        targets.append(request.out.with_name(request.out.name.removesuffix(".onnx") + ".trt.onnx"))
    try:
        with staging(targets) as folder:
            bar.describe("reading recordings")
            windows = find_windows(manifest.promise, data=request.calib, limit=JUDGED, artifact=request.model)
            made = _make(request, model, manifest, bar)
            staged = _write(made, recipe, manifest, [folder / target.name for target in targets])
            evaluation = _evaluate(request, manifest, next(iter(staged)), windows, bar)
            if not evaluation.passed:
                raise _RefusedError(evaluation)
            about = {"fp32_sha256": manifest.sha256, "method": request.method, **evaluation.to_dict()}
            for path, one in staged.items():
                one.verification.update(about)
                write_manifest(path, one)
    except _RefusedError as refused:
        return refused.evaluation, ()
    _keep_reference(request.model, request.out)
    return evaluation, tuple(targets)


def rank_ops(request: Request, bar: Progress) -> list[Cost]:
    """Rank the model's ops by what INT8 costs at each alone, on the calibration windows.

    Raises:
        MimambaError: The model or the recordings cannot be used.
    """
    model, manifest = load(request.model)
    request.recipe.check_fits(model)
    bar.describe("reading recordings")
    windows = find_windows(manifest.promise, data=request.calib, limit=CALIBRATION, artifact=request.model)
    return rank(model, windows.data, bar, method=request.method)


class _RefusedError(Exception):
    """Leaves the staging block without publishing."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__()
        self.evaluation = evaluation


def _make(request: Request, model: ModelProto, manifest: Manifest, bar: Progress) -> ModelProto:
    few = None
    if request.recipe.calibrated:
        few = find_windows(manifest.promise, data=request.calib, limit=CALIBRATION).data
    bar.describe("calibrating" if few is not None else "converting")
    made = request.recipe.make(
        model, few, method=request.method, on_step=lambda n: bar.advance(n / CALIBRATION)
    )
    ops = Counter(node.op_type for node in custom_nodes(made))
    check_graph(made, expected(ops, manifest.promise))
    return made


def _write(
    made: ModelProto, recipe: Recipe, manifest: Manifest, paths: Sequence[Path]
) -> dict[Path, Manifest]:
    """Write the portable form and, where there is a second path, the one for TensorRT."""
    out = {}
    versions = {"mimamba-edge": __version__, "onnx": version("onnx")}
    versions["onnxruntime"] = str(load_onnxruntime().__version__)
    for path, kind in zip(paths, ("onnx", "trt.onnx"), strict=False):
        model = made if kind == "onnx" else tensorrt_form(made)
        content = model.SerializeToString()
        write_bytes(path, content)
        out[path] = Manifest(
            path.name,
            kind,
            recipe.precision,
            sha256_bytes(content),
            manifest.source_sha256,
            manifest.contract,
            versions=versions,
            signature=manifest.signature,
            form=manifest.form if kind == "onnx" else "",
        )
        write_manifest(path, out[path])
    return out


def _evaluate(
    request: Request, manifest: Manifest, candidate: Path, windows: WindowSet, bar: Progress
) -> Evaluation:
    recipe = request.recipe
    bar.describe("comparing with fp32")
    evaluation = evaluate(request.model, candidate, windows)
    if recipe.least_speedup is not None:
        bar.describe("timing both in turn")
        evaluation.speed = measure_speed(request.model, candidate, windows)
    evaluation.checks.append(speed_check(recipe, evaluation.speed))
    folds = request.folds or find_folds(request.model, manifest.source_sha256)
    if folds is not None and request.calib is not None and request.calib.is_dir():
        bar.describe("scoring fold models out of fold")
        evaluation.accuracy = paired_accuracy(
            folds,
            open_dataset(request.calib),
            need_contract(manifest.promise, request.model),
            recipe,
            method=request.method,
            done=bar.advance,
        )
    if manifest.contract is not None:
        evaluation.checks.append(accuracy_check(evaluation.accuracy))
    return evaluation


def _keep_reference(model: Path, out: Path) -> None:
    """Lay the reference windows where tools look for those of ``out``, if the name does not share them."""
    source, target = reference_path(model), reference_path(out)
    if source.is_file() and source.resolve() != target.resolve() and not target.exists():
        for one, other in ((source, target), (manifest_path(source), manifest_path(target))):
            content = one.read_bytes()
            if one.name.endswith(".json"):
                content = content.replace(source.name.encode(), target.name.encode())
            write_bytes(other, content)

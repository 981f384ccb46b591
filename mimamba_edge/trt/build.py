"""From ``NAME.trt.onnx`` to a verified ``NAME.plan``, and the engines that the cache keeps.

A plan gets its name only after it was verified; until then the one that bears the name is not touched.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge import __version__
from mimamba_edge.artifact import (
    Manifest,
    cache_folder,
    check_writable,
    sha256_file,
    write_bytes,
    write_manifest,
)
from mimamba_edge.console import progress
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ArtifactError, ConfigError, MimambaError, OutputError, StaleEngineError
from mimamba_edge.files import staging
from mimamba_edge.runtime.base import signature_of
from mimamba_edge.runtime.reference import Reference, reference_path
from mimamba_edge.trt.api import load_tensorrt
from mimamba_edge.trt.batch import ONE, Batch
from mimamba_edge.trt.build_environment import BuildEnvironment, read_build_environment
from mimamba_edge.trt.child import run_builder
from mimamba_edge.trt.cuda import load_cuda
from mimamba_edge.trt.library import PluginLibrary, find_plugin
from mimamba_edge.trt.plan import KIND, PlanManifest, check_plan, engine_facts, engine_key
from mimamba_edge.trt.timings import timings_path
from mimamba_edge.trt.verify import verify_plan

__all__ = ["Engine", "build_plan", "engine_for", "plan_path"]

_SUFFIX = ".plan"


@dataclass(frozen=True)
class Engine:
    """A plan that fits this machine.

    Attributes:
        plan: Its path.
        manifest: What stands beside it.
        built: Whether it was built now.
        seconds: How long that took.
    """

    plan: Path
    manifest: PlanManifest
    built: bool
    seconds: float


@dataclass(frozen=True)
class _Job:
    """What is to be built, and on what."""

    onnx: Path
    model: Manifest
    onnx_sha256: str
    reference: Reference
    environment: BuildEnvironment
    plugin: PluginLibrary
    batch: Batch

    @property
    def shapes(self) -> dict[str, list[list[int]]]:
        tensor, b = signature_of(self.model.promise).input, self.batch
        return {tensor.name: [[n, *tensor.shape] for n in (b.least, b.best, b.most)]}

    @property
    def key(self) -> str:
        return engine_key(
            self.environment,
            onnx_sha256=self.onnx_sha256,
            plugin_sha256=self.plugin.sha256,
            shapes=self.shapes,
        )


def plan_path(onnx: Path) -> Path:
    """Return ``NAME.plan`` of ``NAME.trt.onnx`` or ``NAME.onnx``."""
    return onnx.with_name(onnx.name.removesuffix(".onnx").removesuffix(".trt") + _SUFFIX)


def build_plan(
    onnx: Path,
    out: Path | None = None,
    *,
    batch: Batch = ONE,
    only_if_stale: bool = False,
    show: bool = False,
    on_note: Callable[[str], None] = lambda _: None,
) -> Engine:
    """Build the engine of a model for this machine and verify it.

    Args:
        onnx: ``NAME.trt.onnx``; of a portable ``NAME.onnx`` the ``NAME.trt.onnx`` beside it.
        out: ``PATH.plan``; by default ``NAME.plan`` beside the model. ``PATH.ref.npz`` is put beside it.
        batch: Batch sizes it takes.
        only_if_stale: Do nothing if the plan that is there fits.
        show: Print the table of the verification, not only where it fails.
        on_note: Called with what the user should know.

    Raises:
        ArtifactError: The model, its manifest or its reference is missing or damaged, or it is no model for
            TensorRT.
        ConfigError: ``out`` is no name for a plan.
        DependencyError: TensorRT or cuda-bindings is not installed.
        EngineError: TensorRT failed, was killed or crashed.
        GateError: The plan's answers are wrong; there is no file then, or the old one.
        OutputError: Something cannot be written.
        PluginError: There is no plugin library that fits.
    """
    source = _tensorrt_file(Path(onnx), on_note)
    target = plan_path(source) if out is None else Path(out)
    if not target.name.endswith(_SUFFIX) or target.name == _SUFFIX:
        raise ConfigError("the name of an engine must end in .plan", got=target, expected="NAME.plan")
    check_writable(target)
    job = _prepare(source, batch)
    _check_reference(job, target)
    return _ensure(job, target, only_if_stale=only_if_stale, show=show, on_note=on_note)


def engine_for(
    onnx: Path,
    *,
    batch: Batch = ONE,
    on_note: Callable[[str], None] = lambda _: None,
) -> Path:
    """Return the plan of a model from the cache, built now if the cache has none that fits.

    Raises:
        MimambaError: As :func:`build_plan`.
    """
    source = _tensorrt_file(Path(onnx), on_note)
    job = _prepare(source, batch)
    target = cache_folder() / "engines" / job.key / plan_path(source).name
    return _ensure(job, target, only_if_stale=True, show=False, on_note=on_note).plan


def _tensorrt_file(onnx: Path, on_note: Callable[[str], None]) -> Path:
    """Return the model's file for TensorRT."""
    if onnx.name.endswith(".trt.onnx"):
        return onnx
    if not onnx.name.endswith(".onnx"):
        raise ConfigError(f"{onnx} is not a model for TensorRT", expected="NAME.trt.onnx or NAME.onnx")
    beside = onnx.with_name(onnx.name.removesuffix(".onnx").removesuffix(".inline") + ".trt.onnx")
    portable = Manifest.load(onnx)
    if not beside.is_file():
        raise ArtifactError(
            f"{onnx} is the portable file: TensorRT would run its function bodies instead of the plugins",
            expected=beside,
            do="copy NAME.trt.onnx and its manifest along with it, or export again: mimamba-edge export",
        )
    if (held := Manifest.load(beside).source_sha256) != portable.source_sha256:
        raise ArtifactError(
            f"{onnx} and {beside.name} were made from different checkpoints",
            got=f"source sha256 {held}",
            expected=f"source sha256 {portable.source_sha256}",
            do="copy both from the same export, or name the one you mean",
        )
    on_note(f"{onnx.name} is the portable file: building from {beside.name} beside it")
    return beside


def _prepare(onnx: Path, batch: Batch) -> _Job:
    model = Manifest.load(onnx)
    if model.kind != "trt.onnx":
        raise ArtifactError(
            f"{onnx} is not a file for TensorRT, which would run its function bodies instead of the plugins",
            got=f"kind {model.kind!r} in its manifest",
            expected="kind 'trt.onnx'",
            do="name NAME.trt.onnx as mimamba-edge export wrote it",
        )
    if model.ops != OPS:
        raise ArtifactError(
            f"{onnx} was exported for other versions of the custom ops",
            got=model.ops,
            expected=OPS,
            do="export again with this version of mimamba-edge",
        )
    signature = signature_of(model.promise)
    if signature.states:
        raise ConfigError(
            f"{onnx} is stateful: build makes engines of one input",
            got=f"{signature.input.name} and {len(signature.states)} states",
            do="run the portable file by mimamba_edge.StatefulRunner; for trtexec see docs/any-model.md",
        )
    only = signature.batch
    if only is not None and (batch.least, batch.most) != (only, only):
        raise ConfigError(
            f"{onnx} was exported for one batch size only", got=f"--batch {batch}", expected=f"--batch {only}"
        )
    reference = Reference.beside(onnx)
    environment = read_build_environment(load_tensorrt(), load_cuda())
    return _Job(onnx, model, model.sha256, reference, environment, find_plugin(sm=environment.sm), batch)


def _check_reference(job: _Job, target: Path) -> None:
    """See that the reference which will stand beside the plan is not another model's."""
    path = reference_path(target)
    if not path.is_file():
        return
    try:
        held = Manifest.load(path).source_sha256
    except MimambaError as error:
        raise OutputError(
            f"{path} stands where the engine's reference file would go",
            got=error.what,
            do="choose another output path",
        ) from error
    if held != job.model.source_sha256:
        raise OutputError(
            f"{path} belongs to another model",
            got=f"source sha256 {held}",
            expected=f"source sha256 {job.model.source_sha256}",
            do="choose another output path",
        )


def _ensure(
    job: _Job, target: Path, *, only_if_stale: bool, show: bool, on_note: Callable[[str], None]
) -> Engine:
    there = target.exists()
    if only_if_stale and there:
        try:
            manifest = check_plan(
                target, job.environment, job.plugin, onnx_sha256=job.onnx_sha256, batch=job.batch
            )
            return Engine(target, manifest, built=False, seconds=0.0)
        except (StaleEngineError, ArtifactError) as error:
            held = "" if error.got is None else f" ({error.got}; now {error.expected})"
            on_note(f"building again: {error.what}{held}")
    start = time.perf_counter()
    try:
        manifest = _build(job, target, show, on_note)
    except MimambaError:
        if there:
            on_note(f"{target} is unchanged")
        raise
    return Engine(target, manifest, built=True, seconds=time.perf_counter() - start)


def _build(job: _Job, target: Path, show: bool, on_note: Callable[[str], None]) -> PlanManifest:
    """Build beside the target, verify, then rename."""
    with staging([target]) as folder:
        staged = folder / target.name
        request = {
            "onnx": str(job.onnx.resolve()),
            "plugin": str(job.plugin.path),
            "plan": str(staged.resolve()),
            "timings": str(timings_path(job.environment).absolute()),
            "shapes": job.shapes,
        }
        log = cache_folder() / "logs" / f"build-{job.key[:16]}.log"
        with progress(f"building {target.name}", total=1.0) as bar:
            done = 0.0

            def advance(phase: str, share: float) -> None:
                nonlocal done
                bar.describe(f"building {target.name}: {phase}")
                bar.advance(share - done)
                done = share

            run_builder(request, log, on_progress=advance, on_note=on_note)
        manifest = _manifest(job, staged)
        write_manifest(staged, manifest)
        manifest = dataclasses.replace(manifest, verification=verify_plan(staged, job.reference, show=show))
        write_manifest(staged, manifest)
        _keep_reference(job, target)
    return manifest


def _manifest(job: _Job, plan: Path) -> PlanManifest:
    made_from = {"onnx_sha256": job.onnx_sha256, "plugin_sha256": job.plugin.sha256}
    return PlanManifest(
        file=plan.name,
        kind=KIND,
        precision=job.model.precision,
        sha256=sha256_file(plan),
        source_sha256=job.model.source_sha256,
        contract=job.model.contract,
        signature=job.model.signature,
        ops=dict(job.model.ops),
        versions={"mimamba-edge": __version__, "tensorrt": job.environment.tensorrt},
        engine=engine_facts(job.environment, onnx=job.onnx, batch=job.batch, **made_from),
    )


def _keep_reference(job: _Job, target: Path) -> None:
    """Put the reference beside the plan, which may stand elsewhere than its model."""
    held, wanted = reference_path(job.onnx), reference_path(target)
    if wanted.exists():
        return
    manifest = Manifest.load(held)
    write_bytes(wanted, held.read_bytes())
    write_manifest(wanted, dataclasses.replace(manifest, file=wanted.name))

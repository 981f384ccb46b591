"""The manifest beside a plan, and the check that must come before its bytes reach TensorRT.

A plan is code for one device and one TensorRT: nothing of it is deserialised before its hash agrees with its
manifest, and the manifest with this machine.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.artifact import Manifest, manifest_path
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ArtifactError, ConfigError, StaleEngineError
from mimamba_edge.trt.batch import Batch
from mimamba_edge.trt.build_environment import BuildEnvironment

if TYPE_CHECKING:
    from mimamba_edge.trt.library import PluginLibrary

__all__ = ["KIND", "PlanManifest", "check_plan", "engine_facts", "engine_key", "rebuild_command"]

KIND = "plan"
_NEEDED = (
    "onnx",
    "onnx_sha256",
    "plugin_sha256",
    "batch",
    *(field.name for field in dataclasses.fields(BuildEnvironment)),
)


@dataclasses.dataclass(frozen=True)
class PlanManifest(Manifest):
    """The manifest of a plan: that of its ONNX file, and under ``engine`` what the engine depends on."""

    @classmethod
    def load(cls, artifact: Path) -> PlanManifest:
        """Read the manifest beside a plan and check that it describes these very bytes.

        Raises:
            ArtifactError: Either file is missing or damaged, they disagree, or it is no plan.
            ContractError: The contract inside is not valid.
        """
        artifact = Path(artifact)
        do = f"copy both files again from where they were built, or build again: {rebuild_command(artifact)}"
        try:
            plain = Manifest.load(artifact)
        except ArtifactError as error:
            raise ArtifactError(error.what, got=error.got, expected=error.expected, do=do) from error
        missing = [name for name in _NEEDED if name not in plain.engine]
        if plain.kind != KIND or missing:
            raise ArtifactError(
                f"{manifest_path(artifact)} is not the manifest of a TensorRT plan",
                got=f"kind {plain.kind!r}, without {', '.join(missing)}"
                if missing
                else f"kind {plain.kind!r}",
                expected=f"kind {KIND!r}",
                do=do,
            )
        try:
            Batch.parse(str(plain.engine["batch"]))
        except ConfigError as error:
            raise ArtifactError(
                f"the manifest {manifest_path(artifact)} is damaged", got=f"batch {error.got}", do=do
            ) from error
        return cls(**{field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)})

    @property
    def batch(self) -> Batch:
        """Batch sizes of the engine."""
        return Batch.parse(str(self.engine["batch"]))


def rebuild_command(plan: Path, engine: dict[str, Any] | None = None) -> str:
    """Return what to type to build a plan again."""
    name = plan.name.removesuffix(".plan")
    onnx = engine["onnx"] if engine else f"{name}.trt.onnx"
    batch = f" --batch {engine['batch']}" if engine and engine["batch"] != "1" else ""
    return f"mimamba-edge build {onnx} -o {plan}{batch} --rebuild-if-stale"


def engine_facts(
    environment: BuildEnvironment, *, onnx: Path, onnx_sha256: str, plugin_sha256: str, batch: Batch
) -> dict[str, Any]:
    """Return what stands under ``engine`` in a plan's manifest."""
    made_from = {"onnx": onnx.name, "onnx_sha256": onnx_sha256, "plugin_sha256": plugin_sha256}
    return {**made_from, "batch": str(batch), **environment.to_dict()}


def engine_key(
    environment: BuildEnvironment, *, onnx_sha256: str, plugin_sha256: str, shapes: dict[str, Any]
) -> str:
    """Return the name under which the cache keeps an engine: a hash over all that it depends on."""
    return environment.key(onnx_sha256=onnx_sha256, plugin_sha256=plugin_sha256, shapes=shapes)


def check_plan(
    path: Path,
    environment: BuildEnvironment,
    plugin: PluginLibrary,
    *,
    onnx_sha256: str | None = None,
    batch: Batch | None = None,
) -> PlanManifest:
    """Check a plan before it is deserialised.

    Args:
        path: ``NAME.plan``, its manifest beside it.
        environment: This machine's.
        plugin: The plugin library that will be loaded.
        onnx_sha256: Hash of the model it should be made from, where that is at hand.
        batch: Batch sizes it should take, where they are asked for.

    Raises:
        ArtifactError: Plan or manifest is missing or damaged, or they disagree.
        StaleEngineError: The plan is of another machine, plugin, model or batch; both values are named.
    """
    path = Path(path)
    manifest = PlanManifest.load(path)
    engine = manifest.engine
    found = [(label, then, now) for label, then, now in environment.differences(engine)]
    if engine["plugin_sha256"] != plugin.sha256:
        found.append(
            ("plugin library", _short(engine["plugin_sha256"]), f"{_short(plugin.sha256)}, {plugin.path}")
        )
    if manifest.ops != OPS:
        found.append(("ops", _ops(manifest.ops), _ops(OPS)))
    if onnx_sha256 is not None and engine["onnx_sha256"] != onnx_sha256:
        found.append((engine["onnx"], _short(engine["onnx_sha256"]), _short(onnx_sha256)))
    if batch is not None and manifest.batch != batch:
        found.append(("batch", engine["batch"], str(batch)))
    if found:
        raise StaleEngineError(
            f"{path} does not match: built with a different {', '.join(label for label, _, _ in found)}",
            got="; ".join(f"{label} {_shown(then)}" for label, then, _ in found),
            expected="; ".join(f"{label} {_shown(now)}" for label, _, now in found),
            do=f"build it here: {rebuild_command(path, engine)}",
        )
    return manifest


def _short(sha256: object) -> str:
    return f"sha256 {str(sha256)[:12]}"


def _ops(ops: dict[str, int]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(ops.items()))


def _shown(value: object) -> str:
    return "none" if value is None else str(value)

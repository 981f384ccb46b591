"""From a model file to what a host is given of it: checked against its manifest, with its plugin library."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.artifact import Manifest, manifest_path, sha256_file
from mimamba_edge.errors import ConfigError, PluginError
from mimamba_edge.runtime.base import need_contract
from mimamba_edge.serving.triton import Served
from mimamba_edge.trt.library import autoreg_path, list_plugins
from mimamba_edge.trt.plan import PlanManifest

__all__ = ["open_served"]


def open_served(model: Path, *, name: str | None = None, instances: int = 1) -> Served:
    """Return what a host needs to serve ``model``.

    Args:
        model: Portable ``.onnx``, or ``.plan`` with its manifest and the plugin library it was built with.
        name: Name it is served under; default: the file's, without suffixes.
        instances: Copies that run at the same time.

    Raises:
        ArtifactError: A file is missing, damaged or disagrees with its manifest.
        ConfigError: No kind of file that a host can serve, or an engine that it cannot feed.
        PluginError: The plugin library is missing or another than the engine was built with.
    """
    model = Path(model)
    name = name or model.name.split(".")[0]
    if model.name.endswith(".trt.onnx"):
        raise ConfigError(
            f"{model} is for building engines and cannot be served",
            expected="NAME.plan, or the portable NAME.onnx",
            do=f"build the engine on the device: mimamba-edge build {model}",
        )
    if model.suffix == ".onnx":
        manifest = Manifest.load(model)
        text = manifest_path(model).read_text(encoding="utf-8")
        return Served(name, model, text, need_contract(manifest.promise, model), instances=instances)
    if model.suffix != ".plan":
        raise ConfigError(f"{model} cannot be packaged", expected="NAME.plan or NAME.onnx")
    plan = PlanManifest.load(model)
    return Served(
        name,
        model,
        manifest_path(model).read_text(encoding="utf-8"),
        need_contract(plan.promise, model),
        batch=plan.batch,
        libraries=_libraries(model, plan.engine["plugin_sha256"]),
        tensorrt=str(plan.engine["tensorrt"]),
        instances=instances,
    )


def _libraries(plan: Path, sha256: str) -> tuple[Path, Path]:
    """Return the library that registers itself, which is what Triton loads, and the one it was built with."""
    found = list_plugins()
    library = next((held for held in found if held.sha256 == sha256), None)
    if library is None:
        raise PluginError(
            f"the plugin library that {plan} was built with was not found",
            got="; ".join(f"{held.path}, sha256 {held.sha256[:12]}" for held in found) or "none at all",
            expected=f"sha256 {sha256[:12]}",
            do="name it in MIMAMBA_PLUGIN, or build plugin and plan again",
        )
    if library.problem:
        raise library.problem
    autoreg = autoreg_path(library.path)
    expected = library.info.autoreg_sha256 if library.info else None
    if expected is None or not autoreg.is_file() or sha256_file(autoreg) != expected:
        raise PluginError(
            "the plugin library that registers itself is missing or not of the same build",
            got=f"{autoreg}, {'of unknown origin' if autoreg.is_file() else 'not there'}",
            expected=f"the one built with {library.path}",
            do="build both again: mimamba-edge plugin build",
        )
    return autoreg, library.path

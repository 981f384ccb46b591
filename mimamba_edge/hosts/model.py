"""From a model file to what a host is given of it: checked against its manifest, with its plugin library."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.artifact import Manifest, manifest_path
from mimamba_edge.errors import ConfigError
from mimamba_edge.hosts.triton import Served

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
            f"{model} is what engines are built from, and no host serves it",
            expected="NAME.plan, or the portable NAME.onnx",
            do=f"build the engine on the device: mimamba-edge build {model}",
        )
    if model.suffix == ".onnx":
        manifest = Manifest.load(model)
        text = manifest_path(model).read_text(encoding="utf-8")
        return Served(name, model, text, manifest.contract, instances=instances)
    raise ConfigError(f"{model} cannot be packaged", expected="NAME.plan or NAME.onnx")

"""What `doctor` looks at for ONNX Runtime: package, providers, library of native ops."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.doctor.health_check import HealthCheck, import_version
from mimamba_edge.errors import pip_install

__all__ = ["native_ops", "onnxruntime"]

_SUFFIX = "ExecutionProvider"
_REMOTE = "AzureExecutionProvider"
"""In every wheel; calls services of Azure where a model asks for it, and runs nothing here."""


def onnxruntime(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Look at the package, and run one node on each of its providers."""
    from mimamba_edge.bench.environment import versions
    from mimamba_edge.machine.jetson import is_jetson
    from mimamba_edge.runtime.ort import load_onnxruntime

    found = {name: v for name, v in versions().items() if name.startswith("onnxruntime") and v}
    if len(found) > 1:
        both = " and ".join(f"{name} {v}" for name, v in found.items())
        value = f"{both} are installed together and overwrite each other's providers"
        # No wheel of onnxruntime-gpu on PyPI has kernels for a Jetson.
        again = "pip install onnxruntime" if is_jetson(root) else f'{pip_install("cpu")}, or ".[gpu]"'
        remedy = f"pip uninstall -y {' '.join(found)}, then {again}"
        yield HealthCheck("onnxruntime", "wrong", value, remedy)
        return
    version, why = import_version("onnxruntime")
    if version is None:
        state = "warning" if why == "not installed" else "wrong"
        yield HealthCheck("onnxruntime", state, why, f"to run .onnx files: {pip_install('cpu')}")
        return
    wheel = f"{next(iter(found), 'onnxruntime')} {version}"
    listed = [name for name in load_onnxruntime().get_available_providers() if name != _REMOTE]
    yield HealthCheck("onnxruntime", "ok", wheel)
    for provider in listed:
        yield _provider(provider, wheel, root)


def _provider(provider: str, wheel: str, root: Path) -> HealthCheck:
    from mimamba_edge.runtime.ort import PROVIDERS
    from mimamba_edge.runtime.provider_probe import probe

    name = f"{provider.removesuffix(_SUFFIX)} provider"
    problem = probe(provider)
    if not problem:
        return HealthCheck(name, "ok", "ran a node")
    value = f"listed by {wheel}, and fails: {problem}"
    if provider not in PROVIDERS.values():
        return HealthCheck(
            name, "warning", value, "nothing: mimamba-edge does not use it, it builds TensorRT engines itself"
        )
    return HealthCheck(name, "wrong", value, _remedy(provider, problem, wheel, root))


def _remedy(provider: str, problem: str, wheel: str, root: Path) -> str:
    """Return what to install where a provider cannot run a node."""
    from mimamba_edge.machine.jetson import is_jetson, jetpack
    from mimamba_edge.runtime.ort import PROVIDERS

    if provider == PROVIDERS["cpu"]:
        return "pip install --force-reinstall onnxruntime"
    package, version = wheel.split()
    if is_jetson(root):
        return (
            f"pip uninstall -y {package}, then pip install onnxruntime, or an onnxruntime-gpu built for "
            f"JetPack {jetpack(root) or 'of this board'}; engines need neither (docs/jetson.md)"
        )
    if "libcuda.so" in problem:
        return f"install NVIDIA's driver; on a machine without its GPUs onnxruntime in place of {package}"
    if "cannot open shared object" in problem:
        libraries = f'pip install "{package}[cuda,cudnn]=={version}"'
        return f"{libraries}, or CUDA and cuDNN of the versions that it names; else --provider cpu"
    if "no kernel image" in problem or "NoKernelImage" in problem:
        other = f"another {package} (newer ones are for newer GPUs): {version} has no kernels for this GPU"
        return f"{other}; else --provider cpu"
    if "driver version" in problem:
        drivers = "535 or newer for CUDA 12, 580 or newer for CUDA 13"
        return f"install or update NVIDIA's driver: {drivers} (docs/nvidia-pc.md); else --provider cpu"
    return "see `nvidia-smi`: this needs an NVIDIA GPU and its driver; else --provider cpu"


def native_ops() -> Iterator[HealthCheck]:
    """Look for the library that runs the custom ops in ONNX Runtime."""
    from mimamba_edge.errors import DependencyError, PluginError
    from mimamba_edge.runtime.native_ops import BUILD, CUDA, find_native_ops
    from mimamba_edge.runtime.ort import PROVIDERS, load_onnxruntime

    if importlib.util.find_spec("onnxruntime") is None:
        return
    try:
        found = find_native_ops()
    except PluginError as error:
        yield HealthCheck("native ops", "warning", error.what, error.do or "")
        return
    if found is None:
        yield HealthCheck("native ops", "ok", "none: ONNX Runtime runs function bodies", f"faster: {BUILD}")
    else:
        yield HealthCheck("native ops", "ok", f"{found.target}, {found.path}")
    try:
        if PROVIDERS[CUDA] not in load_onnxruntime().get_available_providers():
            return
        cuda = find_native_ops(CUDA)
    except DependencyError:  # said above
        return
    except PluginError as error:
        yield HealthCheck("native ops, CUDA", "warning", error.what, error.do or "")
        return
    if cuda is None:
        remedy = f"faster, with nvcc: {BUILD}"
        yield HealthCheck("native ops, CUDA", "ok", "none: ONNX Runtime runs function bodies", remedy)
    else:
        archs = ", ".join(map(str, cuda.architectures)) or "unknown"
        yield HealthCheck("native ops, CUDA", "ok", f"SM {archs}, {cuda.path}")

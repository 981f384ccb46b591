"""Capability markers: a test that this machine cannot run is skipped with a reason and a remedy."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

import mimamba_edge  # noqa: F401 - before any test imports onnxruntime, which would send

ROOT = Path(__file__).resolve().parents[1]
os.environ["MIMAMBA_ORT_OPS"] = "none"  # whatever is in the cache; tests of native ops name them
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers inherit it
    # The cache of this run: what a developer has kept is neither read nor changed.
    os.environ["MIMAMBA_CACHE"] = tempfile.mkdtemp(prefix="mimamba-tests-")
    atexit.register(shutil.rmtree, os.environ["MIMAMBA_CACHE"], ignore_errors=True)
# Small tensors, and other tests on the other cores: threads of one op would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that starts a job in the background has it ignore Ctrl-C, and so all that the job starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in modules)


def _data_folder() -> Path | None:
    """Return the folder of the real recordings that ``MIMAMBA_DATA`` names, or ``None``."""
    named = os.environ.get("MIMAMBA_DATA")
    return Path(named) / "muse-ssvep" if named else None


@cache
def _missing(marker: str) -> str | None:
    """Return why a capability is not there, or ``None``."""
    if marker == "torch" and not _has("torch", "onnx", "onnxscript", "safetensors"):
        return "needs torch and onnx: pip install '.[export]'"
    if marker == "ort" and not _has("onnxruntime"):
        return "needs onnxruntime: pip install '.[cpu]'"
    if marker == "trt" and not _has("tensorrt"):
        return "needs TensorRT: comes with JetPack; elsewhere install NVIDIA's packages"
    if marker == "cuda" and shutil.which("nvidia-smi") is None and not Path("/dev/nvhost-gpu").exists():
        return "needs a CUDA device"
    if marker == "data" and not ((folder := _data_folder()) and (folder / "labels.csv").is_file()):
        return (
            "needs the real recordings: set MIMAMBA_DATA to the folder that holds muse-ssvep "
            "(CONTRIBUTING.md names the recordings)"
        )
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes ``-n auto`` takes. Tests wait a third of their time: one more than cores."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        # Files go to the workers in this order: long ones first, so that none is left over at the end.
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)
    for item in items:
        for marker in ("torch", "ort", "trt", "cuda", "data"):
            if item.get_closest_marker(marker) and (reason := _missing(marker)):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of the real recordings; the test is skipped where they are absent."""
    folder = _data_folder()
    if folder is None or (reason := _missing("data")):
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def cuda_headers() -> Path:
    """Folder of ``cuda_runtime_api.h``; the test is skipped where it is absent."""
    roots = (os.environ.get("CUDA_HOME"), "/usr/local/cuda")
    for folder in (Path(root) / "include" for root in roots if root):
        if (folder / "cuda_runtime_api.h").is_file():
            return folder
    pytest.skip("needs CUDA's headers: the CUDA toolkit, or CUDA_HOME set to the folder above include/")


@pytest.fixture(scope="session")
def seam(cuda_headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launchers of ``c_api.h`` over the harness's reference: CPU tensors go the way of CUDA ones."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    library = tmp_path_factory.mktemp("seam") / "libmimamba_seam.so"
    harness = ROOT / "plugins" / "harness"
    sources = [harness / name for name in ("reference_launch.cpp", "reference.cpp", "values.cpp")]
    sources.append(ROOT / "tests" / "ops" / "launch_reference.cpp")
    options = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", library)
    folders = ("-I", ROOT / "plugins" / "kernels", "-I", harness, "-isystem", cuda_headers)
    subprocess.run([compiler, *options, *folders, *sources], check=True)
    return library

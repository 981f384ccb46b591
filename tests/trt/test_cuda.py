"""Checked CUDA calls: on the fake, and against the names of the real cuda-bindings."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.errors import DependencyError, EngineError
from mimamba_edge.trt.buffers import Buffer
from mimamba_edge.trt.cuda import Cuda, DeviceInfo, load_cuda
from tests.fakes.cudart import FakeCuda
from tests.fakes.tensorrt import Device, install
from tests.fakes.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return install(monkeypatch, device=Device(integrated=False))


def test_device(world: World) -> None:
    cuda = load_cuda()
    assert cuda.device() == DeviceInfo("Orin", 87, 8, False, 8 << 30, "12.6", "12.6")
    assert cuda.mem_get_info() == (8 << 30, 8 << 30)


@pytest.mark.parametrize(
    ("device", "what", "do"),
    [
        (Device(driver=0), "no NVIDIA driver", "Jetson"),
        (Device(driver=12060, runtime=13000), "too old", "cuda-bindings==12.*"),
        (Device(count=0), "no CUDA device", "nvidia-smi"),
    ],
)
def test_no_device(monkeypatch: pytest.MonkeyPatch, device: Device, what: str, do: str) -> None:
    install(monkeypatch, device=device)
    with pytest.raises(EngineError, match=what) as caught:
        load_cuda()
    assert do in str(caught.value)


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(DependencyError, match=re.escape(".[jetson]")):
        load_cuda()


def test_an_error_names_call_and_cause(world: World) -> None:
    world.cuda.fail("cudaMalloc")
    with pytest.raises(EngineError, match="cudaMalloc failed") as caught:
        load_cuda().malloc(64)
    assert "cudaErrorMemoryAllocation (2)" in str(caught.value)
    assert "smaller batch" in str(caught.value)


def test_a_capture_that_breaks_leaves_the_stream_usable(world: World) -> None:
    cuda = load_cuda()
    stream = cuda.stream()

    def allocate() -> None:
        cuda.malloc(64)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(EngineError, match="cudaErrorStreamCaptureUnsupported"):
        cuda.capture(stream, allocate)
    with pytest.raises(KeyboardInterrupt):
        cuda.capture(stream, fail)
    buffer = Buffer(cuda, (2, 3), shared=False)
    graph = cuda.capture(stream, lambda: buffer.upload(stream))
    cuda.launch(graph, stream)
    cuda.synchronize(stream)
    cuda.destroy_graph(graph)
    buffer.close()
    cuda.destroy_stream(stream)
    world.cuda.assert_clean()


@pytest.mark.parametrize("shared", [True, False])
def test_a_buffer_goes_there_and_back(world: World, shared: bool) -> None:
    cuda = load_cuda()
    stream = cuda.stream()
    buffer = Buffer(cuda, (2, 3), shared=shared)
    assert buffer.address % 256 == 0
    buffer.array[:] = [[1, 2, 3], [4, 5, 6]]
    buffer.upload(stream)
    cuda.synchronize(stream)
    held = world.cuda.view(buffer.address, 24)
    assert held is not None
    np.testing.assert_array_equal(held.view(np.float32), [1, 2, 3, 4, 5, 6])
    held.view(np.float32)[:] *= 2
    buffer.download(stream)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(buffer.array, [[2, 4, 6], [8, 10, 12]])
    buffer.close()
    cuda.destroy_stream(stream)
    world.cuda.assert_clean()


@pytest.mark.parametrize(("shared", "call"), [(True, "cudaHostGetDevicePointer"), (False, "cudaMalloc")])
def test_a_buffer_that_fails_leaves_nothing(world: World, shared: bool, call: str) -> None:
    world.cuda.fail(call)
    with pytest.raises(EngineError, match=call):
        Buffer(load_cuda(), (2, 3), shared=shared)
    world.cuda.assert_clean()


# The fake finds what it is there to find.


def test_the_fake_finds_leaks(world: World) -> None:
    load_cuda().malloc(64)
    with pytest.raises(AssertionError, match="not released"):
        world.cuda.assert_clean()


def test_the_fake_finds_a_missing_wait(world: World) -> None:
    cuda = load_cuda()
    stream, buffer = cuda.stream(), Buffer(cuda, (4,), shared=False)
    held = world.cuda.view(buffer.address, 16)
    assert held is not None
    held.view(np.float32)[:] = 1
    buffer.download(stream)
    assert np.isnan(buffer.array).all()
    cuda.synchronize(stream)
    np.testing.assert_array_equal(buffer.array, 1)


def test_the_fake_finds_use_after_free(world: World) -> None:
    cuda = load_cuda()
    stream, buffer = cuda.stream(), Buffer(cuda, (4,), shared=False)
    graph = cuda.capture(stream, lambda: buffer.upload(stream))
    view = buffer.array
    buffer.close()
    cuda.launch(graph, stream)
    with pytest.raises(EngineError, match="cudaErrorIllegalAddress"):
        cuda.synchronize(stream)
    view[:] = 0
    world.cuda.violations.clear()
    world.cuda.streams.clear()
    world.cuda.graphs.clear()
    with pytest.raises(AssertionError, match="after it was freed"):
        world.cuda.assert_clean()


def test_the_fake_counts_copies_of_ordinary_memory(world: World) -> None:
    cuda, array = load_cuda(), np.zeros(4, np.float32)
    stream, address = cuda.stream(), cuda.malloc(16)
    with pytest.raises(EngineError):
        cuda.copy_to_device(address, array.ctypes.data, 16, stream)
    assert world.cuda.pageable_copies == 1


# The real package, which needs no device to be imported.

real = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None,
    reason="needs cuda-bindings: pip install 'mimamba-edge[jetson]'",
)


@real
def test_the_fake_has_names_and_parameters_of_the_real_package() -> None:
    runtime = importlib.import_module("cuda.bindings.runtime")
    from tests.fakes.cudart import make_module

    fake = make_module(FakeCuda())
    calls = {name: held for name, held in vars(fake).items() if name.startswith("cuda")}
    assert len(calls) > 25
    for name, held in calls.items():
        there = getattr(runtime, name)
        if isinstance(held, int):
            assert held == int(there), name
        elif isinstance(held, type):
            assert {m.name: int(m) for m in held} == {m.name: int(getattr(there, m.name)) for m in held}
        else:
            mine = held.__code__.co_varnames[: held.__code__.co_argcount]
            line = str(there.__doc__).splitlines()[0]
            parts = re.sub(r"^\w+\(|\)$", "", line).split(",")
            # "size_t size", "kind: cudaMemcpyKind", "stream"
            theirs = [part.split(":")[0].split()[-1] for part in parts if part.strip()]
            assert list(mine) == theirs, name


@real
def test_without_a_driver_the_real_package_gives_our_error() -> None:
    code = (
        "from mimamba_edge.trt.cuda import load_cuda\n"
        "from mimamba_edge.errors import EngineError\n"
        "try: print(load_cuda().device())\n"
        "except EngineError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "DeviceInfo(" in out.stdout or "do this:" in out.stdout


def test_importing_it_loads_neither_cuda_nor_tensorrt() -> None:
    folder = Path(__file__).resolve().parents[2] / "mimamba_edge" / "trt"
    names = sorted(path.stem for path in folder.glob("*.py"))
    code = f"import sys, importlib\nfor n in {names}: importlib.import_module('mimamba_edge.trt.' + n)\n"
    code += "print([m for m in ('cuda', 'tensorrt', 'torch', 'onnx', 'onnxruntime') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_release_of_a_broken_device_is_quiet_only_where_asked(world: World) -> None:
    cuda: Cuda = load_cuda()
    world.cuda.fail("cudaFree", "cudaErrorLaunchFailure")
    with pytest.raises(EngineError, match="cudaFree"):
        cuda.free(cuda.malloc(8))
    world.cuda.assert_clean()

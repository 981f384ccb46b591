"""The few CUDA calls that TensorRT needs, checked: a failing call is an error that names it.

Works with cuda-bindings 12.6 to 13.x, whose calls return ``(error, values...)`` and take pointers as
integers (https://nvidia.github.io/cuda-python/cuda-bindings/latest/module/runtime.html).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mimamba_edge.errors import DependencyError, EngineError, pip_install

__all__ = ["Cuda", "DeviceInfo", "load_cuda", "quietly"]


@dataclass(frozen=True)
class DeviceInfo:
    """The CUDA device in use.

    Attributes:
        name: As the driver calls it: ``"Orin"``, ``"NVIDIA H200"``.
        sm: Compute capability times ten: 87 for an Orin.
        sm_count: Streaming multiprocessors.
        integrated: Whether it shares its memory with the CPU, as a Jetson's does.
        total_memory_bytes: Memory of the device; all of the machine's if it is integrated.
        driver: CUDA version the driver supports, ``"12.6"``.
        runtime: CUDA version of the runtime in cuda-bindings, ``"12.9"``.
    """

    name: str
    sm: int
    sm_count: int
    integrated: bool
    total_memory_bytes: int
    driver: str
    runtime: str


def load_cuda() -> Cuda:
    """Return the CUDA runtime, with a device at hand.

    Raises:
        DependencyError: cuda-bindings is not installed or cannot be imported.
        EngineError: There is no driver, the driver is too old, or there is no device.
    """
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise DependencyError(
            "TensorRT engines need cuda-bindings, which cannot be imported",
            got=error,
            do=f'{pip_install("jetson")}, on a PC ".[tensorrt]"; then run `mimamba-edge doctor`',
        ) from error
    cuda = Cuda(runtime)
    cuda.check_device()
    return cuda


def _version(number: int) -> str:
    """Return ``"12.6"`` for CUDA's 12060."""
    return f"{number // 1000}.{number % 1000 // 10}"


class Cuda:
    """Checked calls of ``cuda.bindings.runtime``. Pointers are integers; handles are the module's own.

    Every method raises :class:`EngineError` that names the call and CUDA's error if the call fails.

    Args:
        runtime: The module.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def _call(self, name: str, *args: Any) -> Any:
        """Call a function of the runtime; return its value, a tuple of several, or ``None``."""
        function: Callable[..., tuple[Any, ...]] = getattr(self._runtime, name)
        error, *values = function(*args)
        if int(error) != 0:
            raise EngineError(f"the CUDA call {name} failed", got=self._words(error), do=_remedy(int(error)))
        return values[0] if len(values) == 1 else tuple(values) or None

    def _words(self, error: Any) -> str:
        text = self._runtime.cudaGetErrorString(error)[1]
        words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        return f"{getattr(error, 'name', error)} ({int(error)}): {words}"

    def check_device(self) -> None:
        """Find out whether there is a driver that this runtime can use, and a device.

        Raises:
            EngineError: There is not.
        """
        error, count = self._runtime.cudaGetDeviceCount()
        if int(error) == 0 and count:
            return
        driver, runtime = self.driver_version(), self.runtime_version()
        if driver == "0.0":
            what, do = "there is no NVIDIA driver on this machine", "run this on a Jetson or a CUDA machine"
        elif int(error) == int(self._runtime.cudaError_t.cudaErrorInsufficientDriver):
            what = "the NVIDIA driver is too old for this cuda-bindings"
            major = driver.split(".")[0]
            older = f"=={major}.*" if runtime.split(".")[0] != major else f"<={driver}"
            do = f'pip install "cuda-bindings{older}", or update the driver'
        else:
            what, do = "there is no CUDA device", "check nvidia-smi, or CUDA_VISIBLE_DEVICES"
        raise EngineError(
            what,
            got=f"{self._words(error)}; driver for CUDA {driver}" if driver != "0.0" else self._words(error),
            expected=f"a device, and a driver for CUDA {runtime.split('.')[0]}",
            do=do,
        )

    def driver_version(self) -> str:
        """Return the CUDA version that the driver supports; ``"0.0"`` without a driver."""
        return _version(self._call("cudaDriverGetVersion"))

    def runtime_version(self) -> str:
        """Return the CUDA version of the runtime that cuda-bindings brings."""
        return _version(self._call("cudaRuntimeGetVersion"))

    def device(self) -> DeviceInfo:
        """Return what the current device is."""
        number = self._call("cudaGetDevice")
        attributes = self._runtime.cudaDeviceAttr

        def attribute(name: str) -> int:
            return int(self._call("cudaDeviceGetAttribute", getattr(attributes, name), number))

        held = self._call("cudaGetDeviceProperties", number)
        name = held.name.decode(errors="replace") if isinstance(held.name, bytes) else str(held.name)
        return DeviceInfo(
            name=name.rstrip("\0"),
            sm=10 * attribute("cudaDevAttrComputeCapabilityMajor")
            + attribute("cudaDevAttrComputeCapabilityMinor"),
            sm_count=attribute("cudaDevAttrMultiProcessorCount"),
            integrated=bool(attribute("cudaDevAttrIntegrated")),
            total_memory_bytes=int(held.totalGlobalMem),
            driver=self.driver_version(),
            runtime=self.runtime_version(),
        )

    def mem_get_info(self) -> tuple[int, int]:
        """Return free and total memory of the device in bytes."""
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    def malloc(self, n_bytes: int) -> int:
        """Return the address of new device memory."""
        return int(self._call("cudaMalloc", n_bytes))

    def free(self, address: int) -> None:
        """Free what :meth:`malloc` gave."""
        self._call("cudaFree", address)

    def host_malloc(self, n_bytes: int, *, mapped: bool = False) -> int:
        """Return the address of new page-locked host memory; ``mapped``: the device can use it as well."""
        flag = self._runtime.cudaHostAllocMapped if mapped else self._runtime.cudaHostAllocDefault
        return int(self._call("cudaHostAlloc", n_bytes, flag))

    def host_free(self, address: int) -> None:
        """Free what :meth:`host_malloc` gave."""
        self._call("cudaFreeHost", address)

    def device_address(self, address: int) -> int:
        """Return where the device sees mapped host memory."""
        return int(self._call("cudaHostGetDevicePointer", address, 0))

    def copy_to_device(self, target: int, source: int, n_bytes: int, stream: Any) -> None:
        """Queue a copy from page-locked host memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source, n_bytes, kind, stream)

    def copy_to_host(self, target: int, source: int, n_bytes: int, stream: Any) -> None:
        """Queue a copy to page-locked host memory; it is there after :meth:`synchronize`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target, source, n_bytes, kind, stream)

    def stream(self) -> Any:
        """Return a new stream that does not wait for the default stream."""
        return self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def destroy_stream(self, stream: Any) -> None:
        """Destroy what :meth:`stream` gave."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: Any) -> None:
        """Wait until all that was queued on ``stream`` is done."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: Any, queue: Callable[[], None]) -> Any:
        """Return an executable graph of what ``queue`` puts on ``stream``; nothing of it runs now.

        Calls of other threads are not held against the capture (thread-local mode).

        Raises:
            EngineError: CUDA refused; ``stream`` is out of capture mode again.
            Exception: What ``queue`` raised; likewise.
        """
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            queue()
        except BaseException:
            # A capture that broke must still be ended, or the stream stays unusable.
            with contextlib.suppress(EngineError):
                self._drop(self._call("cudaStreamEndCapture", stream))
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._drop(graph)

    def _drop(self, graph: Any) -> None:
        if graph is not None and int(graph) != 0:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a graph that :meth:`capture` gave."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Destroy what :meth:`capture` gave."""
        self._call("cudaGraphExecDestroy", graph)


def quietly(release: Callable[..., None], *args: Any) -> None:
    """Give something back to a device that may have failed before, which makes every later call fail too.

    The error that matters was raised by the call that failed first.
    """
    with contextlib.suppress(EngineError):
        release(*args)


def _remedy(error: int) -> str:
    if error == 2:  # cudaErrorMemoryAllocation
        return "free memory: close other programs, or build a plan for a smaller batch"
    return "run `mimamba-edge doctor`; the error may come from an earlier kernel"

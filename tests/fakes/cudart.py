"""A stand-in for ``cuda.bindings.runtime``: memory, streams and graphs that find the mistakes of their user.

Sources: CUDA Runtime API 12.6 (https://docs.nvidia.com/cuda/archive/12.6.3/cuda-runtime-api/), modules
"Memory Management", "Stream Management", "Graph Management", "API synchronization behavior"; call names,
parameters and result tuples as in cuda-bindings 12.9 and 13.5, which ``test_fake_names.py`` compares.

- Device addresses cannot be dereferenced by the host: they are numbers beside the arrays that hold the bytes.
- Work on a stream is done when the stream is synchronised, not before; memory that is about to be written
  holds NaN until then, so that reading too early shows, and memory that was overwritten too early shows too.
- A graph replays the operations with the addresses it was captured with, whatever became of them.
"""

from __future__ import annotations

import ctypes
import enum
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_DEVICE_BASE = 0x7F00_0000_0000_0000  # no process on Linux has memory there
_FREED = 0xEE
_ALIGNMENT = 256  # "allocated memory is suitably aligned for any kind of variable": 256 bytes since cc 1.0


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


class cudaDeviceAttr(enum.IntEnum):
    cudaDevAttrMultiProcessorCount = 16
    cudaDevAttrIntegrated = 18
    cudaDevAttrCanMapHostMemory = 19
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class Handle:
    """A stream or graph. ``int()`` of it is what other libraries take, as with the real classes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __int__(self) -> int:
        return self._number


@dataclass(frozen=True)
class Device:
    """The device that the fakes show."""

    name: str = "Orin"
    major: int = 8
    minor: int = 7
    sm_count: int = 8
    integrated: bool = True
    memory_bytes: int = 8 << 30
    driver: int = 12060
    runtime: int = 12060
    count: int = 1


@dataclass
class Block:
    """Memory: where the host and the device see it (0: not at all), and its bytes."""

    kind: str
    host: int
    device: int
    bytes: np.ndarray
    keep: Any = None


@dataclass
class Op:
    """Work, and where the host will find what it writes: ``(address, bytes, whether the device's)``."""

    run: Callable[[], None]
    writes: tuple[tuple[int, int, bool], ...] = ()


@dataclass
class Stream:
    """Work that waits, and what a capture has recorded."""

    waiting: list[Op] = field(default_factory=list)
    recorded: list[Op] | None = None
    invalidated: bool = False


class FakeCuda:
    """The machine: what was allocated, queued, counted and done wrong.

    Attributes:
        calls: How often each function was called.
        violations: What a real device would punish with wrong numbers or a crash.
        faults: Errors to give out, a list for each call: ``None`` lets a call be.
    """

    def __init__(self, device: Device | None = None) -> None:
        self.device = device or Device()
        self.calls: Counter[str] = Counter()
        self.violations: list[str] = []
        self.faults: dict[str, list[cudaError_t | None]] = {}
        self.blocks: list[Block] = []
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Op]] = {}
        self.pageable_copies = 0
        self.freed: list[Block] = []
        self.sticky: cudaError_t | None = None
        self._next = _DEVICE_BASE
        self._handles = 1000

    # What tests ask and say.

    def fail(self, call: str, error: str = "cudaErrorMemoryAllocation", *, after: int = 0) -> None:
        """Let a coming call fail: the next one, or after that many that succeed."""
        self.faults[call] = [None] * after + [cudaError_t[error]]

    def assert_clean(self) -> None:
        """Raise where memory, streams or graphs were not given back, or rules were broken."""
        assert not self.violations, self.violations
        held = [f"{block.kind} {len(block.bytes)} B" for block in self.blocks]
        held += [f"stream {number}" for number in self.streams] + [
            f"graph {number}" for number in self.graphs
        ]
        assert not held, f"not released: {held}"
        assert all((block.bytes == _FREED).all() for block in self.freed), "written after it was freed"

    def capturing(self) -> Stream | None:
        """Return the stream that is being captured."""
        return next((s for s in self.streams.values() if s.recorded is not None), None)

    def invalidate(self) -> None:
        """Break the capture that is under way, as an allocation or a synchronisation does."""
        if stream := self.capturing():
            stream.invalidated = True

    def view(self, address: int, n_bytes: int, *, device: bool = True) -> np.ndarray | None:
        """Return the bytes at an address of the device, or of the host."""
        for block in self.blocks:
            start = block.device if device else block.host
            if start and start <= address and address + n_bytes <= start + len(block.bytes):
                return block.bytes[address - start : address - start + n_bytes]
        return None

    def enqueue(self, handle: int, op: Op) -> bool:
        """Put work on a stream, or into its capture; ``False`` if there is no such stream."""
        stream = self.streams.get(handle)
        if stream is None:
            self.violations.append(f"work on stream {handle}, which is not there")
            return False
        if stream.recorded is not None:
            stream.recorded.append(op)
            return True
        stream.waiting.append(op)
        for address, n_bytes, device in op.writes:
            target = self.view(address, n_bytes, device=device)
            if target is not None:
                target[:] = 0xFF  # NaN in float16, float32 and float64
        return True

    def illegal(self, what: str) -> None:
        """Note an access to memory that is not there; later calls fail, as on a device (error 700)."""
        self.violations.append(what)
        self.sticky = cudaError_t.cudaErrorIllegalAddress

    # Helpers of the calls.

    def begin(self, call: str, *, unsafe: bool = False) -> cudaError_t:
        """Count a call; give its planned fault, or the error that calls unsafe during capture get.

        "Potentially unsafe API calls are prohibited" under capture (cudaThreadExchangeStreamCaptureMode).
        """
        self.calls[call] += 1
        planned = self.faults.get(call)
        fault = planned.pop(0) if planned else None
        if fault is not None:
            return fault
        if self.sticky is not None:
            return self.sticky
        if unsafe and self.capturing():
            self.invalidate()
            return cudaError_t.cudaErrorStreamCaptureUnsupported
        return cudaError_t.cudaSuccess

    def number(self) -> int:
        self._handles += 1
        return self._handles

    def device_address(self, n_bytes: int) -> int:
        address = self._next
        self._next += (n_bytes // _ALIGNMENT + 2) * _ALIGNMENT
        return address

    def drain(self, stream: Stream) -> None:
        waiting, stream.waiting = stream.waiting, []
        for op in waiting:
            op.run()

    def drain_all(self) -> None:
        for stream in self.streams.values():
            self.drain(stream)


def make_module(fake: FakeCuda) -> types.ModuleType:
    """Return the module ``cuda.bindings.runtime`` of a machine."""
    ok = cudaError_t.cudaSuccess
    device = fake.device

    def alone() -> cudaError_t:
        if device.driver == 0 or device.driver // 1000 < device.runtime // 1000:
            return cudaError_t.cudaErrorInsufficientDriver
        return ok if device.count else cudaError_t.cudaErrorNoDevice

    def cudaGetDeviceCount() -> tuple[Any, ...]:
        error = alone()
        return (error, device.count) if error == ok else (error, None)

    def cudaGetDevice() -> tuple[Any, ...]:
        return alone(), 0

    def cudaGetErrorString(error: cudaError_t) -> tuple[Any, ...]:
        return ok, f"words for {cudaError_t(error).name}".encode()

    def cudaDriverGetVersion() -> tuple[Any, ...]:
        return ok, device.driver

    def cudaRuntimeGetVersion() -> tuple[Any, ...]:
        return ok, device.runtime

    def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> tuple[Any, ...]:
        shown = fake.device
        values = {
            cudaDeviceAttr.cudaDevAttrMultiProcessorCount: shown.sm_count,
            cudaDeviceAttr.cudaDevAttrIntegrated: int(shown.integrated),
            cudaDeviceAttr.cudaDevAttrCanMapHostMemory: 1,
            cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor: shown.major,
            cudaDeviceAttr.cudaDevAttrComputeCapabilityMinor: shown.minor,
        }
        return alone(), values[attr]

    def cudaGetDeviceProperties(device: int) -> tuple[Any, ...]:
        shown = fake.device
        held = types.SimpleNamespace(name=shown.name.encode(), totalGlobalMem=shown.memory_bytes)
        return alone(), held

    def cudaMemGetInfo() -> tuple[Any, ...]:
        used = sum(len(block.bytes) for block in fake.blocks)
        return fake.begin("cudaMemGetInfo"), device.memory_bytes - used, device.memory_bytes

    def cudaMalloc(size: int) -> tuple[Any, ...]:
        error = fake.begin("cudaMalloc", unsafe=True)
        if error:
            return error, None
        address = fake.device_address(size)
        fake.blocks.append(Block("device", 0, address, np.full(size, 0xFF, np.uint8)))
        return ok, address

    def cudaHostAlloc(size: int, flags: int) -> tuple[Any, ...]:
        error = fake.begin("cudaHostAlloc", unsafe=True)
        if error:
            return error, None
        keep = ctypes.create_string_buffer(size + _ALIGNMENT)
        host = (ctypes.addressof(keep) + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
        view = np.frombuffer((ctypes.c_uint8 * size).from_address(host), np.uint8)
        # Mapped memory has another address on the device, which cudaHostGetDevicePointer gives.
        seen = fake.device_address(size) if flags & 2 else 0
        fake.blocks.append(Block("mapped" if flags & 2 else "pinned", host, seen, view, keep))
        return ok, host

    def cudaHostGetDevicePointer(pHost: int, flags: int) -> tuple[Any, ...]:
        error = fake.begin("cudaHostGetDevicePointer")
        block = next((b for b in fake.blocks if b.kind == "mapped" and b.host == pHost), None)
        if error or block is None:
            return error or cudaError_t.cudaErrorInvalidValue, None
        return ok, block.device

    def release(call: str, address: int, kinds: tuple[str, ...]) -> tuple[Any, ...]:
        # A planned fault of a release still releases: no caller could do better with it.
        error = fake.begin(call, unsafe=True)
        if error == cudaError_t.cudaErrorStreamCaptureUnsupported:
            return (error,)
        fake.drain_all()  # cudaFree waits for the device
        start = "device" if call == "cudaFree" else "host"
        block = next((b for b in fake.blocks if b.kind in kinds and getattr(b, start) == address), None)
        if block is None:
            fake.violations.append(f"{call} of {address:#x}, which is not there")
            return (cudaError_t.cudaErrorInvalidValue,)
        fake.blocks.remove(block)
        if block.host:
            block.bytes[:] = _FREED
            fake.freed.append(block)
        return (error,)

    def cudaFree(devPtr: int) -> tuple[Any, ...]:
        return release("cudaFree", devPtr, ("device",))

    def cudaFreeHost(ptr: int) -> tuple[Any, ...]:
        return release("cudaFreeHost", ptr, ("pinned", "mapped"))

    def cudaMemcpyAsync(dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: Any) -> tuple[Any, ...]:
        error = fake.begin("cudaMemcpyAsync")
        if error:
            return (error,)
        up = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
        host = src if up else dst
        if fake.view(host, count, device=False) is None:
            # The real call stages such a copy and waits, which is no asynchronous copy any more.
            fake.pageable_copies += 1
            return (cudaError_t.cudaErrorInvalidValue,)

        def run() -> None:
            a, b = fake.view(dst, count, device=up), fake.view(src, count, device=not up)
            if a is None or b is None:
                fake.illegal(f"copy of {count} B from {src:#x} to {dst:#x}: not all of it is memory")
                return
            a[:] = b

        there = fake.enqueue(int(stream), Op(run, () if up else ((dst, count, False),)))
        return (ok if there else cudaError_t.cudaErrorInvalidResourceHandle,)

    def cudaStreamCreateWithFlags(flags: int) -> tuple[Any, ...]:
        error = fake.begin("cudaStreamCreateWithFlags")
        if error:
            return error, None
        number = fake.number()
        fake.streams[number] = Stream()
        return ok, Handle(number)

    def cudaStreamDestroy(stream: Any) -> tuple[Any, ...]:
        error = fake.begin("cudaStreamDestroy")
        held = fake.streams.pop(int(stream), None)
        if held is None:
            fake.violations.append("a stream was destroyed twice")
            return (cudaError_t.cudaErrorInvalidResourceHandle,)
        fake.drain(held)  # what was queued is still done
        return (error,)

    def cudaStreamSynchronize(stream: Any) -> tuple[Any, ...]:
        error = fake.begin("cudaStreamSynchronize")
        held = fake.streams.get(int(stream))
        if error or held is None:
            return (error or cudaError_t.cudaErrorInvalidResourceHandle,)
        if held.recorded is not None:
            held.invalidated = True
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        fake.drain(held)
        return (fake.sticky or ok,)

    def cudaStreamBeginCapture(stream: Any, mode: cudaStreamCaptureMode) -> tuple[Any, ...]:
        error = fake.begin("cudaStreamBeginCapture")
        if error:
            return (error,)
        held = fake.streams[int(stream)]
        held.recorded, held.invalidated = [], False
        return (ok,)

    def cudaStreamEndCapture(stream: Any) -> tuple[Any, ...]:
        error = fake.begin("cudaStreamEndCapture")
        held = fake.streams[int(stream)]
        recorded, held.recorded = held.recorded, None
        if error or held.invalidated or recorded is None:
            return error or cudaError_t.cudaErrorStreamCaptureInvalidated, None
        number = fake.number()
        fake.graphs[number] = recorded
        return ok, Handle(number)

    def cudaGraphInstantiate(graph: Any, flags: int) -> tuple[Any, ...]:
        error = fake.begin("cudaGraphInstantiate")
        if error:
            return error, None
        number = fake.number()
        fake.graphs[number] = fake.graphs[int(graph)]
        return ok, Handle(number)

    def cudaGraphLaunch(graphExec: Any, stream: Any) -> tuple[Any, ...]:
        error = fake.begin("cudaGraphLaunch")
        if error:
            return (error,)
        if int(graphExec) not in fake.graphs or int(stream) not in fake.streams:
            return (cudaError_t.cudaErrorInvalidResourceHandle,)
        for op in fake.graphs[int(graphExec)]:
            fake.enqueue(int(stream), op)
        return (ok,)

    def drop(call: str, graph: Any) -> tuple[Any, ...]:
        error = fake.begin(call)
        if fake.graphs.pop(int(graph), None) is None:
            fake.violations.append(f"{call} of a graph that is not there")
        return (error,)

    def cudaGraphDestroy(graph: Any) -> tuple[Any, ...]:
        return drop("cudaGraphDestroy", graph)

    def cudaGraphExecDestroy(graphExec: Any) -> tuple[Any, ...]:
        return drop("cudaGraphExecDestroy", graphExec)

    module = types.ModuleType("cuda.bindings.runtime")
    enums = (cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode, cudaDeviceAttr)
    calls = [held for name, held in locals().items() if name.startswith("cuda") and callable(held)]
    for held in (*enums, *calls):
        setattr(module, held.__name__, held)
    module.cudaHostAllocDefault, module.cudaHostAllocMapped, module.cudaStreamNonBlocking = 0, 2, 1
    return module

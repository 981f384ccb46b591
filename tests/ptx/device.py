"""The kernels through the C names of ``kernels/c_api.h``, with NumPy arrays, on the simulated device.

Arrays are copied to memory of the device and back, with a guard on both sides that nothing may touch. A call
fails if the simulator has found anything.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.plugins.ctypes_api import I64, PTR, TYPES, Device, Mstb, Scan

GUARD = 256
"""Bytes before and after an array that nothing may touch."""
_PATTERN = 0x5A
Arrays = Mapping[str, NDArray[Any]]


class Refused(Exception):
    """What a launcher answered; ``args`` are code and message."""


def device(multiprocessors: int = 8, shared_bytes: int = 48 * 1024, max_blocks: int = 1 << 30) -> Device:
    """Return what a launcher is told of its device."""
    return Device(multiprocessors, shared_bytes, max_blocks)


def store(x: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Round to a storage type; bfloat16 as its bits, since NumPy has none."""
    x = np.ascontiguousarray(x, np.float32)
    if dtype == "float32":
        return x
    if dtype == "float16":
        return x.astype(np.float16)
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16  # half way goes to even
    return np.where(np.isnan(x), 0x7FFF, rounded).astype(np.uint16)


def value(x: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """Return what a stored array stands for."""
    if dtype == "bfloat16":
        with np.errstate(invalid="ignore"):  # signalling NaNs become quiet ones
            return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


class Memory:
    """Allocations of one call: given back when it ends."""

    def __init__(self, runtime: c.CDLL) -> None:
        self._runtime = runtime
        self._held: list[tuple[int, int]] = []

    def _do(self, name: str, *args: Any) -> None:
        error = getattr(self._runtime, name)(*args)
        assert error == 0, f"{name} gave {error}"

    def new(self, size: int) -> int:
        """Return the address of ``size`` bytes that count as never written."""
        place = PTR()
        self._do("cudaMalloc", c.byref(place), c.c_size_t(size + 2 * GUARD))
        start = int(place.value or 0)
        self._held.append((start, size))
        for guard in (start, start + GUARD + size):
            self._do("cudaMemset", PTR(guard), _PATTERN, c.c_size_t(GUARD))
        self._do("cudaDeviceSynchronize")
        for guard in (start, start + GUARD + size):
            self._runtime.ptxsim_forbid(PTR(guard), I64(GUARD))
        return start + GUARD

    def put(self, x: NDArray[Any]) -> int:
        """Return the address of a copy on the device."""
        x = np.ascontiguousarray(x)
        at = self.new(x.nbytes)
        self._do("cudaMemcpy", PTR(at), PTR(x.ctypes.data), c.c_size_t(x.nbytes), 1)
        return at

    def part_of_rows(self, x: NDArray[Any], row: int) -> int:
        """Return the address of the first element of ``x`` in wider rows, whose other elements are forbidden.

        Args:
            x: Of shape (b, l, ...); its elements of one step are the middle of a row.
            row: Elements of a row.
        """
        b, length = x.shape[:2]
        width, item = x[0, 0].size, x.itemsize
        first = (row - width) // 2
        wide = np.full((b * length, row), 0x5A, np.dtype(f"u{item}"))
        wide[:, first : first + width] = np.ascontiguousarray(x).reshape(b * length, width).view(wide.dtype)
        at = self.put(wide)
        for step in range(b * length):
            for start, count in ((0, first), (first + width, row - width - first)):
                if count:
                    self._runtime.ptxsim_forbid(PTR(at + (step * row + start) * item), I64(count * item))
        return int(at + first * item)

    def get(self, at: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return a copy of what is at an address."""
        out: NDArray[Any] = np.empty(shape, dtype)
        self._do("cudaMemcpy", PTR(out.ctypes.data), PTR(at), c.c_size_t(out.nbytes), 2)
        return out

    def close(self) -> None:
        """See that the guards are as they were, and give all back."""
        for start, size in self._held:
            for guard in (start, start + GUARD + size):
                assert (self.get(guard, (GUARD,), np.uint8) == _PATTERN).all(), "written outside of an array"
            self._do("cudaFree", PTR(start))


class Kernels:
    """A library of the kernels: arrays in, arrays out, in any storage type.

    Attributes:
        launches: Kernels that the last call launched.
        workspace: Bytes that the last call asked for.
    """

    def __init__(self, path: Path) -> None:
        self.library = c.CDLL(str(path))
        self.library.ptxsim_report.restype = c.c_char_p
        self.library.ptxsim_coverage.restype = c.c_char_p
        self.library.ptxsim_launches.restype = c.c_uint64
        self.set(quiet=1, lenient=1)
        self.launches = self.workspace = 0

    def set(self, **settings: int) -> None:
        """Change settings of the simulator, those of ``sim/settings.h``."""
        for name, number in settings.items():
            assert self.library.ptxsim_set(name.encode(), I64(number)), f"no setting {name}"

    @contextmanager
    def setting(self, **settings: int) -> Iterator[None]:
        """Change settings whose usual value is 0, for a while."""
        self.set(**settings)
        try:
            yield
        finally:
            self.set(**dict.fromkeys(settings, 0))

    def report(self) -> str:
        """Return what was found since the last time."""
        said: bytes = self.library.ptxsim_report()
        self.library.ptxsim_forget()
        return said.decode()

    def coverage(self, *, never: bool = False) -> list[str]:
        """Return a line for each kernel: name, instructions, those that ran; then those that never ran."""
        said: bytes = self.library.ptxsim_coverage(int(never))
        return said.decode().splitlines()

    def _call(
        self, op: str, problem: Any, memory: Memory, on: Device, seed: int, workspace: int | None
    ) -> None:
        """Ask for the workspace (or take the bytes given), launch, wait, and see that nothing was found."""
        message, size = c.c_char_p(), I64()
        before = self.library.ptxsim_launches()
        self.set(seed=seed)

        def check(code: int) -> None:
            if code:
                raise Refused(code, (message.value or b"").decode())

        ask = getattr(self.library, f"mimamba_{op}_workspace")
        check(ask(c.byref(problem), c.byref(on), c.byref(size), c.byref(message)))
        count = size.value if workspace is None else workspace
        room = PTR(memory.new(count) if count > 0 else None)
        start = getattr(self.library, f"mimamba_launch_{op}")
        check(start(c.byref(problem), c.byref(on), room, I64(count), None, c.byref(message)))
        assert self.library.cudaDeviceSynchronize() == 0
        self.launches = self.library.ptxsim_launches() - before
        self.workspace = size.value
        found = self.report()
        assert not found, found

    def scan(
        self,
        t: Arrays,
        dtype: str = "float32",
        *,
        softplus: bool = True,
        reverse: bool = False,
        segments: int = 0,
        last: bool = True,
        rows: Mapping[str, int] | None = None,
        on: Device | None = None,
        seed: int = 1,
        workspace: int | None = None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Run the scan on arrays in a storage type.

        Args:
            t: The tensors of ``ScanProblem`` by name; ``z`` may be left out.
            dtype: Of ``u``, ``delta``, ``B``, ``C``, ``z``.
            softplus: Of delta plus its bias.
            reverse: From the last step to the first.
            segments: Of a tile of time; 0: the plan decides.
            last: Whether the last state is asked for.
            rows: Elements of a row of ``z``, ``B`` or ``C`` that is wider than the tensor.
            on: The device that the plan is made for.
            seed: Of the order of blocks and threads; 0: in turn.
            workspace: Bytes given; what the plan asks for when left out.

        Returns:
            ``y`` (b, l, d) and the last state (b, d, n).
        """
        b, length, d = t["u"].shape
        g, n = t["B"].shape[2:]
        rows = rows or {}
        memory = Memory(self.library)
        at = {k: memory.part_of_rows(v, rows[k]) if k in rows else memory.put(v) for k, v in t.items()}
        y, state = memory.new(t["u"].nbytes), memory.new(4 * b * d * n)
        names = ("u", "delta", "B", "C", "z", "A", "D", "delta_bias", "initial_state")
        problem = Scan(
            *(at.get(k) for k in names),
            y,
            state if last else None,
            *(b, length, d, g, n, t["initial_state"].shape[0]),
            *(rows.get(k, 0) for k in ("z", "B", "C")),
            type=TYPES[dtype],
            delta_softplus=softplus,
            reverse=reverse,
            segments=segments,
        )
        self._call("scan", problem, memory, on or device(), seed, workspace)
        result = memory.get(y, t["u"].shape, t["u"].dtype), memory.get(state, (b, d, n), np.float32)
        memory.close()
        return result

    def mstb(
        self,
        t: Arrays,
        dtype: str = "float32",
        *,
        top_k: int,
        min_bin: int = 1,
        max_bin: int = 0,
        weighting: int = 0,
        amplitude_scale: float = 1.0,
        channel_first: bool = False,
        period_rule: int = 0,
        groups: int = 0,
        images_in_workspace: bool = False,
        on: Device | None = None,
        seed: int = 1,
        workspace: int | None = None,
    ) -> NDArray[Any]:
        """Run the block on arrays in a storage type.

        Args:
            t: The tensors of ``MstbProblem`` by name.
            dtype: Of ``w1``, ``w2`` and the output.
            top_k: Periods.
            min_bin: First bin of the band.
            max_bin: Last one; 0: half the length.
            weighting: 0 share of amplitude, 1 softmax.
            amplitude_scale: Of the softmax.
            channel_first: ``x`` and the output are (b, c, l), not (b, l, c).
            period_rule: 0: periods are rounded up; 1: down.
            groups: Of hidden channels; 0: the plan decides.
            images_in_workspace: Also where they fit in shared memory.
            on: The device that the plan is made for.
            seed: Of the order of blocks and threads; 0: in turn.
            workspace: Bytes given; what the plan asks for when left out.
        """
        b, length, channels = t["x"].shape
        if channel_first:
            length, channels = channels, length
        memory = Memory(self.library)
        at = {k: memory.put(v) for k, v in t.items()}
        y = memory.new(t["x"].size * t["w1"].itemsize)
        problem = Mstb(
            *(at[k] for k in ("x", "w1", "b1", "w2", "b2")),
            y,
            *(b, length, channels, t["w1"].shape[0], t["w1"].shape[3]),
            *(TYPES[dtype], top_k, min_bin, max_bin, weighting, amplitude_scale),
            channel_first=channel_first,
            period_rule=period_rule,
            groups=groups,
            images_in_workspace=images_in_workspace,
        )
        self._call("mstb", problem, memory, on or device(), seed, workspace)
        result = memory.get(y, t["x"].shape, t["w1"].dtype)
        memory.close()
        return result

"""The host build of the kernels, called through ctypes with NumPy arrays."""

from __future__ import annotations

import ctypes as c
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.plugins.ctypes_api import I32, I64, PTR, TYPES, Device, Mstb, Scan

CANARY = 64  # floats after the workspace that nothing may touch


class Refused(Exception):
    """What a launcher answered; ``args`` are code and message."""


def device(multiprocessors: int = 8, shared_bytes: int = 48 * 1024, max_blocks: int = 1 << 30) -> Device:
    return Device(multiprocessors, shared_bytes, max_blocks)


class Host:
    """The library: arrays in, arrays out, in any storage type."""

    def __init__(self, path: Path) -> None:
        self.library = c.CDLL(str(path))
        self.kernels = 0

    def store(self, x: NDArray[Any], dtype: str) -> NDArray[Any]:
        """Round to a storage type with the kernels' own conversion."""
        x = np.ascontiguousarray(x, np.float32)
        out = np.empty(x.shape, np.float32 if dtype == "float32" else np.uint16)
        self.library.mimamba_round(TYPES[dtype], PTR(x.ctypes.data), PTR(out.ctypes.data), I64(x.size))
        return out

    @staticmethod
    def value(x: NDArray[Any], dtype: str) -> NDArray[np.float64]:
        """What a stored array stands for."""
        if dtype == "bfloat16":
            return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return (x.view(np.float16) if dtype == "float16" else x).astype(np.float64)

    def _call(self, op: str, problem: Any, on: Device, order: int = 0, workspace: int | None = None) -> None:
        """Ask for the workspace (or take the bytes given), run, and see that nothing was written past it."""
        message, size, kernels = c.c_char_p(), I64(), I32()

        def check(code: int) -> None:
            if code:
                raise Refused(code, (message.value or b"").decode())

        ask = getattr(self.library, f"mimamba_{op}_workspace")
        check(ask(c.byref(problem), c.byref(on), c.byref(size), c.byref(message)))
        count = size.value if workspace is None else workspace
        room = np.full(count // 4 + CANARY + 4, np.nan, np.float32)
        skip = -room.ctypes.data % 16 // 4
        room[skip + count // 4 :] = 7.0
        start, given = PTR(room.ctypes.data + 4 * skip), (I64(count), I32(order))
        run = getattr(self.library, f"mimamba_{op}")
        check(run(c.byref(problem), c.byref(on), start, *given, c.byref(kernels), c.byref(message)))
        assert (room[skip + count // 4 :] == 7.0).all(), "written past the workspace"
        self.kernels, self.workspace = kernels.value, size.value

    def scan(
        self,
        t: dict[str, NDArray[Any]],
        dtype: str = "float32",
        *,
        softplus: bool = True,
        reverse: bool = False,
        chunks: int = 0,
        last: bool = True,
        on: Device | None = None,
        **how: int | None,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Run the scan on arrays in storage type; outputs are poisoned before."""
        b, length, d = t["u"].shape
        g, n = t["B"].shape[2:]
        t = {k: np.ascontiguousarray(v) for k, v in t.items()}
        y = np.full((b, length, d), 0x7FC0 if dtype == "bfloat16" else 0x7E00).astype(t["u"].dtype)
        if dtype == "float32":
            y = np.full((b, length, d), np.nan, np.float32)
        state = np.full((b, d, n), np.nan, np.float32)
        names = ("u", "delta", "B", "C", "z", "A", "D", "delta_bias", "initial_state")
        pointers = (t[k].ctypes.data if k in t else None for k in names)
        problem = Scan(
            *pointers,
            y.ctypes.data,
            state.ctypes.data if last else None,
            *(b, length, d, g, n, t["initial_state"].shape[0]),
            type=TYPES[dtype],
            delta_softplus=softplus,
            reverse=reverse,
            chunks=chunks,
        )
        self._call("scan", problem, on or device(), **how)  # type: ignore[arg-type]
        return y, state

    def mstb(
        self,
        t: dict[str, NDArray[Any]],
        dtype: str = "float32",
        *,
        top_k: int,
        min_bin: int = 1,
        max_bin: int = 0,
        weighting: int = 0,
        amplitude_scale: float = 1.0,
        groups: int = 0,
        images_in_workspace: bool = False,
        on: Device | None = None,
        **how: int | None,
    ) -> NDArray[Any]:
        """Run the block on arrays in storage type; the output is poisoned before."""
        b, length, channels = t["x"].shape
        t = {k: np.ascontiguousarray(v) for k, v in t.items()}
        y = np.empty(t["x"].shape, t["w1"].dtype)
        y.view(np.uint8)[...] = 0xFF
        problem = Mstb(
            *(t[k].ctypes.data for k in ("x", "w1", "b1", "w2", "b2")),
            y.ctypes.data,
            *(b, length, channels, t["w1"].shape[0], t["w1"].shape[3]),
            *(TYPES[dtype], top_k, min_bin, max_bin, weighting, amplitude_scale),
            groups=groups,
            images_in_workspace=images_in_workspace,
        )
        self._call("mstb", problem, on or device(), **how)  # type: ignore[arg-type]
        return y

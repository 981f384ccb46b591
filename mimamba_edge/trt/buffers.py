"""Memory that the host and the device both reach, for one tensor of one shape."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.trt.cuda import Cuda

__all__ = ["Buffer"]


class Buffer:
    """A tensor in page-locked host memory, and the address under which the device has it.

    Where the device shares its memory with the CPU both are the same memory (mapped, no copy at all);
    elsewhere the device has memory of its own, and copies go through the stream.

    Args:
        cuda: The runtime.
        shape: Of the tensor.
        shared: Whether host and device memory are one (:attr:`DeviceInfo.integrated`).
        dtype: Element type by NumPy's name.

    Attributes:
        array: The host's view, ``shape``; not to be used after :meth:`close`.
        address: The device's address.

    Raises:
        EngineError: There is no memory.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], *, shared: bool, dtype: str = "float32") -> None:
        self._cuda, self._shared = cuda, shared
        self._bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._host = cuda.host_malloc(self._bytes, mapped=shared)
        try:
            self.address = cuda.device_address(self._host) if shared else cuda.malloc(self._bytes)
        except BaseException:
            cuda.host_free(self._host)
            raise
        memory = np.ctypeslib.as_array((ctypes.c_ubyte * self._bytes).from_address(self._host))
        self.array: NDArray[Any] = memory.view(dtype).reshape(shape)

    def upload(self, stream: Any) -> None:
        """Queue the copy to the device, if one is needed."""
        if not self._shared:
            self._cuda.copy_to_device(self.address, self._host, self._bytes, stream)

    def download(self, stream: Any) -> None:
        """Queue the copy to the host, if one is needed."""
        if not self._shared:
            self._cuda.copy_to_host(self._host, self.address, self._bytes, stream)

    def close(self) -> None:
        """Free both sides. The stream that used them must be idle."""
        del self.array
        try:
            if not self._shared:
                self._cuda.free(self.address)
        finally:
            self._cuda.host_free(self._host)

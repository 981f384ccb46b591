"""Our CUDA kernels behind the two custom ops, for tensors on a CUDA device.

The library is that of :func:`mimamba_edge.plugins.kernel_libraries.build_cuda_library`. A call allocates
through torch, launches on torch's current stream and waits for nothing: it may be captured in a CUDA graph.
"""

from __future__ import annotations

import contextlib
import ctypes
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimamba_edge.errors import ConfigError, DependencyError, PluginError
from mimamba_edge.export.ops.mstb import mstb_op, multi_scale_temporal_block_ref
from mimamba_edge.export.ops.scan import scan_op, selective_scan_ref
from mimamba_edge.export.ops.scan_inputs import ScanInputs
from mimamba_edge.plugins.ctypes_api import I32, I64, PTR, TYPES, Device, Mstb, Scan

__all__ = ["Kernels", "use_cuda_kernels"]

_TYPES = {getattr(torch, name): number for name, number in TYPES.items()}
_BAD_ARGUMENT = 1


class Kernels:
    """The launchers of one library, taking and giving tensors as the custom ops do.

    Args:
        library: File with the functions of ``kernels/c_api.h``.

    Raises:
        DependencyError: It cannot be loaded, or is no such library.
    """

    def __init__(self, library: Path) -> None:
        remedy = "build it here: mimamba_edge.plugins.kernel_libraries.build_cuda_library"
        try:
            self.library = ctypes.CDLL(str(library))
            for op in ("scan", "mstb"):
                getattr(self.library, f"mimamba_{op}_workspace").restype = I32
                launch = getattr(self.library, f"mimamba_launch_{op}")
                launch.argtypes = (PTR, PTR, PTR, I64, PTR, PTR)
                launch.restype = I32
        except (OSError, AttributeError) as error:
            raise DependencyError(
                f"{library} is no library of the CUDA kernels", got=error, do=remedy
            ) from error
        self._devices: dict[int, Device] = {}

    def _device(self, number: int) -> Device:
        if number not in self._devices:
            device, message = Device(), ctypes.c_char_p()
            self._check(
                self.library.mimamba_query_device(number, ctypes.byref(device), ctypes.byref(message)),
                message,
            )
            self._devices[number] = device
        return self._devices[number]

    @staticmethod
    def _check(code: int, message: ctypes.c_char_p) -> None:
        """Raise what a launcher's answer means."""
        if code:
            said = (message.value or b"").decode(errors="replace")
            raise (ConfigError if code == _BAD_ARGUMENT else PluginError)("a CUDA kernel refused", got=said)

    def _launch(self, op: str, problem: Scan | Mstb, on: torch.device) -> None:
        """Ask for the workspace, take it from torch and launch on torch's stream."""
        size, message = I64(), ctypes.c_char_p()
        cuda = on.type == "cuda"
        # Tensors of another device than the current one: launches go to the current one.
        here: AbstractContextManager[Any] = torch.cuda.device(on) if cuda else contextlib.nullcontext()
        with here:
            device = ctypes.byref(self._device(on.index or 0))
            given = ctypes.byref(problem), device
            ask = getattr(self.library, f"mimamba_{op}_workspace")
            self._check(ask(*given, ctypes.byref(size), ctypes.byref(message)), message)
            # Freed on return, while the kernels may still run: torch hands it out again on this stream only.
            workspace = torch.empty(size.value // 4, dtype=torch.float32, device=on)
            stream = torch.cuda.current_stream(on).cuda_stream if cuda else None
            start = workspace.data_ptr() or None
            launch = getattr(self.library, f"mimamba_launch_{op}")
            self._check(launch(*given, start, size.value, stream, ctypes.byref(message)), message)

    def selective_scan(self, *given: Any) -> tuple[Tensor, Tensor]:
        """Return ``y`` and ``last_state`` as ``selective_scan`` does; float64 goes through the reference."""
        u, delta, A, B, C, D, delta_bias, initial_state, z, delta_softplus, reverse = ScanInputs(*given)
        if u.dtype not in _TYPES:
            y, last = selective_scan_ref(*given)
            return y.contiguous(), last.contiguous()
        b, length, d = u.shape
        groups, n = B.shape[2:]
        tensors = (u, delta, B, C, z, A, D, delta_bias, initial_state)
        held = [None if t is None else t.contiguous() for t in tensors]
        y = torch.empty(u.shape, dtype=u.dtype, device=u.device)
        last = torch.empty((b, d, n), dtype=torch.float32, device=u.device)
        problem = Scan(
            *(None if t is None else t.data_ptr() for t in held),
            *(y.data_ptr(), last.data_ptr()),
            *(b, length, d, groups, n, initial_state.shape[0]),
            type=_TYPES[u.dtype],
            delta_softplus=delta_softplus,
            reverse=reverse,
        )
        self._launch("scan", problem, u.device)
        return y, last

    def multi_scale_temporal_block(
        self,
        x: Tensor,
        w1: Tensor,
        b1: Tensor,
        w2: Tensor,
        b2: Tensor,
        top_k: int,
        min_bin: int,
        max_bin: int,
        weighting: int,
        amplitude_scale: float,
        period_rule: int,
    ) -> Tensor:
        """Return ``y`` as ``multi_scale_temporal_block`` does; float64 goes through the reference."""
        if w1.dtype not in _TYPES:
            return multi_scale_temporal_block_ref(
                x, w1, b1, w2, b2, top_k=top_k, min_bin=min_bin, max_bin=max_bin, weighting=weighting,
                amplitude_scale=amplitude_scale, period_rule=period_rule,
            ).contiguous()  # fmt: skip
        held = [t.contiguous() for t in (x, w1, b1, w2, b2)]
        y = torch.empty(x.shape, dtype=w1.dtype, device=x.device)
        problem = Mstb(
            *(t.data_ptr() for t in held),
            y.data_ptr(),
            *(*x.shape, w1.shape[0], w1.shape[3]),
            *(_TYPES[w1.dtype], top_k, min_bin, max_bin, weighting, amplitude_scale, False, period_rule),
        )
        self._launch("mstb", problem, x.device)
        return y


def use_cuda_kernels(library: Path, *, device_type: str = "cuda") -> Kernels:
    """Let the custom ops run these kernels for tensors of a device type from now on.

    Args:
        library: File of :func:`mimamba_edge.plugins.kernel_libraries.build_cuda_library`.
        device_type: Torch's name. Anything but ``"cuda"`` needs a library whose launchers work on that
            memory, such as a stand-in for tests.

    Raises:
        DependencyError: The library cannot be loaded.
    """
    kernels = Kernels(library)
    scan_op.register_kernel(device_type)(kernels.selective_scan)
    mstb_op.register_kernel(device_type)(kernels.multi_scale_temporal_block)
    return kernels

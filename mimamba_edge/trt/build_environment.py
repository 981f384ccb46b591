"""What an engine depends on beside its model: the device and the software that built it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.machine.jetson import jetpack
from mimamba_edge.trt.api import Api
from mimamba_edge.trt.cuda import Cuda

__all__ = ["BuildEnvironment", "read_build_environment"]


@dataclass(frozen=True)
class BuildEnvironment:
    """One machine, as far as an engine depends on it.

    Attributes:
        device: ``"Orin"``: the driver calls an Orin Nano and an AGX Orin the same.
        sm: Compute capability times ten; 87 for both of them.
        sm_count: Streaming multiprocessors, which tell them apart: 8 and 16.
        tensorrt: TensorRT's version as its package gives it.
        cuda: CUDA version of the driver. That of cuda-bindings says nothing about TensorRT.
        jetpack: JetPack's version; ``None`` on machines that are no Jetson.
    """

    device: str
    sm: int
    sm_count: int
    tensorrt: str
    cuda: str
    jetpack: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    def key(self, **more: Any) -> str:
        """Return a hash over these values and ``more`` (JSON types), to name what is kept for them."""
        return hashlib.sha256(json.dumps({**self.to_dict(), **more}, sort_keys=True).encode()).hexdigest()

    def differences(self, held: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
        """Return what differs from facts written down earlier: name for people, then, now."""
        names = {
            "device": "device",
            "sm": "compute capability",
            "sm_count": "multiprocessors",
            "tensorrt": "TensorRT",
            "cuda": "CUDA",
            "jetpack": "JetPack",
        }
        here = self.to_dict()
        return [(label, held.get(k), here[k]) for k, label in names.items() if held.get(k) != here[k]]


def read_build_environment(api: Api, cuda: Cuda, root: Path = Path("/")) -> BuildEnvironment:
    """Return the facts of this machine.

    Raises:
        EngineError: A CUDA call failed.
    """
    device = cuda.device()
    return BuildEnvironment(
        device=device.name,
        sm=device.sm,
        sm_count=device.sm_count,
        tensorrt=api.version_text,
        cuda=device.driver,
        jetpack=jetpack(root),
    )

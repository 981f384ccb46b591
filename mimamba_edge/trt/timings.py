"""The timing cache on disk: what TensorRT measured of layers, so that the next build is quick.

One file for each machine, TensorRT and CUDA. Its first line is the SHA-256 of the rest, because TensorRT
parses the rest in native code and is not given what was cut off or changed.
"""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.artifact import cache_folder, sha256_bytes, write_bytes
from mimamba_edge.trt.build_environment import BuildEnvironment

__all__ = ["read_timings", "timings_path", "write_timings"]


def timings_path(environment: BuildEnvironment) -> Path:
    """Return where the timing cache for these facts is kept."""
    return cache_folder() / "timings" / f"{environment.key()[:32]}.cache"


def read_timings(path: Path) -> tuple[bytes, str | None]:
    """Return the timing cache, empty if there is none to use, and a note if what is there is damaged."""
    try:
        digest, _, data = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        return b"", f"the timing cache {path} cannot be read ({error.strerror}): this build starts a new one"
    if digest.decode(errors="replace") != sha256_bytes(data):
        return b"", f"the timing cache {path} is damaged: this build starts a new one"
    return data, None


def write_timings(path: Path, data: bytes) -> None:
    """Keep a timing cache.

    Raises:
        OutputError: It cannot be written.
    """
    write_bytes(path, sha256_bytes(data).encode() + b"\n" + data)

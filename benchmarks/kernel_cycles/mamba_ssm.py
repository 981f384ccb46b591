"""mamba_ssm's forward kernel compiled as ours are: its own source and launcher, one switch replaced."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from mimamba_edge.errors import DependencyError

__all__ = ["prepare_mamba_ssm"]

_SWITCH = """#pragma once
#include <stdexcept>
// Only the instances that are wanted: B and C vary in time, there is a gate, l is a multiple of the chunk.
#define BOOL_SWITCH(CONDITION, NAME, ...) \\
  [&] { \\
    constexpr bool NAME = true; \\
    if (!(CONDITION)) \\
      throw std::runtime_error("this build has " #CONDITION " only"); \\
    return __VA_ARGS__(); \\
  }()
"""
_EXCEPTION = """#pragma once
#define C10_CUDA_CHECK(call) (void)(call)
#define C10_CUDA_KERNEL_LAUNCH_CHECK() (void)0
"""


def prepare_mamba_ssm(source: Path, folder: Path) -> Sequence[str]:
    """Copy the kernel's headers, with a switch of one branch, to ``folder``; return the include flags.

    The CUDA headers of torch that a torch for the CPU lacks are two empty macros.

    Raises:
        DependencyError: torch is not installed: its headers are wanted.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise DependencyError(
            "mamba_ssm's kernel needs torch's headers", expected="any torch", do="pip install torch"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for header in (*source.glob("*.h"), *source.glob("*.cuh")):
        shutil.copy(header, folder / header.name)
    (folder / "static_switch.h").write_text(_SWITCH)
    (folder / "c10" / "cuda").mkdir(parents=True, exist_ok=True)
    (folder / "c10" / "cuda" / "CUDAException.h").write_text(_EXCEPTION)
    return [f"-I{folder}", f"-I{Path(spec.origin).parent / 'include'}"]

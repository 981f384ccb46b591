"""The licences that go with every library that leaves this machine."""

from __future__ import annotations

from importlib.metadata import distributions

from mimamba_edge.errors import DependencyError

__all__ = ["COMPILER_NOTICE", "CUDA_NOTICE", "our_licence"]

COMPILER_NOTICE = """\
The library holds parts of the C++ runtime of the compiler that its manifest names:
of GCC, libstdc++ and libgcc (GPL-3.0 with the GCC Runtime Library Exception 3.1);
of Zig, libc++, libc++abi, libunwind and compiler-rt of LLVM (Apache-2.0 with LLVM exceptions).
"""
CUDA_NOTICE = """\
It holds parts of NVIDIA's CUDA runtime (libcudart_static, redistributable under Attachment A of the CUDA
Toolkit's licence: https://docs.nvidia.com/cuda/eula).
"""


def our_licence() -> str:
    """Return our licence, from the package as it is installed.

    Raises:
        DependencyError: It is not installed.
    """
    # In a checkout, the folder of a build stands before what pip installed, and holds none.
    for installed in distributions(name="mimamba-edge"):
        for name in ("licenses/LICENSE", "LICENSE"):
            if text := installed.read_text(name):
                return text
    raise DependencyError(
        "a library is packed with its licence, and none was found",
        do="install mimamba-edge by pip: pip install -e .",
    )

"""Compiles kernels and records what they are launched with, by the product's own launchers; nothing runs."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.kernel_cycles.operations import Launch
from benchmarks.kernel_cycles.sass import Kernel, disassemble
from mimamba_edge.errors import MimambaError
from mimamba_edge.plugins.cmake import BuildError, nvcc

__all__ = ["Library", "build_cubins", "build_library"]

RECORDER = Path(__file__).with_name("recorder.c")
_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_uint), ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_void_p),
)  # fmt: skip


def run(command: Sequence[str]) -> None:
    """Run a compiler.

    Raises:
        BuildError: It refused; its words are in the message.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(
            f"{Path(command[0]).name} refused",
            got=f"exit {done.returncode}\n{(done.stdout + done.stderr).strip()[-3000:]}",
            do=f"run it yourself: {' '.join(command)}",
        )


def build_cubins(
    sources: Sequence[Path], folder: Path, sm: int, flags: Sequence[str] = ()
) -> dict[str, Kernel]:
    """Return the kernels of CUDA sources as machine code for one architecture, by their mangled names."""
    folder.mkdir(parents=True, exist_ok=True)
    kernels: dict[str, Kernel] = {}
    for source in sources:
        cubin = folder / f"{source.stem}_{sm}.cubin"
        run([nvcc(), "-std=c++17", "-O3", f"-arch=sm_{sm}", *flags, "-cubin", "-o", str(cubin), str(source)])
        kernels.update(disassemble(cubin))
    return kernels


def find(kernels: dict[str, Kernel], name: str) -> Kernel:
    """Return a kernel by its mangled name, whatever the file's own anonymous namespace is called.

    Raises:
        MimambaError: It is not among them.
    """
    for kernel in kernels.values():
        if _plain(kernel.name) == _plain(name):
            return kernel
    raise MimambaError("a launch of a kernel that was not compiled", got=name)


def _plain(mangled: str) -> str:
    return re.sub(r"\d+_GLOBAL__N__[0-9a-f]{8}_\d+_\w+?_cu_[0-9a-f]{8}", "_", mangled)


class Library:
    """A library of launchers whose launches are recorded."""

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))

    def launches(
        self, call: Callable[[], object], kernels: dict[str, Kernel], each: Callable[[Launch], None]
    ) -> None:
        """Make a call and hand each launch to ``each``, in order, while its arguments are there.

        Raises:
            MimambaError: A kernel is not among those compiled.
        """
        failed: list[BaseException] = []

        def take(
            name: bytes, grid: Sequence[int], block: Sequence[int], shared: int, arguments: Sequence[int]
        ) -> None:
            try:
                kernel = find(kernels, name.decode())
                sizes = [size for _, size in kernel.parameters]
                values = tuple(ctypes.string_at(arguments[i], size) for i, size in enumerate(sizes))
                each(
                    Launch(
                        kernel.name,
                        (grid[0], grid[1], grid[2]),
                        (block[0], block[1], block[2]),
                        shared,
                        values,
                    )
                )
            except BaseException as error:  # ctypes would print and drop it
                failed.append(error)

        callback = _CALLBACK(take)
        self.functions.recorder_callback(callback)
        call()
        if failed:
            raise failed[0]


def build_library(sources: Sequence[Path], folder: Path, flags: Sequence[str] = ()) -> Library:
    """Compile launchers with a runtime that only records; their device code stays PTX, which is quick."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "liblaunchers.so"
    files = [str(source) for source in (*sources, RECORDER)]
    linked = ("-cudart", "none", "-shared", "-Xcompiler", "-fPIC", "-Xlinker", "-Bsymbolic")
    run(
        [
            nvcc(),
            "-std=c++17",
            "-O1",
            "-gencode=arch=compute_80,code=compute_80",
            *flags,
            *linked,
            "-o",
            str(target),
            *files,
        ]
    )
    return Library(target)

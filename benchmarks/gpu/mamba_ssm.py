"""mamba_ssm's own selective scan kernel: built from its source unchanged, or as installed."""

from __future__ import annotations

import concurrent.futures
import ctypes
import importlib
import importlib.util
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.errors import ConfigError, MimambaError
from mimamba_edge.plugins.cmake import BuildError

__all__ = [
    "MambaSsm",
    "MambaSsmCall",
    "MambaSsmScan",
    "build_mamba_ssm",
    "find_mamba_ssm",
    "mamba_ssm_source",
]

SOURCE = Path(__file__).with_name("mamba_ssm.cu")
MAMBA_SSM_TYPES = {"float32": "float", "float16": "at::Half"}
# The flags of mamba-ssm 2.3.2's setup.py that change code; --use_fast_math is theirs.
MAMBA_SSM_FLAGS = (
    "-O3",
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "--expt-relaxed-constexpr",
    "--expt-extended-lambda",
    "--use_fast_math",
)


def mamba_ssm_source() -> Path | None:
    """Return the folder of mamba_ssm's kernel named by ``MAMBA_SSM_SOURCE``, or ``None`` if it names none.

    Raises:
        ConfigError: It names something else.
    """
    named = os.environ.get("MAMBA_SSM_SOURCE")
    if not named:
        return None
    folder = Path(named) / "csrc" / "selective_scan"
    if not (folder / "selective_scan_fwd_kernel.cuh").is_file():
        raise ConfigError(
            "MAMBA_SSM_SOURCE is not the source of mamba-ssm",
            got=named,
            expected="a folder with csrc/selective_scan/selective_scan_fwd_kernel.cuh",
            do="unpack the source distribution of mamba-ssm and name its top folder, or unset the variable",
        )
    return folder


def build_mamba_ssm(source: Path, folder: Path, torch: Any, sm: int) -> Path:
    """Compile mamba_ssm's forward kernel, unchanged, for both types; return the library.

    Raises:
        BuildError: nvcc refused; its words are in the message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packages = Path(torch.__file__).parent
    includes = (source, packages / "include", packages / "include" / "torch" / "csrc" / "api" / "include")
    common = ["nvcc", "-std=c++17", "-gencode", f"arch=compute_{sm},code=sm_{sm}", "-Xcompiler", "-fPIC"]
    common += [*MAMBA_SSM_FLAGS, *(f"-I{path}" for path in includes)]

    def compile_one(dtype: str) -> Path:
        target = folder / f"mamba_ssm_{dtype}.o"
        names = (f"-DMAMBA_SSM_INPUT={MAMBA_SSM_TYPES[dtype]}", f"-DMAMBA_SSM_NAME=mamba_ssm_{dtype}")
        _nvcc([*common, *names, "-c", str(SOURCE), "-o", str(target)])
        return target

    with concurrent.futures.ThreadPoolExecutor() as pool:
        objects = list(pool.map(compile_one, MAMBA_SSM_TYPES))
    library = folder / "libmamba_ssm.so"
    linked = (f"-L{packages / 'lib'}", "-lc10", "-lc10_cuda")
    _nvcc(["nvcc", "-shared", *map(str, objects), *linked, "-o", str(library)])
    return library


def _nvcc(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(
            "mamba_ssm's kernel did not compile",
            got=f"exit {done.returncode}\n{(done.stdout + done.stderr).strip()[-3000:]}",
            do=f"run it yourself: {' '.join(command)}",
        )


class MambaSsmScan(ctypes.Structure):
    """``MambaSsmScan`` of ``mamba_ssm.cu``."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in ("u", "delta", "A", "B", "C", "D", "delta_bias", "z", "out", "out_z", "x")
        ),
        *((name, ctypes.c_int64) for name in ("b", "l", "d", "g", "n")),
    )


MambaSsmCall = Callable[[dict[str, Any]], tuple[Any, ...]]
"""Takes the tensors in mamba_ssm's layout, (b, d, l) and (b, g, n, l); returns y ``(b, d, l)``, then
what else the kernel wrote: whoever measures distinct memory keeps that too."""


def built_call(library: Path, torch: Any) -> MambaSsmCall:
    """Return the kernel in the library of :func:`build_mamba_ssm`."""
    loaded = ctypes.CDLL(str(library))

    def call(t: dict[str, Any]) -> tuple[Any, ...]:
        b, d, length = t["u"].shape
        groups, n = t["B"].shape[1:3]
        z = t.get("z")
        out = torch.empty_like(t["u"])
        gated = None if z is None else torch.empty_like(z)
        states = torch.empty((b, d, -(-length // 2048), 2 * n), dtype=torch.float32, device=out.device)
        given = (*(t[k] for k in ("u", "delta", "A", "B", "C", "D", "delta_bias")), z, out, gated, states)
        pointers = (None if v is None else v.data_ptr() for v in given)
        scan, message = MambaSsmScan(*pointers, b, length, d, groups, n), ctypes.create_string_buffer(500)
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        run = getattr(loaded, "mamba_ssm_" + str(out.dtype).removeprefix("torch."))
        if run(ctypes.byref(scan), stream, message, ctypes.c_int64(len(message))):
            raise MimambaError("mamba_ssm's kernel failed", got=message.value.decode(errors="replace"))
        return (out, states) if gated is None else (gated, out, states)

    return call


def installed_call() -> MambaSsmCall | None:
    """Return the kernel of an installed mamba_ssm, or ``None``."""
    if importlib.util.find_spec("selective_scan_cuda") is None:
        return None
    module = importlib.import_module("selective_scan_cuda")

    def call(t: dict[str, Any]) -> tuple[Any, ...]:
        plain = (t[k] for k in ("u", "delta", "A", "B", "C", "D"))
        out, states, *gated = module.fwd(*plain, t.get("z"), t["delta_bias"], True)
        return (*gated, out, states)

    return call


@dataclass(frozen=True)
class MambaSsm:
    """mamba_ssm's kernel and where it comes from, for the record."""

    call: MambaSsmCall
    origin: str


def find_mamba_ssm(source: Path | None, folder: Path, torch: Any, sm: int) -> MambaSsm | None:
    """Return mamba_ssm's kernel built from ``source``, else the one installed, else ``None``.

    Raises:
        BuildError: nvcc refused the source; its words are in the message.
    """
    if source is not None:
        init = source.parents[1] / "mamba_ssm" / "__init__.py"
        found = re.search(r'__version__ = "([^"]+)"', init.read_text()) if init.is_file() else None
        library = build_mamba_ssm(source, folder, torch, sm)
        try:
            call = built_call(library, torch)
        except OSError as error:
            raise BuildError("mamba_ssm's kernel was built but cannot be loaded", got=error) from error
        return MambaSsm(
            call, f"mamba-ssm {found[1] if found else 'of unknown version'}, its source built here"
        )
    installed = installed_call()
    return MambaSsm(installed, "selective_scan_cuda as installed") if installed else None

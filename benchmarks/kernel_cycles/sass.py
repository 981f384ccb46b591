"""Reads machine code (SASS): what ``nvdisasm -hex`` prints of a cubin, with the control bits decoded.

An instruction of compute capability 7.0 on has 128 bits. Bits 105 to 125 are the scheduler's: stall 4 (cycles
until the warp's next instruction), yield 1, write barrier 3 and read barrier 3 (the scoreboard that is held
until the result is there, until the operands are read; 7: none), wait mask 6 (scoreboards that must be free
before the instruction is issued). NVIDIA does not document this (Jia et al., "Dissecting the NVIDIA Volta GPU
architecture via microbenchmarking", arXiv 1804.06826, section 2.1). The same reading fits sm_87, sm_90 and
sm_110: ``schedule.unguarded`` finds no result there that is used before it was waited for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from mimamba_edge.errors import DependencyError, MimambaError

__all__ = ["Instruction", "Kernel", "disassemble", "find_nvdisasm", "parse"]

NO_BARRIER = 7
TOOLKIT = Path("/usr/local/cuda/bin")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        address: Its byte offset in the kernel.
        guard: Predicate that it is executed under, such as ``"!P0"``; empty for always.
        name: Opcode with its modifiers, such as ``"LDG.E.128"``.
        operands: As printed, results first.
        stall: Cycles until the warp may issue its next instruction.
        write: Scoreboard held until the result is there; 7: none.
        read: Scoreboard held until the operands are read; 7: none.
        wait: Scoreboards that must be free, one bit each.
    """

    address: int
    guard: str
    name: str
    operands: tuple[str, ...]
    stall: int = 1
    write: int = NO_BARRIER
    read: int = NO_BARRIER
    wait: int = 0

    @property
    def op(self) -> str:
        """The opcode without modifiers."""
        return self.name.split(".")[0]


@dataclass
class Kernel:
    """One kernel of a cubin.

    Attributes:
        name: As mangled by the compiler.
        code: Its instructions in order; entry ``i`` is at address ``16 i``.
        labels: Index of the instruction that each label stands before.
        registers: Of a thread.
        shared: Bytes of static shared memory.
        base: Where the parameters begin in constant bank 0.
        parameters: ``(offset, bytes)`` of each parameter, from ``base``.
    """

    name: str
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: int = 0
    shared: int = 0
    base: int = 0
    parameters: list[tuple[int, int]] = field(default_factory=list)


def find_nvdisasm() -> Path:
    """Return nvdisasm: on the path, in the toolkit beside nvcc, or in NVIDIA's wheel.

    Raises:
        DependencyError: There is none; the message names the wheel.
    """
    if found := shutil.which("nvdisasm"):
        return Path(found)
    nvcc = shutil.which("nvcc")
    folders = [TOOLKIT, *([Path(nvcc).resolve().parent] if nvcc else [])]
    folders += sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("*/bin"))
    for folder in folders:
        if (folder / "nvdisasm").is_file():
            return folder / "nvdisasm"
    raise DependencyError(
        "nvdisasm was not found",
        expected="nvdisasm of CUDA 12.6 or newer on PATH, beside nvcc, or in a wheel of NVIDIA",
        do="pip install nvidia-cuda-nvdisasm",
    )


def disassemble(cubin: Path) -> dict[str, Kernel]:
    """Return the kernels of a cubin by their mangled names.

    Raises:
        DependencyError: There is no nvdisasm.
        MimambaError: nvdisasm cannot read the file.
    """
    done = subprocess.run([find_nvdisasm(), "-hex", str(cubin)], capture_output=True, text=True)
    if done.returncode:
        raise MimambaError(
            f"nvdisasm cannot read {cubin.name}",
            got=done.stderr.strip(),
            do="use an nvdisasm that is not older than nvcc: pip install -U nvidia-cuda-nvdisasm",
        )
    return parse(done.stdout)


_SECTION = re.compile(r"\s*\.section\s+\.(text|nv\.info|nv\.shared)(?:\.([^,]+))?,")
_LABEL = re.compile(r"^(\S+):\s*$")
_LOW = re.compile(
    r"/\*([0-9a-f]{4,5})\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;.*/\* 0x[0-9a-f]{16} \*/"
)
_HIGH = re.compile(r"^\s+/\* (0x[0-9a-f]{16}) \*/")
_VALUE = re.compile(r"\.(word|short|byte|zero)\s+(.*)")


def parse(text: str) -> dict[str, Kernel]:
    """Return the kernels in what ``nvdisasm -hex`` printed, by their mangled names."""
    kernels: dict[str, Kernel] = {}
    section = name = attribute = ""
    values: list[str] = []
    pending: tuple[int, str, str, str] | None = None

    def kernel(of: str) -> Kernel:
        return kernels.setdefault(of, Kernel(of))

    for line in text.splitlines():
        if match := _SECTION.match(line):
            section, name, attribute = match[1], match[2] or "", ""
        elif line.split()[:1] == [".section"]:
            section = ""
        elif section == "text":
            if match := _LABEL.match(line):
                kernel(name).labels[match[1]] = len(kernel(name).code)
            elif match := _LOW.search(line):
                pending = (int(match[1], 16), match[2] or "", match[3], match[4])
            elif pending and (match := _HIGH.match(line)):
                kernel(name).code.append(_decoded(*pending, int(match[1], 16)))
                pending = None
        elif section == "nv.info":
            if "EIATTR_" in line:
                attribute, values = line.split("EIATTR_")[1].strip(), []
            elif match := _VALUE.search(line):
                values.append(match[2])
                _note(attribute, values, name, kernel)
        elif section == "nv.shared" and (match := _VALUE.search(line)) and match[1] == "zero":
            kernel(name).shared += int(match[2], 0)
    for one in kernels.values():
        one.parameters.sort()
    return {of: one for of, one in kernels.items() if one.code}


def _note(attribute: str, values: list[str], name: str, kernel: object) -> None:
    """Take what is wanted of ``.nv.info``; ``values`` are the attribute's so far, as printed."""
    assert callable(kernel)
    if attribute == "REGCOUNT" and len(values) == 4 and (match := re.search(r"index@\((.+)\)", values[2])):
        kernel(match[1]).registers = int(values[3], 0)
    elif attribute == "PARAM_CBANK" and len(values) == 5:
        kernel(name).base = int(values[3], 0)
    elif attribute == "KPARAM_INFO" and len(values) == 6:
        packed = [int(byte, 0) for byte in values[5].split(",")]
        size = int.from_bytes(bytes(packed), "little") >> 18
        kernel(name).parameters.append((int(values[4], 0), size))


def _decoded(address: int, guard: str, name: str, operands: str, high: int) -> Instruction:
    control = high >> 41
    return Instruction(
        address=address,
        guard="" if guard in ("PT", "UPT") else guard,
        name=name,
        operands=tuple(part.strip() for part in operands.replace(".reuse", "").split(",") if part.strip()),
        stall=control & 15,
        write=control >> 5 & 7,
        read=control >> 8 & 7,
        wait=control >> 11 & 63,
    )

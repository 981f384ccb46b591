"""What each instruction does to the 32 lanes of a warp: compiled once, from its text, to a function."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

import numpy as np

from benchmarks.kernel_cycles.accesses import Accesses, Convergence
from benchmarks.kernel_cycles.floats import Floats
from benchmarks.kernel_cycles.integers import Integers
from benchmarks.kernel_cycles.logic import Logic
from benchmarks.kernel_cycles.operands import Execute, Source, register
from benchmarks.kernel_cycles.sass import Instruction, Kernel

__all__ = ["Launch", "Operation", "compile_operation"]

_NOTHING = {"NOP", "WARPSYNC", "YIELD", "MEMBAR", "ERRBAR", "DEPBAR", "LDGDEPBAR", "CCTL", "ENDCOLLECTIVE"}
"""What changes no register: it costs its stall, and the model of the machine knows the rest."""


@dataclass(frozen=True)
class Launch:
    """What a kernel is started with: grid, block, dynamic shared memory, the bytes of its parameters."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    parameters: tuple[bytes, ...]

    def constants(self, kernel: Kernel) -> bytes:
        """Return constant bank 0."""
        bank = bytearray(kernel.base + 4096 + 16)
        struct.pack_into("<6i", bank, 0, *self.block, *self.grid)
        if kernel.base == 0x380:  # compute capability 10.0 on: the sizes moved
            struct.pack_into("<3i", bank, 0x360, *self.block)
            struct.pack_into("<3i", bank, 0x370, *self.grid)
        for (offset, size), value in zip(kernel.parameters, self.parameters, strict=True):
            bank[kernel.base + offset : kernel.base + offset + size] = value
        return bytes(bank)


@dataclass
class Operation:
    """An instruction that can be executed.

    Attributes:
        guard: Gives the lanes whose predicate holds; ``None``: all.
        execute: Gives the passes or sectors of a memory access, else 0.
        control: ``"branch"``, ``"exit"``, ``"sync"``, ``"bar"``, or ``None`` for what goes on to the next.
        barrier: Of ``"sync"``: the convergence barrier.
        vote: Of ``"bar"``: what the threads of the block ask whether any of them has.
        targets: Of ``"branch"``: where each lane goes.
    """

    guard: Source | None
    execute: Execute = lambda warp, where: 0
    control: str | None = None
    barrier: str = ""
    vote: Source | None = None
    targets: Source = field(default=lambda warp: np.zeros(32, np.int64))


class _Compiler(Integers, Logic, Floats, Accesses, Convergence):
    """Compiles any instruction."""


def compile_operation(kernel: Kernel, code: Instruction, launch: Launch, bank: bytes) -> Operation:
    """Return an instruction as a function.

    Raises:
        MimambaError: The instruction is not known.
    """
    compiler = _Compiler(code, bank, launch.block)
    guard = compiler.truth(code.guard) if code.guard else None
    op = code.op
    if op == "EXIT":
        return Operation(guard, control="exit")
    if op in ("BRA", "CALL", "JMP"):
        label = re.search(r"`\((.+)\)", code.operands[-1])
        if not label or label[1] not in kernel.labels:
            raise compiler.unknown()
        target = np.full(32, kernel.labels[label[1]], np.int64)
        more = [compiler.truth(text) for text in code.operands[:-1] if re.fullmatch(r"!?U?P[T\d]", text)]
        if "DIV" in code.name:
            return Operation(lambda warp: np.zeros(32, bool), control="branch", targets=lambda warp: target)
        if more:
            first = guard
            joined: Source = lambda warp: more[0](warp) & first(warp) if first else more[0](warp)  # noqa: E731
            guard = joined
        return Operation(guard, control="branch", targets=lambda warp: target)
    if op == "RET":
        index = register(code.operands[0].split(" ")[0])
        return Operation(guard, control="branch", targets=lambda warp: warp.R[index].astype(np.int64) // 16)
    if op == "BSYNC":
        return Operation(guard, control="sync", barrier=code.operands[0])
    if op == "BAR":
        vote = compiler.truth(code.operands[-1]) if "RED" in code.name else None
        if vote and "OR" not in code.name:
            raise compiler.unknown()
        return Operation(guard, control="bar", vote=vote)
    if op in _NOTHING:
        return Operation(guard, compiler.nothing())
    plain = op if hasattr(compiler, f"_do_{op}") else op.removeprefix("U")
    method = getattr(compiler, f"_do_{plain}", None)
    if method is None:
        raise compiler.unknown()
    return Operation(guard, method())

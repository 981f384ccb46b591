"""Executes machine code for one block: the path that each of its warps really takes.

Every lane's registers are computed, so branches, trip counts, bank conflicts and sectors are the kernel's own
and nothing of them is given by hand. Arithmetic is not bit-exact (rounding modes, special functions): it
decides branches and indices, it proves no answer. An unknown instruction is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.kernel_cycles.memory import Buffers
from benchmarks.kernel_cycles.operations import Launch, Operation, compile_operation
from benchmarks.kernel_cycles.sass import Kernel
from mimamba_edge.errors import MimambaError

__all__ = ["Block", "Program", "Warp", "run_block"]

Mask = npt.NDArray[np.bool_]
_LIMIT = 4_000_000
"""Instructions of a warp: more is a loop that does not end."""


class Warp:
    """Registers of 32 lanes, where each lane is, and what was issued so far."""

    def __init__(self, block: Block, index: int, threads: int) -> None:
        self.block, self.index = block, index
        self.R = np.zeros((512, 32), np.uint32)  # 0 to 254: R, 255: zero, 256 on: UR
        self.P = np.zeros((16, 32), np.bool_)  # 0 to 6: P, 7: true, 8 to 14: UP, 15: true
        self.P[7] = self.P[15] = True
        self.local = np.zeros((256, 32), np.uint32)
        alive = np.arange(32) + 32 * index < threads
        self.groups: list[tuple[int, Mask]] = [(0, alive)]
        self.parked: dict[str, list[tuple[int, Mask]]] = {}
        self.members: dict[str, Mask] = {}
        self.alive = alive.copy()
        self.barriers, self.found = 0, False
        self.trace: list[tuple[int, int]] = []

    def run(self) -> Iterator[None]:
        """Execute until the end; yields at each barrier of the block."""
        code = self.block.program
        while self.groups:
            self.groups.sort(key=lambda group: group[0])
            pc, mask = self.groups.pop(0)
            while self.groups and self.groups[0][0] == pc:
                mask = mask | self.groups.pop(0)[1]
            until = self.groups[0][0] if self.groups else len(code)
            # One group runs until it branches, parks, ends or reaches the next one.
            while pc < until or pc == until == len(code):
                operation = code[pc]
                where = mask if operation.guard is None else mask & operation.guard(self)
                if operation.control is None:
                    extra = operation.execute(self, where) if where.any() else 0
                    self.trace.append((pc, extra))
                    pc += 1
                    continue
                self.trace.append((pc, 0))
                if operation.control == "bar":
                    if self.groups or self.parked_lanes():
                        raise MimambaError(
                            "a warp reaches a barrier of the block in parts",
                            got=self.block.program.kernel.name,
                        )
                    asked = bool((operation.vote(self) & mask).any()) if operation.vote else False
                    self.block.votes[self.barriers] = self.block.votes.get(self.barriers, False) or asked
                    yield
                    self.found = self.block.votes[self.barriers]
                    self.barriers += 1
                    pc += 1
                    continue
                self._control(operation, pc, mask, where)
                break
            else:
                self.groups.append((pc, mask))
            if len(self.trace) > _LIMIT:
                raise MimambaError(
                    "a warp does not end", got=f"{_LIMIT} instructions of {self.block.program.kernel.name}"
                )

    def parked_lanes(self) -> bool:
        """Whether lanes wait for others of the warp."""
        return any(self.parked.values())

    def _control(self, operation: Operation, pc: int, mask: Mask, where: Mask) -> None:
        kind, name = operation.control, operation.barrier
        stay = mask & ~where
        if stay.any():
            self.groups.append((pc + 1, stay))
        if not where.any():
            return
        if kind == "exit":
            self.alive &= ~where
            for barrier in self.members:
                self.members[barrier] = self.members[barrier] & ~where
                self._release(barrier)
        elif kind == "branch":
            targets = operation.targets(self)
            for target in np.unique(targets[where]):
                self.groups.append((int(target), where & (targets == target)))
        elif kind == "sync":
            self.parked.setdefault(name, []).append((pc + 1, where))
            self._release(name)

    def _release(self, name: str) -> None:
        waiting = self.parked.get(name, [])
        here = np.logical_or.reduce([mask for _, mask in waiting]) if waiting else np.zeros(32, bool)
        if waiting and not (self.members[name] & ~here).any():
            self.groups.append((waiting[0][0], here))
            self.parked[name] = []


class Program:
    """A launch whose instructions are compiled when they are first reached."""

    def __init__(self, kernel: Kernel, launch: Launch) -> None:
        self.kernel, self.launch = kernel, launch
        self._bank = launch.constants(kernel)
        self._compiled: list[Operation | None] = [None] * len(kernel.code)

    def __len__(self) -> int:
        return len(self._compiled)

    def __getitem__(self, place: int) -> Operation:
        operation = self._compiled[place]
        if operation is None:
            code = self.kernel.code[place]
            operation = self._compiled[place] = compile_operation(self.kernel, code, self.launch, self._bank)
        return operation


class Block:
    """The warps of one block, its shared memory, and what all of them read."""

    def __init__(self, program: Program, place: tuple[int, int, int], buffers: Buffers) -> None:
        self.program, self.place, self.buffers = program, place, buffers
        self.shared = np.zeros(60_000, np.uint32)
        self.votes: dict[int, bool] = {}  # by the barriers before
        threads = int(np.prod(program.launch.block))
        self.warps = [Warp(self, index, threads) for index in range(-(-threads // 32))]


def run_block(program: Program, place: tuple[int, int, int], buffers: Buffers) -> list[list[tuple[int, int]]]:
    """Execute one block of a launch; return each warp's trace.

    A trace is a list of ``(index of the instruction, passes or sectors of its memory access)``.

    Raises:
        MimambaError: An instruction is not known, or a warp does not end.
    """
    block = Block(program, place, buffers)
    running = [warp.run() for warp in block.warps]
    while running:
        running = [one for one in running if next(one, "end") is None]
    return [warp.trace for warp in block.warps]

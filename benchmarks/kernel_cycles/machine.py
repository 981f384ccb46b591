"""The timing model of a multiprocessor: what the compiler's own schedule costs when warps share the units.

**It is a model, +-35 %, never held against hardware.** Warps issue in order, one instruction a cycle and
scheduler; stall counts and scoreboards are those of the machine code, the units and latencies below are
assumed. Not modelled: instruction fetch, L1 hits, bandwidth of DRAM and L2, clocks that change, the launch.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.kernel_cycles.sass import Instruction, Kernel

__all__ = ["DEVICES", "MACHINES", "Device", "Machine", "Trace", "blocks_at_once", "cycles"]

Trace = list[tuple[int, int]]
_SCHEDULERS = 4
_SFU, _INT, _LDS, _LDG = 1, 2, 3, 4
_SECTOR, _OPERANDS = 32, 12
"""Bytes of a sector of L2; cycles until a memory access has read its registers."""
_SPECIAL = {"MUFU", "I2F", "F2I", "F2F", "FRND", "POPC", "FLO", "BREV"}
_SHARED = {"LDS", "STS", "SHFL", "LDSM", "ATOMS"}
_GLOBAL = {"LDG", "STG", "LDGSTS", "LDL", "STL", "ATOMG", "RED", "ATOM"}
_INTEGER = {
    *(
        "IADD3",
        "IMNMX",
        "VIMNMX",
        "VIADDMNMX",
        "VIADD",
        "IADD",
        "ISETP",
        "LOP3",
        "SHF",
        "SEL",
        "LEA",
        "PRMT",
        "IABS",
        "PLOP3",
    ),
    *("FSEL", "FSETP", "FMNMX", "FMNMX3", "VIMNMX3", "VOTE", "R2P", "P2R", "FCHK"),
}


_UNITS = ((_SFU, _SPECIAL), (_INT, _INTEGER), (_LDS, _SHARED), (_LDG, _GLOBAL))


@dataclass(frozen=True)
class Machine:
    """Units and latencies of one architecture, in cycles.

    Throughput and limits: CUDA C++ Programming Guide, the tables "Throughput of Native Arithmetic
    Instructions" (results a cycle and multiprocessor) and "Technical Specifications per Compute Capability";
    the rates of 11.0 are taken to be those of 9.0. Latencies are assumed, near what Jia et al. (arXiv
    1804.06826, Volta) and Luo et al. (arXiv 2402.13499, Hopper) measured; a global load's is a hit in L2.

    Attributes:
        special: Cycles that a warp's special function holds its unit: 16 results a cycle on four units.
        integer: The same for integers and comparisons: 64 results a cycle.
        latency: From issue to result, by opcode.
        load: From issue to the data of a global load; by default, in L2.
        sector_bytes: Bytes a cycle between L2 and one multiprocessor.
        barrier: From the last warp's arrival to the release.
        registers, shared, warps, blocks: Limits of a multiprocessor; shared in bytes, 1 KiB a block reserved.
    """

    special: int = 8
    integer: int = 2
    latency: dict[str, int] = field(
        default_factory=lambda: {
            **dict.fromkeys(("LDS", "LDSM", "ATOMS"), 29),
            **dict.fromkeys(("MUFU", "SHFL"), 23),
            **dict.fromkeys(("I2F", "F2I", "F2F", "FRND", "POPC", "FLO", "BREV"), 22),
            **dict.fromkeys(("LDC", "LDCU", "S2R", "S2UR", "R2UR"), 30),
        }
    )
    load: int = 280
    sector_bytes: int = 64
    barrier: int = 20
    registers: int = 65_536
    shared: int = 228 * 1024
    warps: int = 64
    blocks: int = 32


MACHINES = {
    87: Machine(load=260, shared=164 * 1024, warps=48, blocks=16),
    90: Machine(load=280),
    110: Machine(load=300, warps=48, blocks=24),
}


@dataclass(frozen=True)
class Device:
    """A product: its architecture, multiprocessors and clock."""

    name: str
    sm: int
    multiprocessors: int
    ghz: float
    shared_bytes: int
    """A block may opt in to this much."""
    memory_gb_s: int
    """Of its data sheet: what no kernel can beat."""


# Multiprocessors, clocks and memory as NVIDIA's data sheets give them; Orin Nano: 8 GB, 15 W, not "Super".
DEVICES = {
    "H200": Device("H200", 90, 132, 1.755, 227 * 1024, 4800),
    "Orin Nano": Device("Orin Nano", 87, 8, 0.625, 163 * 1024, 68),
    "Thor": Device("Thor", 110, 20, 1.575, 227 * 1024, 273),
}


def blocks_at_once(kernel: Kernel, machine: Machine, threads: int, shared: int) -> int:
    """Return how many blocks one multiprocessor holds: registers, shared memory, warps, slots."""
    warps = math.ceil(threads / 32)
    registers = math.ceil(kernel.registers * 32 / 256) * 256 * warps
    memory = max(kernel.shared, 1024) + shared
    return min(
        machine.registers // registers, machine.shared // memory, machine.warps // warps, machine.blocks
    )


@dataclass
class _Warp:
    trace: Trace
    block: int
    scheduler: int
    at: int = 0
    boards: list[float] = field(default_factory=lambda: [0.0] * 6)
    copies: list[float] = field(default_factory=list)
    last_copy: float = 0.0


def cycles(
    kernel: Kernel, blocks: Sequence[Sequence[Trace]], machine: Machine, load: int | None = None
) -> float:
    """Return the cycles until all of these blocks, which share a multiprocessor, are done.

    Args:
        kernel: Its code.
        blocks: Of each block, each warp's trace.
        machine: Units and latencies.
        load: Latency of a global load, if not the machine's.
    """
    warps = [
        _Warp(trace, number, index)
        for number, block in enumerate(blocks)
        for index, trace in enumerate(block)
    ]
    for index, warp in enumerate(warps):
        warp.scheduler = index % _SCHEDULERS
    left = [len(block) for block in blocks]
    arrived: list[list[tuple[float, int]]] = [[] for _ in blocks]
    issue, special, integer = ([0.0] * _SCHEDULERS for _ in range(3))
    shared_free = global_free = end = 0.0
    steps = [_step(one, machine, load) for one in kernel.code]
    ready = [(0.0, index) for index in range(len(warps))]
    heapq.heapify(ready)
    while ready:
        now, index = heapq.heappop(ready)
        warp = warps[index]
        place, extra = warp.trace[warp.at]
        step, slot, boards = steps[place], warp.scheduler, warp.boards
        unit = step.unit
        at = max(now, issue[slot])
        for bit in step.waits:
            at = max(at, boards[bit])
        if unit == _SFU:
            at = max(at, special[slot])
        elif unit == _INT:
            at = max(at, integer[slot])
        if at > now:
            heapq.heappush(ready, (at, index))
            continue
        issue[slot] = at + 1
        done = at + step.latency
        if unit == _SFU:
            special[slot] = at + machine.special
        elif unit == _INT:
            integer[slot] = at + machine.integer
        elif unit == _LDS:
            shared_free = max(at, shared_free) + max(1, extra)
            done = shared_free - 1 + step.latency
        elif unit == _LDG and extra:
            global_free = max(at, global_free) + extra * _SECTOR / machine.sector_bytes
            done = global_free + step.latency
        if step.write < 6:
            boards[step.write] = max(boards[step.write], done)
        if step.read < 6:
            boards[step.read] = max(boards[step.read], at + _OPERANDS)
        after = at + step.stall
        if step.kind == "LDGSTS":
            warp.last_copy = done
        elif step.kind == "LDGDEPBAR":
            warp.copies.append(warp.last_copy)
        elif step.kind == "DEPBAR":
            after = max([after, *warp.copies[: max(0, len(warp.copies) - step.keep)]])
        warp.at += 1
        end = max(end, at + 1)
        if warp.at == len(warp.trace):
            left[warp.block] -= 1
        elif step.kind == "BAR":
            arrived[warp.block].append((after, index))
        else:
            heapq.heappush(ready, (after, index))
        if arrived[warp.block] and len(arrived[warp.block]) == left[warp.block]:
            release = max(time for time, _ in arrived[warp.block]) + machine.barrier
            for _, other in arrived[warp.block]:
                heapq.heappush(ready, (release, other))
            arrived[warp.block] = []
    return end


@dataclass(frozen=True)
class _Step:
    unit: int
    latency: int
    stall: int
    write: int
    read: int
    waits: tuple[int, ...]
    kind: str
    keep: int


def _step(code: Instruction, machine: Machine, load: int | None) -> _Step:
    """Return what the model needs of an instruction."""
    unit = next((unit for unit, ops in _UNITS if code.op in ops), 0)
    latency = machine.latency.get(code.op, 22 if unit == _SFU else 29 if unit == _LDS else 6)
    if unit == _LDG:
        latency = machine.load if load is None else load
    last = code.operands[-1] if code.operands else ""
    return _Step(
        unit, latency, max(code.stall, 1), code.write, code.read,
        tuple(bit for bit in range(6) if code.wait >> bit & 1), code.op,
        int(last, 0) if code.op == "DEPBAR" and last.startswith("0x") else 0,
    )  # fmt: skip

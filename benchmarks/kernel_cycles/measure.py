"""Cycles of a problem: executes its launches, then times the multiprocessor with the most to do."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from benchmarks.kernel_cycles.cases import Problem
from benchmarks.kernel_cycles.launches import Library, find
from benchmarks.kernel_cycles.machine import MACHINES, Device, Trace, blocks_at_once, cycles
from benchmarks.kernel_cycles.memory import Buffers
from benchmarks.kernel_cycles.operations import Launch
from benchmarks.kernel_cycles.sass import Kernel
from benchmarks.kernel_cycles.warp import Program, run_block
from mimamba_edge.errors import MimambaError

__all__ = ["HotLoop", "KernelCycles", "extrapolated", "hot_loops", "launches_of", "measure", "short_name"]

_HOT = 0.1
"""Share of a warp's work from which on a loop is hot."""


@dataclass(frozen=True)
class HotLoop:
    """A loop without inner loops that does much of a kernel's work.

    Attributes:
        instructions: Of one iteration, as a warp takes it.
        units: Of them, those that are the work: ``MUFU.EX2`` of a scan, ``FFMA`` otherwise.
        cycles: Of one iteration, one warp alone: stalls and the latencies that are waited for.
        share: Of the work of the kernel's first warp.
    """

    instructions: int
    units: int
    unit: str
    cycles: float
    share: float


@dataclass(frozen=True)
class KernelCycles:
    """One launch by the model.

    Attributes:
        kernel: Name.
        blocks: Of the grid.
        threads: Of a block.
        registers: Of a thread.
        resident: Blocks that a multiprocessor holds at once.
        instructions: Issued by the first block's busiest warp.
        cycles: Until the multiprocessor with the most to do is done.
        us: The same by the device's clock.
        loops: The hot loops, the hottest first.
    """

    kernel: str
    blocks: int
    threads: int
    registers: int
    resident: int
    instructions: int
    cycles: int
    us: float
    loops: tuple[HotLoop, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return what a record keeps."""
        return asdict(self)


def short_name(mangled: str) -> str:
    """Return a kernel's own name from its mangled one (Itanium C++ ABI)."""
    found = re.search(r"\d+([a-z]+(?:_[a-z]+)*_kernel)(?=I|E|v|P)", mangled)
    return found[1] if found else mangled


def launches_of(problem: Problem, library: Library, kernels: dict[str, Kernel]) -> list[Launch]:
    """Return what a problem's kernels are started with."""
    found: list[Launch] = []
    library.launches(problem.launch, kernels, found.append)
    return found


def measure(
    problem: Problem,
    library: Library,
    kernels: dict[str, Kernel],
    device: Device,
    unit: str,
    *,
    whole: bool = False,
) -> list[KernelCycles]:
    """Return the cycles of each launch of a problem.

    Args:
        problem: Its arrays are read and written.
        library: With its launcher.
        kernels: Its machine code for the device's architecture.
        device: What it runs on.
        unit: Opcode that counts the work of a hot loop: ``"MUFU.EX2"`` or ``"FFMA"``.
        whole: Execute all blocks of a launch; otherwise all of them are taken to be the first.
    """
    buffers, found = Buffers(problem.arrays), list[KernelCycles]()
    machine = MACHINES[device.sm]

    def each(launch: Launch) -> None:
        kernel = find(kernels, launch.kernel)
        program, (x, y, _) = Program(kernel, launch), launch.grid
        blocks, threads = math.prod(launch.grid), math.prod(launch.block)
        executed = range(blocks if whole else 1)
        traces = [run_block(program, (i % x, i // x % y, i // x // y), buffers) for i in executed]
        resident = blocks_at_once(kernel, machine, threads, launch.shared)
        if resident < 1:
            raise MimambaError("a block does not fit on a multiprocessor", got=launch)
        total = _makespan(kernel, traces, blocks, resident, device)
        found.append(
            KernelCycles(
                short_name(kernel.name), blocks, threads, kernel.registers, resident,
                max(len(trace) for trace in traces[0]), round(total), round(total / device.ghz / 1e3, 2),
                hot_loops(kernel, traces[0][0], device.sm, unit),
            )
        )  # fmt: skip

    library.launches(problem.launch, kernels, each)
    return found


def _makespan(kernel: Kernel, traces: list[list[Trace]], blocks: int, resident: int, device: Device) -> float:
    """Return the cycles of the multiprocessor that is done last: blocks are dealt out in turn, in waves."""
    machine = MACHINES[device.sm]
    known: dict[tuple[int, ...], float] = {}

    def together(numbers: tuple[int, ...]) -> float:
        if numbers not in known:
            known[numbers] = cycles(kernel, [traces[i] for i in numbers], machine)
        return known[numbers]

    worst = 0.0
    same = len(traces) < blocks
    for first in range(1 if same else min(device.multiprocessors, blocks)):
        mine = [0 if same else i for i in range(first, blocks, device.multiprocessors)]
        waves = [tuple(mine[i : i + resident]) for i in range(0, len(mine), resident)]
        worst = max(worst, sum(together(wave) for wave in waves))
    return worst


def extrapolated(
    short: list[KernelCycles], long: list[KernelCycles], lengths: tuple[int, int, int]
) -> list[KernelCycles]:
    """Return the cycles at a third length from those at two, for launches that are cut alike.

    Raises:
        MimambaError: They are not.
    """
    found = []
    for one, two in zip(short, long, strict=True):
        if (one.kernel, one.blocks, one.threads) != (two.kernel, two.blocks, two.threads):
            raise MimambaError("launches of two lengths are not cut alike", got=(one, two))
        slope = (lengths[2] - lengths[1]) / (lengths[1] - lengths[0])
        total = two.cycles + (two.cycles - one.cycles) * slope
        instructions = two.instructions + (two.instructions - one.instructions) * slope
        found.append(
            KernelCycles(
                one.kernel, one.blocks, one.threads, one.registers, one.resident, round(instructions),
                round(total), round(two.us * total / two.cycles, 2), two.loops,
            )
        )  # fmt: skip
    return found


def hot_loops(kernel: Kernel, trace: Trace, sm: int, unit: str) -> tuple[HotLoop, ...]:
    """Return the loops without inner loops that do at least a tenth of a warp's work, the hottest first."""
    jumps = Counter((a, b) for (a, _), (b, _) in pairwise(trace) if b <= a)
    loops = [(b, a) for (a, b) in jumps if kernel.code[a].op == "BRA"]
    found = [
        _hot_loop(kernel, trace, loop, sm, unit)
        for loop in loops
        if not any(loop != other and loop[0] <= other[0] and other[1] <= loop[1] for other in loops)
    ]
    return tuple(sorted((one for one in found if one.share >= _HOT), key=lambda one: -one.share))


def _hot_loop(kernel: Kernel, trace: Trace, loop: tuple[int, int], sm: int, unit: str) -> HotLoop:
    """Return what one loop from its first to its last instruction costs: its commonest way through."""
    first, last = loop
    rounds: list[Trace] = [[]]
    for step in trace:
        if step[0] == first or not first <= step[0] <= last:
            rounds.append([])
        if first <= step[0] <= last:
            rounds[-1].append(step)
    whole = [one for one in rounds if one and one[0][0] == first and one[-1][0] == last]
    body = Counter(tuple(place for place, _ in one) for one in whole).most_common(1)[0][0]
    common = next(one for one in whole if tuple(place for place, _ in one) == body)
    plain = [step for step in common if kernel.code[step[0]].op != "BAR"]
    times = [cycles(kernel, [[plain * count]], MACHINES[sm]) for count in (4, 8)]
    work = [kernel.code[place].name.startswith(unit) for place, _ in trace if first <= place <= last]
    total = sum(kernel.code[place].name.startswith(unit) for place, _ in trace)
    return HotLoop(
        instructions=len(body),
        units=sum(kernel.code[place].name.startswith(unit) for place in body),
        unit=unit,
        cycles=round((times[1] - times[0]) / 4, 1),
        share=round(sum(work) / max(1, total), 3),
    )

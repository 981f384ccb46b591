"""What a warp's trace says of its schedule: which loads it waits for, are scoreboards read right."""

from __future__ import annotations

import re

from benchmarks.kernel_cycles.machine import Trace
from benchmarks.kernel_cycles.sass import NO_BARRIER, Instruction, Kernel

__all__ = ["Waits", "unguarded", "waits_for_loads"]

Waits = list[tuple[int, int]]
_LOADS = ("LDG", "LDGSTS")
_REGISTER = re.compile(r"\b(U?R)(\d+)\b(\.64\b)?")


def waits_for_loads(kernel: Kernel, trace: Trace, unit: str) -> Waits:
    """Return where a warp first waits for global loads, and how much work it has issued since their first.

    Args:
        kernel: Its code.
        trace: Of one warp.
        unit: Opcode that counts as work, such as ``"MUFU.EX2"``.

    Returns:
        ``(index of the instruction that waits, units of work since the load it waits for)``, in order.
    """
    pending: dict[int, int] = {}  # scoreboard: units of work when its first load was issued
    done, found = 0, Waits()
    for place, _ in trace:
        code = kernel.code[place]
        held = [bit for bit in pending if code.wait >> bit & 1]
        if held:
            found.append((place, done - min(pending.pop(bit) for bit in held)))
        if code.op in _LOADS and code.write != NO_BARRIER:
            pending.setdefault(code.write, done)
        done += code.name.startswith(unit)
    return found


def unguarded(kernel: Kernel, trace: Trace) -> list[str]:
    """Return instructions that touch a result of unknown latency whose scoreboard nobody has waited for.

    There is none if the control bits are read as the hardware reads them: a check of the decoder.
    """
    pending: dict[str, int] = {}
    found: list[str] = []
    for place, _ in trace:
        code = kernel.code[place]
        for name in [name for name, board in pending.items() if code.wait >> board & 1]:
            del pending[name]
        # Two loads under opposite predicates may have the same result: only what is read counts for them.
        touched = {
            f"{kind}{int(number) + more}"
            for text in code.operands[1 if code.op == "LDG" else 0 :]
            for kind, number, wide in _REGISTER.findall(text)
            for more in range(2 if wide else 1)
        }
        if touched & pending.keys():
            found.append(f"{code.address:#x} {code.name} {', '.join(code.operands)}")
        if code.write != NO_BARRIER and code.op.startswith(("LD", "MUFU", "SHFL", "S2", "I2F", "F2I")):
            pending.update(dict.fromkeys(_results(code), code.write))
    return found


def _results(code: Instruction) -> list[str]:
    for text in code.operands[:2]:
        if match := re.fullmatch(r"(U?R)(\d+)", text):
            words = 4 if "128" in code.name else 2 if "64" in code.name.split(".")[1:] else 1
            return [f"{match[1]}{int(match[2]) + word}" for word in range(words)]
    return []

"""Operands of an instruction, from their text: what gives them, and how its results are written.

Registers are rows of ``warp.R``: R0 to R254, RZ (255), then the uniform ones, held by every lane.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.kernel_cycles.sass import Instruction
from mimamba_edge.errors import MimambaError

__all__ = [
    "LANE",
    "RELATIONS",
    "WORD",
    "ZERO",
    "Execute",
    "Lanes",
    "Operands",
    "Source",
    "as_float",
    "as_signed",
]

Lanes = npt.NDArray[Any]
Source = Callable[[Any], Lanes]
"""Gives 32 lanes' values, of a warp."""
Execute = Callable[[Any, Lanes], int]
"""Acts on a warp where lanes are active; gives the passes or sectors of a memory access, else 0."""
ZERO, WORD = 255, np.uint64(0xFFFFFFFF)
LANE = np.arange(32)
_UNIFORM = 256
_RESULTS = {
    "PLOP3": 2,
    "ISETP": 2,
    "FSETP": 2,
    "FCHK": 1,
    "LOP3": 1,
    "VOTE": 1,
    "VOTEU": 1,
    "SHFL": 1,
    "B2R": 1,
}
"""Predicates that an instruction of predicates gives at most: the ones after them are its sources."""
_BOTH = ("LOP3", "ULOP3", "SHFL", "VOTE", "VOTEU")
"""Instructions that may print a predicate before the register that they also give."""
RELATIONS: dict[str, Callable[[Lanes, Lanes], Lanes]] = {
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
    "EQ": np.equal,
    "NE": np.not_equal,
}


def as_float(values: Lanes) -> Lanes:
    """Return words as float32."""
    return values.view(np.float32)


def as_signed(values: Lanes) -> Lanes:
    """Return words as signed integers, in 64 bits."""
    return values.view(np.int32).astype(np.int64)


class Operands:
    """The operands of one instruction."""

    def __init__(self, code: Instruction, bank: bytes, block: tuple[int, int, int]) -> None:
        self.code, self.bank, self.block = code, bank, block
        self.mods = code.name.split(".")[1:]
        operands = list(code.operands)
        # Results come first: a register, predicates, or both.
        self.to = -1
        self.flags: list[int] = []
        if operands and is_register(operands[0]):
            self.to = register(operands.pop(0))
        most = _RESULTS.get(code.op.removeprefix("U"), 8)
        while operands and len(self.flags) < most and re.fullmatch(r"U?P[T\d]", operands[0]):
            self.flags.append(predicate(operands.pop(0)))
            if self.to < 0 and operands and is_register(operands[0]) and code.op in _BOTH:
                self.to = register(operands.pop(0))
        self.given = operands

    def source(self, text: str, number: bool = False, high: bool = False) -> Source:
        """Return what gives the 32 words of an operand; ``number``: it is a float."""
        match = re.fullmatch(r"([-~]?)(\|?)([^|]+)(\|?)", text)
        assert match, text
        sign, inner = match[1], match[3]
        bare: Source
        if is_register(inner):
            index = register(inner) + (1 if high and register(inner) != ZERO else 0)
            bare = lambda warp: warp.R[index]  # noqa: E731
        elif inner.startswith(("c[", "cx[")):
            bare = self._constant(inner, 4 if high else 0)
        else:
            fixed = np.full(32, _immediate(text, number or not text.lstrip("-").startswith("0x")), np.uint32)
            if high:
                fixed = np.full(32, 0xFFFFFFFF if int(fixed[0]) >> 31 else 0, np.uint32)
            return lambda warp: fixed
        if match[2]:
            plain = bare
            if not number:
                raise self.unknown("the size of an integer")
            bare = lambda warp: plain(warp) & np.uint32(0x7FFFFFFF)  # noqa: E731
        if sign == "-":
            what = bare
            return (
                (lambda warp: what(warp) ^ np.uint32(0x80000000))
                if number
                else (lambda warp: np.uint32(0) - what(warp))
            )
        if sign == "~":
            kept = bare
            return lambda warp: ~kept(warp)
        return bare

    def _constant(self, text: str, more: int) -> Source:
        match = re.fullmatch(r"c\[(0x\w)\]\[(?:(U?R\w+)\+?)?(-?0x[0-9a-f]+)?\]", text)
        if not match or int(match[1], 0) not in (0, 4):
            raise self.unknown(text)
        if int(match[1], 0) == 4:
            return lambda warp: np.zeros(32, np.uint32)
        at = int(match[3] or "0", 0) + more
        if match[2]:
            index, words = register(match[2]), np.frombuffer(self.bank, np.uint32)
            return lambda warp: words[(warp.R[index].view(np.int32) + at) // 4]
        fixed = np.full(32, int.from_bytes(self.bank[at : at + 4], "little"), np.uint32)
        return lambda warp: fixed

    def floats(self, count: int) -> list[Source]:
        """Return the first operands as floats."""
        return [self.source(text, number=True) for text in self.given[:count]]

    def ints(self, count: int) -> list[Source]:
        """Return the first operands as words."""
        return [self.source(text) for text in self.given[:count]]

    def truth(self, text: str) -> Source:
        """Return what gives the lanes where a predicate holds."""
        index, negated = predicate(text.lstrip("!")), text.startswith("!")
        return (lambda warp: ~warp.P[index]) if negated else (lambda warp: warp.P[index])

    def truths(self) -> list[Source]:
        """Return the predicates among the sources."""
        return [self.truth(text) for text in self.given if re.fullmatch(r"!?U?P[T\d]", text)]

    def wide(self, text: str) -> Source:
        """Return what gives 64-bit values of a pair."""
        low, high = self.source(text), self.source(text.lstrip("-~"), high=True)
        if text.startswith("-") and not text.startswith("-0x"):
            low = self.source(text[1:])
            return lambda warp: (
                np.uint64(0) - (low(warp).astype(np.uint64) | high(warp).astype(np.uint64) << np.uint64(32))
            )
        return lambda warp: low(warp).astype(np.uint64) | high(warp).astype(np.uint64) << np.uint64(32)

    def unknown(self, what: str = "") -> MimambaError:
        """Return the error for what is not known."""
        return MimambaError(
            "an instruction that the model cannot execute",
            got=f"{self.code.name} {', '.join(self.code.operands)} {what}".strip(),
            do="teach it to benchmarks/kernel_cycles/operations.py",
        )

    def word(self, value: Source) -> Execute:
        """Write one register."""
        to = self.to

        def execute(warp: Any, where: Lanes) -> int:
            if to != ZERO:
                got = value(warp)
                np.copyto(warp.R[to], got if got.dtype == np.uint32 else got.astype(np.uint32), where=where)
            return 0

        return execute

    def number(self, value: Source) -> Execute:
        """Write one register with a float."""

        def bits(warp: Any) -> Lanes:
            with np.errstate(all="ignore"):
                return np.asarray(value(warp), np.float32).view(np.uint32)

        return self.word(bits)

    def pair(self, value: Source) -> Execute:
        """Write two registers with 64 bits."""
        to = self.to

        def execute(warp: Any, where: Lanes) -> int:
            got = value(warp)
            if to != ZERO:
                np.copyto(warp.R[to], (got & WORD).astype(np.uint32), where=where)
                np.copyto(warp.R[to + 1], (got >> np.uint64(32)).astype(np.uint32), where=where)
            return 0

        return execute

    def flag(self, value: Source, index: int = 0) -> Execute:
        """Write a predicate."""
        to = self.flags[index]
        if to in (7, 15):
            return lambda warp, where: 0

        def execute(warp: Any, where: Lanes) -> int:
            np.copyto(warp.P[to], value(warp), where=where)
            return 0

        return execute

    def compared(self, holds: Source, predicates: list[Source]) -> Execute:
        """Write what a comparison gives, and its opposite, joined with a predicate."""
        join: Any = np.logical_and
        if "OR" in self.mods or "XOR" in self.mods:
            join = np.logical_or if "OR" in self.mods else np.logical_xor
        flags = self.flags

        def execute(warp: Any, where: Lanes) -> int:
            one = holds(warp)
            other = predicates[0](warp) if predicates else np.True_
            for flag, value in zip(flags, (join(one, other), join(~one, other)), strict=False):
                if flag not in (7, 15):
                    np.copyto(warp.P[flag], value, where=where)
            return 0

        return execute

    def nothing(self) -> Execute:
        """Change nothing."""
        return lambda warp, where: 0


def is_register(text: str) -> bool:
    return bool(re.fullmatch(r"U?R(?:\d+|Z)(?:\.\w+)*", text))


def register(text: str) -> int:
    text = text.split(".")[0]
    if text in ("RZ", "URZ"):
        return ZERO
    return int(text[1:]) if text.startswith("R") else _UNIFORM + int(text[2:])


def predicate(text: str) -> int:
    if text in ("PT", "UPT"):
        return 7
    return int(text[1:]) if text.startswith("P") else 8 + int(text[2:])


def _immediate(text: str, number: bool) -> int:
    special = {"INF": np.inf, "QNAN": np.nan, "SNAN": np.nan}
    if text.lstrip("+-") in special:
        value = np.float32(special[text.lstrip("+-")])
        return int((-value if text.startswith("-") else value).view(np.uint32))
    if text.lstrip("-").startswith("0x"):
        return int(text, 0) & 0xFFFFFFFF
    return int(np.float32(float(text)).view(np.uint32)) if number else int(text) & 0xFFFFFFFF

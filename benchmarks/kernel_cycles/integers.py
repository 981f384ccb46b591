"""Instructions on integers: sums, products, shifts, comparisons, extremes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from benchmarks.kernel_cycles.operands import (
    RELATIONS,
    WORD,
    ZERO,
    Execute,
    Lanes,
    Operands,
    Source,
    as_signed,
)

__all__ = ["Integers"]


class Integers(Operands):
    """Compiles them: a method ``_do_NAME`` each."""

    def _do_MOV(self) -> Execute:
        if "64" in self.mods:
            return self.pair(self.wide(self.given[0]))
        return self.word(self.source(self.given[0]))

    _do_R2UR = _do_MOV

    def _do_IADD3(self) -> Execute:
        """Adds three words and, with X, two carries; a negated word is its complement plus one."""
        parts: list[tuple[Source, int]] = []
        for text in [text for text in self.given if not re.fullmatch(r"!?U?P[T\d]", text)]:
            negated = text.startswith("-") and not text.startswith("-0x")
            parts.append((self.source("~" + text[1:] if negated else text), int(negated)))
        carries = self.truths() if "X" in self.mods else []
        flags, to = self.flags, self.to

        def execute(warp: Any, where: Lanes) -> int:
            total = np.zeros(32, np.uint64)
            for part, one in parts:
                total += part(warp).astype(np.uint64) + np.uint64(one)
            for carry in carries:
                total += carry(warp)
            over = total >> np.uint64(32)
            if to != ZERO:
                np.copyto(warp.R[to], (total & WORD).astype(np.uint32), where=where)
            for least, flag in enumerate(flags, 1):
                if flag not in (7, 15):
                    np.copyto(warp.P[flag], over >= np.uint64(least), where=where)
            return 0

        return execute

    def _do_IADD(self) -> Execute:
        if "64" in self.mods:
            a, b = self.wide(self.given[0]), self.wide(self.given[1])
            return self.pair(lambda warp: a(warp) + b(warp))
        return self._do_IADD3()

    _do_VIADD = _do_IADD

    def _do_IMAD(self) -> Execute:
        a, b = self.ints(2)
        carries = self.truths()[-1:] if "X" in self.mods else []
        carry: Source = carries[0] if carries else lambda warp: np.zeros(32, bool)
        unsigned = "U32" in self.mods
        if "WIDE" in self.mods or "HI" in self.mods:
            c = self.wide(self.given[2])

            def product(warp: Any) -> Lanes:
                if unsigned:
                    return a(warp).astype(np.uint64) * b(warp).astype(np.uint64)
                return (as_signed(a(warp)) * as_signed(b(warp))).view(np.uint64)

            def total(warp: Any) -> Lanes:
                return product(warp) + c(warp) + carry(warp).astype(np.uint64)

            if "HI" in self.mods:
                return self.word(lambda warp: total(warp) >> np.uint64(32))
            flags = self.flags
            pair = self.pair(total)

            def execute(warp: Any, where: Lanes) -> int:
                over = total(warp) < product(warp)
                pair(warp, where)
                if flags and flags[0] not in (7, 15):
                    np.copyto(warp.P[flags[0]], over, where=where)
                return 0

            return execute
        third = self.source(self.given[2])
        return self.word(lambda warp: a(warp) * b(warp) + third(warp) + carry(warp).astype(np.uint32))

    def _do_LEA(self) -> Execute:
        """Adds a shifted word, or the high word of a shifted pair, to another."""
        given = [text for text in self.given if not re.fullmatch(r"!?U?P[T\d]", text)]
        carries = self.truths()[-1:] if "X" in self.mods else []
        flags, to, high = self.flags, self.to, "HI" in self.mods
        shift = np.uint64(int(given[-1], 0))
        a = self.source(given[0].lstrip("-~"))
        negated = given[1].startswith(("-R", "-U"))
        b, less = self.source(given[1].replace("-", "~") if negated else given[1]), np.uint64(negated)
        c = self.source(given[2]) if high and "SX32" not in self.mods else None
        sign = given[0][0]

        def execute(warp: Any, where: Lanes) -> int:
            low = a(warp)
            if "SX32" in self.mods:
                full = as_signed(low).view(np.uint64)
            else:
                full = low.astype(np.uint64) | (
                    c(warp).astype(np.uint64) << np.uint64(32) if c else np.uint64(0)
                )
            full = full << shift
            if sign == "-":
                full = np.uint64(0) - full
            elif sign == "~":
                full = ~full
            part = full >> np.uint64(32) if high else full & WORD
            total = part + b(warp).astype(np.uint64) + less
            for carry in carries:
                total = total + carry(warp)
            if to != ZERO:
                np.copyto(warp.R[to], (total & WORD).astype(np.uint32), where=where)
            if flags and flags[0] not in (7, 15):
                np.copyto(warp.P[flags[0]], total > WORD, where=where)
            return 0

        return execute

    def _do_SHF(self) -> Execute:
        low, by, high = self.ints(3)
        left, up, wrap = "L" in self.mods, "HI" in self.mods, "W" in self.mods
        most = np.uint64(63 if "U64" in self.mods or "S64" in self.mods else 31 if wrap else 32)
        signed = "S32" in self.mods or "S64" in self.mods

        def value(warp: Any) -> Lanes:
            amount = by(warp).astype(np.uint64)
            amount = amount & most if wrap else np.minimum(amount, most)
            full = low(warp).astype(np.uint64) | high(warp).astype(np.uint64) << np.uint64(32)
            if left:
                full = full << amount
            elif signed:
                full = (full.view(np.int64) >> amount.view(np.int64)).view(np.uint64)
            else:
                full = full >> amount
            return full >> np.uint64(32) if up else full & WORD

        return self.word(value)

    def _do_ISETP(self) -> Execute:
        a, b = self.ints(2)
        predicates, unsigned = self.truths(), "U32" in self.mods or "U64" in self.mods
        relation = next(mod for mod in self.mods if mod in RELATIONS)
        kind: Any = np.int32
        if "64" in self.mods or "U64" in self.mods or "S64" in self.mods:
            a, b, kind = self.wide(self.given[0]), self.wide(self.given[1]), np.int64

        def holds(warp: Any) -> Lanes:
            x, y = (a(warp), b(warp)) if unsigned else (a(warp).view(kind), b(warp).view(kind))
            if "EX" not in self.mods:
                return RELATIONS[relation](x, y)
            low, same = predicates[-1](warp), np.equal(x, y)
            if relation in ("EQ", "NE"):
                return same & low if relation == "EQ" else ~same | low
            return RELATIONS["GT" if relation in ("GT", "GE") else "LT"](x, y) | (same & low)

        return self.compared(holds, predicates)

    def _do_VIMNMX(self) -> Execute:
        return self._extreme(self.ints(2), self.truths()[0])

    _do_IMNMX = _do_VIMNMX

    def _do_VIADDMNMX(self) -> Execute:
        a, b, c = self.ints(3)
        return self._extreme([lambda warp: a(warp) + b(warp), c], self.truths()[0])

    def _do_VIMNMX3(self) -> Execute:
        a, b, c = self.ints(3)
        least = self.truths()
        kind: Any = np.uint32 if "U32" in self.mods else np.int32

        def value(warp: Any) -> Lanes:
            one = [source(warp).view(kind) for source in (a, b, c)]
            first = np.where(least[0](warp), np.minimum(one[0], one[1]), np.maximum(one[0], one[1]))
            last = least[-1](warp)
            return np.asarray(np.where(last, np.minimum(first, one[2]), np.maximum(first, one[2]))).view(
                np.uint32
            )

        return self.word(value)

    def _extreme(self, sources: list[Source], least: Source) -> Execute:
        kind: Any = np.uint32 if "U32" in self.mods else np.int32

        def value(warp: Any) -> Lanes:
            a, b = (source(warp).view(kind) for source in sources)
            got = np.where(least(warp), np.minimum(a, b), np.maximum(a, b))
            return np.asarray(np.maximum(got, 0) if "RELU" in self.mods else got).view(np.uint32)

        return self.word(value)

    def _do_IABS(self) -> Execute:
        (a,) = self.ints(1)
        return self.word(lambda warp: np.abs(as_signed(a(warp))))

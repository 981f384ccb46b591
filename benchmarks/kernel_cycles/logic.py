"""Instructions on bits, predicates and special registers."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.kernel_cycles.operands import LANE, ZERO, Execute, Lanes, Operands, Source

__all__ = ["Logic"]


class Logic(Operands):
    """Compiles them: a method ``_do_NAME`` each."""

    def _do_LOP3(self) -> Execute:
        a, b, c = self.ints(3)
        table = int(self.given[3], 0)
        flags, to, truths = self.flags, self.to, self.truths()

        def execute(warp: Any, where: Lanes) -> int:
            value = _lookup(table, a(warp), b(warp), c(warp), np.uint32(0xFFFFFFFF))
            if to not in (ZERO, -1):
                np.copyto(warp.R[to], value, where=where)
            if flags and flags[0] not in (7, 15):
                np.copyto(
                    warp.P[flags[0]], (value != 0) | (truths[0](warp) if truths else False), where=where
                )
            return 0

        return execute

    def _do_PLOP3(self) -> Execute:
        a, b, c = self.truths()[:3]
        tables = [int(text, 0) for text in self.given if text.startswith("0x")]
        flags = self.flags

        def execute(warp: Any, where: Lanes) -> int:
            values = [_lookup(table, a(warp), b(warp), c(warp), np.bool_(True)) for table in tables]
            for flag, value in zip(flags, values, strict=False):
                if flag not in (7, 15):
                    np.copyto(warp.P[flag], value, where=where)
            return 0

        return execute

    def _do_SEL(self) -> Execute:
        number = self.code.op == "FSEL"
        if "64" in self.mods:
            a, b = self.wide(self.given[0]), self.wide(self.given[1])
        else:
            a, b = (self.source(text, number=number) for text in self.given[:2])
        (take,) = self.truths()
        value: Source = lambda warp: np.where(take(warp), a(warp), b(warp))  # noqa: E731
        return self.pair(value) if "64" in self.mods else self.word(value)

    _do_FSEL = _do_SEL

    def _do_POPC(self) -> Execute:
        (a,) = self.ints(1)
        return self.word(lambda warp: np.bitwise_count(a(warp)))

    def _do_BREV(self) -> Execute:
        (a,) = self.ints(1)
        return self.word(lambda warp: np.array([int(f"{int(x):032b}"[::-1], 2) for x in a(warp)], np.uint32))

    def _do_FLO(self) -> Execute:
        (a,) = self.ints(1)
        from_top = "SH" in self.mods

        def value(warp: Any) -> Lanes:
            bits = [int(x).bit_length() for x in a(warp)]
            return np.array(
                [(32 - n if from_top else n - 1) & 0xFFFFFFFF if n else 0xFFFFFFFF for n in bits], np.uint32
            )

        return self.word(value)

    def _do_PRMT(self) -> Execute:
        a, sel, b = self.ints(3)

        def value(warp: Any) -> Lanes:
            both = a(warp).astype(np.uint64) | b(warp).astype(np.uint64) << np.uint64(32)
            chosen, got = sel(warp), np.zeros(32, np.uint64)
            for byte in range(4):
                nibble = (chosen >> np.uint32(4 * byte)) & np.uint32(15)
                one = both >> (nibble & np.uint32(7)).astype(np.uint64) * np.uint64(8) & np.uint64(255)
                one = np.where(nibble > 7, np.where(one > 127, 255, 0).astype(np.uint64), one)
                got |= one << np.uint64(8 * byte)
            return got

        return self.word(value)

    def _do_S2R(self) -> Execute:
        name, (x, y, _) = self.given[0], self.block

        def value(warp: Any) -> Lanes:
            thread = warp.index * 32 + LANE
            known = {
                "SR_TID.X": thread % x,
                "SR_TID.Y": thread // x % y,
                "SR_TID.Z": thread // x // y,
                "SR_LANEID": LANE,
            }
            if name in known:
                return np.asarray(known[name], np.uint32)
            if name.startswith("SR_CTAID"):
                return np.full(32, warp.block.place["XYZ".index(name[-1])], np.uint32)
            return np.zeros(32, np.uint32)

        return self.word(value)

    _do_S2UR = _do_S2R

    def _do_CS2R(self) -> Execute:
        if "32" in self.mods:
            return self._do_S2R()
        return self.pair(lambda warp: np.zeros(32, np.uint64))

    _do_CS2UR = _do_CS2R

    def _do_P2R(self) -> Execute:
        a, keep = self.source(self.given[1]), int(self.given[2], 0)

        def value(warp: Any) -> Lanes:
            packed = np.zeros(32, np.uint32)
            for index in range(7):
                packed |= warp.P[index].astype(np.uint32) << np.uint32(index)
            return (packed & np.uint32(keep)) | (a(warp) & np.uint32(~keep & 0xFFFFFFFF))

        return self.word(value)

    def _do_R2P(self) -> Execute:
        a, keep = self.source(self.given[1]), int(self.given[2], 0)

        def execute(warp: Any, where: Lanes) -> int:
            for index in range(7):
                if keep >> index & 1:
                    np.copyto(
                        warp.P[index], (a(warp) >> np.uint32(index) & np.uint32(1)).astype(bool), where=where
                    )
            return 0

        return execute


def _lookup(table: int, a: Lanes, b: Lanes, c: Lanes, ones: Any) -> Lanes:
    value: Lanes = (a ^ a) & ones
    for row in range(8):
        if table >> row & 1:
            value = value | (a if row & 4 else a ^ ones) & (b if row & 2 else b ^ ones) & (
                c if row & 1 else c ^ ones
            )
    return value

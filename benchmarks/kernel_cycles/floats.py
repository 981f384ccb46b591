"""Instructions on floats, special functions and conversions; rounding modes are those of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kernel_cycles.operands import RELATIONS, WORD, Execute, Lanes, Operands, as_float

__all__ = ["Floats"]

_FUNCTIONS: dict[str, Callable[[Lanes], Lanes]] = {
    "EX2": np.exp2,
    "LG2": np.log2,
    "RCP": np.reciprocal,
    "RSQ": lambda x: 1 / np.sqrt(x),
    "SQRT": np.sqrt,
    "SIN": lambda x: np.sin(2 * np.pi * x),
    "COS": lambda x: np.cos(2 * np.pi * x),
    "TANH": np.tanh,
}


class Floats(Operands):
    """Compiles them: a method ``_do_NAME`` each."""

    def _do_FADD(self) -> Execute:
        a, b = self.floats(2)
        return self.number(lambda warp: as_float(a(warp)) + as_float(b(warp)))

    def _do_FMUL(self) -> Execute:
        a, b = self.floats(2)
        return self.number(lambda warp: as_float(a(warp)) * as_float(b(warp)))

    def _do_FFMA(self) -> Execute:
        a, b, c = self.floats(3)

        def value(warp: Any) -> Lanes:
            exact = as_float(a(warp)).astype(np.float64) * as_float(b(warp)) + as_float(c(warp))
            return np.clip(exact, 0, 1) if "SAT" in self.mods else exact

        return self.number(value)

    def _do_FMNMX(self) -> Execute:
        a, b = self.floats(2)
        least = self.truths()[0]
        return self.number(
            lambda warp: np.where(
                least(warp),
                np.fmin(as_float(a(warp)), as_float(b(warp))),
                np.fmax(as_float(a(warp)), as_float(b(warp))),
            )
        )

    def _do_FMNMX3(self) -> Execute:
        a, b, c = self.floats(3)
        least = self.truths()[-1]

        def value(warp: Any) -> Lanes:
            one = [as_float(source(warp)) for source in (a, b, c)]
            low, high = np.fmin(np.fmin(one[0], one[1]), one[2]), np.fmax(np.fmax(one[0], one[1]), one[2])
            return np.where(least(warp), low, high)

        return self.number(value)

    def _do_FSETP(self) -> Execute:
        a, b = self.floats(2)
        relation = next(
            mod for mod in self.mods if mod in RELATIONS or mod[:-1] in RELATIONS or mod in ("NUM", "NAN")
        )

        def holds(warp: Any) -> Lanes:
            x, y = as_float(a(warp)), as_float(b(warp))
            nan = np.isnan(x) | np.isnan(y)
            if relation in ("NUM", "NAN"):
                return np.asarray(nan if relation == "NAN" else ~nan)
            unordered = relation not in RELATIONS
            held = RELATIONS[relation[:-1] if unordered else relation](x, y)
            return np.asarray(held | nan if unordered else held & ~nan)

        return self.compared(holds, self.truths())

    def _do_FCHK(self) -> Execute:
        a, b = self.floats(2)

        def slow(warp: Any) -> Lanes:
            sizes = [np.abs(as_float(source(warp))) for source in (a, b)]
            fine = [(size > 2.0**-100) & (size < 2.0**100) for size in sizes]
            return np.asarray(~((fine[0] | (sizes[0] == 0)) & fine[1]))

        return self.flag(slow)

    def _do_MUFU(self) -> Execute:
        a = self.source(self.given[0], number=True)
        function = _FUNCTIONS.get(self.mods[0])
        if function is None:
            raise self.unknown()
        return self.number(lambda warp: function(as_float(a(warp)).astype(np.float64)))

    def _do_FRND(self) -> Execute:
        a, to_whole = self.source(self.given[0], number=True), _rounding(self.mods)
        return self.number(lambda warp: to_whole(as_float(a(warp))))

    def _do_I2F(self) -> Execute:
        if "F64" in self.mods or "F16" in self.mods:
            raise self.unknown()
        if "U64" in self.mods or "S64" in self.mods:
            pair, signed = self.wide(self.given[0]), "S64" in self.mods
            return self.number(lambda warp: pair(warp).view(np.int64) if signed else pair(warp))
        a = self.source(self.given[0])
        small = next((mod for mod in self.mods if mod in ("U8", "U16", "S8", "S16")), None)
        if small:
            raise self.unknown()
        unsigned = "U32" in self.mods
        return self.number(lambda warp: a(warp) if unsigned else a(warp).view(np.int32))

    _do_I2FP = _do_I2F

    def _do_F2I(self) -> Execute:
        a, to_whole = self.source(self.given[0], number=True), _rounding(self.mods)
        low, high = (0, 2**32 - 1) if "U32" in self.mods else (-(2**31), 2**31 - 1)
        if "U64" in self.mods or "S64" in self.mods:
            low, high = (0, 2**64 - 2**11) if "U64" in self.mods else (-(2**63), 2**63 - 2**10)

        def value(warp: Any) -> Lanes:
            whole = [int(x) if np.isfinite(x) else 0 for x in to_whole(as_float(a(warp)).astype(np.float64))]
            return np.array([min(max(x, low), high) & 0xFFFFFFFFFFFFFFFF for x in whole], np.uint64)

        if "U64" in self.mods or "S64" in self.mods:
            return self.pair(value)
        return self.word(lambda warp: value(warp) & WORD)

    def _do_F2F(self) -> Execute:
        if self.mods[-2:] == ["F16", "F32"]:
            a = self.source(self.given[0], number=True)
            return self.word(lambda warp: _half_bits(a(warp)))
        raise self.unknown()

    def _do_F2FP(self) -> Execute:
        """Two floats to a pair of halves or bfloats, the first one high."""
        a, b = self.floats(2)
        bits = _bfloat_bits if "BF16" in self.mods else _half_bits
        return self.word(lambda warp: bits(a(warp)) << np.uint32(16) | bits(b(warp)))

    def _do_HADD2(self) -> Execute:
        if "F32" not in self.mods or self.given[0] != "-RZ":
            return self._do_HFMA2()
        text, part = self.given[1].rsplit(".", 1)
        a, shift = self.source(text), np.uint32(16 if part == "H1_H1" else 0)
        if "BF16_V2" in self.mods:
            return self.word(lambda warp: (a(warp) >> shift) << np.uint32(16))
        return self.number(
            lambda warp: ((a(warp) >> shift) & np.uint32(0xFFFF)).astype(np.uint16).view(np.float16)
        )

    def _do_HFMA2(self) -> Execute:
        """Only the form that makes a constant of two halves."""
        if self.given[:2] != ["-RZ", "RZ"]:
            raise self.unknown()
        if "BF16_V2" in self.mods:
            high, low = (int(np.float32(float(text)).view(np.uint32)) >> 16 for text in self.given[2:4])
        else:
            high, low = (int(np.float16(float(text)).view(np.uint16)) for text in self.given[2:4])
        fixed = np.full(32, high << 16 | low, np.uint32)
        return self.word(lambda warp: fixed)


def _rounding(mods: list[str]) -> Callable[[Lanes], Lanes]:
    if "TRUNC" in mods:
        return np.trunc
    return np.floor if "FLOOR" in mods else np.ceil if "CEIL" in mods else np.rint


def _half_bits(words: Lanes) -> Lanes:
    with np.errstate(all="ignore"):
        return as_float(words).astype(np.float16).view(np.uint16).astype(np.uint32)


def _bfloat_bits(words: Lanes) -> Lanes:
    return (
        words.astype(np.uint64) + np.uint64(0x7FFF) + (words >> np.uint32(16) & np.uint32(1)) >> np.uint64(16)
    ).astype(np.uint32)

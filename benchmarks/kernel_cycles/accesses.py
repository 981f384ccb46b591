"""Instructions on memory, between lanes, and of the warp's convergence."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from benchmarks.kernel_cycles.memory import sectors, wavefronts
from benchmarks.kernel_cycles.operands import (
    LANE,
    ZERO,
    Execute,
    Lanes,
    Operands,
    Source,
    as_signed,
    register,
)

__all__ = ["Accesses", "Convergence"]


def _same(value: int) -> Source:
    return lambda warp: np.full(32, value, np.int64)


def _times(source: Source, factor: int, *, signed: bool) -> Source:
    return lambda warp: (as_signed(source(warp)) if signed else source(warp).astype(np.int64)) * factor


class Accesses(Operands):
    """Compiles loads and stores: a method ``_do_NAME`` each."""

    def _size(self) -> int:
        for mod in self.mods:
            if mod in ("U8", "S8", "U16", "S16", "64", "128"):
                return {"8": 1, "16": 2, "64": 8, "128": 16}[mod.lstrip("US")]
        return 4

    def address(self, text: str, wide: bool) -> Source:
        """Return what gives byte addresses; ``wide``: registers are pairs unless they say otherwise."""
        inner = re.sub(r"^desc\[\w+\]", "", text).strip("[]").replace("+-", "+~")
        terms: list[Source] = []
        for term in inner.split("+"):
            match = re.fullmatch(r"(U?R\w+?)((?:\.\w+)*)", term)
            if not match:
                terms.append(_same(-int(term[1:], 0) if term.startswith("~") else int(term, 0)))
            elif wide and ".U32" not in match[2]:
                terms.append(self.wide(match[1]))
            else:
                factor = next((mod[1:] for mod in match[2].split(".") if re.fullmatch(r"X\d+", mod)), "1")
                terms.append(_times(self.source(match[1]), int(factor), signed=not wide))
        return lambda warp: np.sum([term(warp).astype(np.int64) for term in terms], axis=0)

    def _do_LDC(self) -> Execute:
        text, words = self.given[0], self._size() // 4
        if self._size() < 4:
            a = self.source(re.sub(r"0x([0-9a-f]+)\]$", lambda m: f"0x{int(m[1], 16) // 4 * 4:x}]", text))
            at = int(re.search(r"0x([0-9a-f]+)\]$", text)[1], 16) % 4  # type: ignore[index]
            mask = np.uint32((1 << 8 * self._size()) - 1)
            return self.word(lambda warp: a(warp) >> np.uint32(8 * at) & mask)
        sources = [self._constant(text, 4 * word) for word in range(words)]
        to = self.to

        def execute(warp: Any, where: Lanes) -> int:
            for word, source in enumerate(sources):
                np.copyto(warp.R[to + word], source(warp), where=where)
            return 0

        return execute

    _do_LDCU = _do_LDC

    def _do_LDG(self) -> Execute:
        address, size, to = (
            self.address(self.given[-1] if "desc" in self.given[-1] else self.given[0], True),
            self._size(),
            self.to,
        )
        signed = any(mod in ("S8", "S16") for mod in self.mods)

        def execute(warp: Any, where: Lanes) -> int:
            at = address(warp)[where]
            for word in range(max(1, size // 4)):
                held, index = warp.block.buffers.at(at + 4 * word, min(size, 4))
                got = held[index]
                if signed:
                    got = got.view(f"i{size}").astype(np.int32).view(np.uint32)
                if to != ZERO:
                    warp.R[to + word][where] = got
            return sectors(at, size)

        return execute

    def _do_STG(self) -> Execute:
        address, size = self.address(self.given[0], True), self._size()
        values = [self._value(self.given[1], word) for word in range(max(1, size // 4))]

        def execute(warp: Any, where: Lanes) -> int:
            at = address(warp)[where]
            for word, value in enumerate(values):
                held, index = warp.block.buffers.at(at + 4 * word, min(size, 4))
                held[index] = value(warp)[where].astype(held.dtype)
            return sectors(at, size)

        return execute

    def _value(self, text: str, word: int) -> Source:
        index = register(text)
        index = index if index == ZERO else index + word
        return lambda warp: warp.R[index]

    def _do_LDS(self) -> Execute:
        address, size, to = self.address(self.given[0], False), self._size(), self.to

        def execute(warp: Any, where: Lanes) -> int:
            at = (address(warp) & 0xFFFFFF)[where]
            held = warp.block.shared if size >= 4 else warp.block.shared.view(f"u{size}")
            for word in range(max(1, size // 4)):
                warp.R[to + word][where] = held[at // min(size, 4) + word]
            return wavefronts(at, size)

        return execute

    def _do_STS(self) -> Execute:
        address, size = self.address(self.given[0], False), self._size()
        values = [self._value(self.given[1], word) for word in range(max(1, size // 4))]

        def execute(warp: Any, where: Lanes) -> int:
            at = (address(warp) & 0xFFFFFF)[where]
            held = warp.block.shared if size >= 4 else warp.block.shared.view(f"u{size}")
            for word, value in enumerate(values):
                held[at // min(size, 4) + word] = value(warp)[where].astype(held.dtype)
            return wavefronts(at, size)

        return execute

    def _do_LDGSTS(self) -> Execute:
        to, address, size = (
            self.address(self.code.operands[0], False),
            self.address(self.code.operands[1], True),
            self._size(),
        )

        def execute(warp: Any, where: Lanes) -> int:
            at, into = address(warp)[where], (to(warp) & 0xFFFFFF)[where]
            for word in range(size // 4):
                held, index = warp.block.buffers.at(at + 4 * word, 4)
                warp.block.shared[into // 4 + word] = held[index]
            return sectors(at, size)

        return execute

    def _do_LDL(self) -> Execute:
        address, size, to = self.address(self.given[0], False), self._size(), self.to

        def execute(warp: Any, where: Lanes) -> int:
            at = address(warp) // 4 % 256
            for word in range(max(1, size // 4)):
                np.copyto(warp.R[to + word], warp.local[at + word, LANE], where=where)
            return 4

        return execute

    def _do_STL(self) -> Execute:
        address, size = self.address(self.given[0], False), self._size()
        values = [self._value(self.given[1], word) for word in range(max(1, size // 4))]

        def execute(warp: Any, where: Lanes) -> int:
            at = address(warp) // 4 % 256
            for word, value in enumerate(values):
                warp.local[(at + word)[where], LANE[where]] = value(warp)[where]
            return 4

        return execute


_REDUCTIONS = {
    "MAX": np.maximum,
    "MIN": np.minimum,
    "SUM": np.add,
    "AND": np.bitwise_and,
    "OR": np.bitwise_or,
    "XOR": np.bitwise_xor,
}


class Convergence(Operands):
    """Compiles what lanes and warps say to each other."""

    def _do_SHFL(self) -> Execute:
        a, by, clamp = self.ints(3)
        mode, to, flags = self.mods[0], self.to, self.flags

        def execute(warp: Any, where: Lanes) -> int:
            value, amount, limits = a(warp), by(warp).astype(np.int64), clamp(warp).astype(np.int64)
            segment, most = (limits >> 8) & 31, limits & 31
            least = LANE & segment
            last = least | (most & ~segment)
            if mode == "UP":
                source = LANE - (amount & 31)
                inside = source >= last
            elif mode == "DOWN":
                source = LANE + (amount & 31)
                inside = source <= last
            elif mode == "BFLY":
                source = LANE ^ (amount & 31)
                inside = source <= last
            else:
                source = least | ((amount & 31) & ~segment)
                inside = source <= last
            source = np.where(inside, source, LANE)
            if to not in (ZERO, -1):
                np.copyto(warp.R[to], value[source], where=where)
            if flags and flags[0] not in (7, 15):
                np.copyto(warp.P[flags[0]], inside, where=where)
            return 1

        return execute

    def _do_VOTE(self) -> Execute:
        truth = self.truths()[-1]
        to, flags, mode = self.to, self.flags, self.mods[0]

        def execute(warp: Any, where: Lanes) -> int:
            held = truth(warp) & where
            if to not in (ZERO, -1):
                warp.R[to][where] = np.uint32(sum(1 << int(lane) for lane in np.flatnonzero(held)))
            if flags and flags[0] not in (7, 15):
                warp.P[flags[0]][where] = held.any() if mode == "ANY" else (held == where).all()
            return 0

        return execute

    _do_VOTEU = _do_VOTE

    def _do_REDUX(self) -> Execute:
        (a,) = self.ints(1)
        to, kind = self.to, np.int32 if "S32" in self.mods else np.uint32
        name = next((mod for mod in self.mods if mod in _REDUCTIONS), "OR")

        def execute(warp: Any, where: Lanes) -> int:
            one = _REDUCTIONS[name].reduce(a(warp).view(kind)[where])
            warp.R[to][:] = np.array([one]).astype(kind).view(np.uint32)
            return 1

        return execute

    _do_CREDUX = _do_REDUX

    def _do_B2R(self) -> Execute:
        """Gives what the block's last reducing barrier found."""
        if "RESULT" not in self.mods or self.to != ZERO:
            raise self.unknown()
        return self.flag(lambda warp: np.full(32, warp.found))

    def _do_BSSY(self) -> Execute:
        name = self.code.operands[0]

        def execute(warp: Any, where: Lanes) -> int:
            warp.members[name] = where.copy()
            return 0

        return execute

    def _do_BREAK(self) -> Execute:
        name = self.code.operands[-1]

        def execute(warp: Any, where: Lanes) -> int:
            warp.members[name] = warp.members[name] & ~where
            return 0

        return execute

    def _do_BMOV(self) -> Execute:
        to, source = self.code.operands[:2]
        if to.startswith("R"):
            index = register(to)

            def save(warp: Any, where: Lanes) -> int:
                held = warp.members.get(source, np.zeros(32, bool))
                warp.R[index][where] = np.uint32(sum(1 << int(lane) for lane in np.flatnonzero(held)))
                return 0

            return save
        if source.startswith("R"):
            index = register(source)

            def restore(warp: Any, where: Lanes) -> int:
                bits = int(warp.R[index][where][0])
                warp.members[to] = np.array([bits >> lane & 1 for lane in range(32)], bool)
                return 0

            return restore
        return self.nothing()

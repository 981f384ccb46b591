"""Shared libraries as files, by their ELF headers (elf(5)): what is wrong with one, before it is loaded."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["architecture", "cut_off"]

_HEADER = 64
_MACHINES = {62: "x86_64", 183: "aarch64"}


def _header(path: Path) -> bytes | None:
    """Return the header of a 64-bit little-endian ELF file; ``None`` for another file."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    return head if len(head) == _HEADER and head[:6] == b"\x7fELF\x02\x01" else None


def cut_off(path: Path) -> bool:
    """Whether a file is an ELF library that ends before its segments do: dlopen of it kills the process."""
    head = _header(path)
    if head is None:
        return False
    (table,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    with path.open("rb") as file:
        file.seek(table)
        headers = file.read(size * count)
    if len(headers) < size * count or size < 56:
        return True
    starts = range(0, size * count, size)
    # Offset and size in the file (Elf64_Phdr).
    ends = [sum(struct.unpack_from("<Q16xQ", headers, start + 8)) for start in starts]
    return max(ends, default=0) > path.stat().st_size


def architecture(path: Path) -> str | None:
    """Return what a library was compiled for, in the words of ``platform.machine()``.

    ``None`` for a file that is no 64-bit ELF library; a number for a CPU without a name here.
    """
    head = _header(path)
    if head is None:
        return None
    (machine,) = struct.unpack_from("<H", head, 18)
    return _MACHINES.get(machine, f"ELF machine {machine}")

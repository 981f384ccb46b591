"""Shared libraries as files, by their ELF headers (elf(5)): what is wrong with one, before it is loaded."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["architecture", "cut_off", "needed_versions"]

_HEADER = 64
_MACHINES = {62: "x86_64", 183: "aarch64"}
# Of program headers and of the dynamic section (elf.h).
_LOAD, _DYNAMIC = 1, 2
_STRTAB, _VERNEED, _VERNEEDNUM = 5, 0x6FFFFFFE, 0x6FFFFFFF


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


def needed_versions(path: Path) -> set[str]:
    """Return the versions of other libraries' symbols that a library asks for, such as ``"GLIBC_2.17"``.

    Source: the Linux Standard Base, "Symbol Versioning" (Elfxx_Verneed, Elfxx_Vernaux).

    Raises:
        ValueError: It is no whole 64-bit ELF library.
    """
    data = path.read_bytes()
    if _header(path) is None:
        raise ValueError(f"{path} is no 64-bit ELF library")
    try:
        return _needed(data)
    except (struct.error, StopIteration) as error:
        raise ValueError(f"{path} is no whole ELF library") from error


def _needed(data: bytes) -> set[str]:
    (table,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    # Type, place in the file, address, bytes in the file (Elf64_Phdr).
    segments: list[tuple[int, int, int, int]]
    segments = [struct.unpack_from("<I4xQQ8xQ", data, table + i * size) for i in range(count)]

    def place(address: int) -> int:
        return next(
            address - start + at
            for kind, at, start, n in segments
            if kind == _LOAD and start <= address < start + n
        )

    dynamic = next(((at, n) for kind, at, _, n in segments if kind == _DYNAMIC), (0, 0))
    entries = dict(struct.unpack_from("<QQ", data, dynamic[0] + i) for i in range(0, dynamic[1], 16))
    if _VERNEED not in entries:
        return set()
    strings, record = place(entries[_STRTAB]), place(entries[_VERNEED])
    found = set()
    for _ in range(entries[_VERNEEDNUM]):
        names, first, step = struct.unpack_from("<2xH4xII", data, record)
        one = record + first
        for _ in range(names):
            name, ahead = struct.unpack_from("<II", data, one + 8)
            start = strings + name
            found.add(data[start : data.index(0, start)].decode())
            one += ahead
        record += step
    return found

"""Memory and swap from ``/proc`` under ``root``."""

from __future__ import annotations

from pathlib import Path

from mimamba_edge.machine.files import read_text

__all__ = ["meminfo_bytes", "swap_bytes", "zram_bytes"]

_ROOT = Path("/")


def meminfo_bytes(key: str, root: Path = _ROOT) -> int | None:
    """Return an entry of ``/proc/meminfo`` in bytes, or ``None`` where there is none."""
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return None


def _swaps(root: Path) -> list[tuple[str, int]]:
    """Return name and size in bytes of each swap area (man 5 proc: ``/proc/swaps``, sizes in KiB)."""
    lines = (read_text(root / "proc/swaps") or "").splitlines()[1:]
    return [(fields[0], int(fields[2]) * 1024) for line in lines if len(fields := line.split()) >= 3]


def swap_bytes(root: Path = _ROOT) -> int:
    """Return the size of all swap on disks, in bytes."""
    return sum(size for name, size in _swaps(root) if "/zram" not in name)


def zram_bytes(root: Path = _ROOT) -> int:
    """Return the size of all swap in compressed memory, in bytes; JetPack sets up half of the memory so."""
    return sum(size for name, size in _swaps(root) if "/zram" in name)

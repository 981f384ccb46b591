"""Small system files (``/proc``, ``/sys``, ``/etc``) as text and numbers; what cannot be read is ``None``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["packages", "read_number", "read_text"]


def read_text(path: Path) -> str | None:
    """Return a file's text without surrounding white space and zero bytes, or ``None``.

    Device tree properties end with a zero byte; lists of them are separated by it (kernel document
    "Devicetree Usage Model"), which becomes a line break here.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # Besides a file that is not there: sensors that are switched off answer EAGAIN or EINVAL.
        return None
    return text.strip("\0 \t\r\n").replace("\0", "\n")


def read_number(path: Path) -> int | None:
    """Return the whole number a file holds, or ``None`` if it is not there or holds something else."""
    text = read_text(path)
    try:
        return int(text.split()[0]) if text else None
    except ValueError:
        return None


def packages(root: Path, *names: str) -> dict[str, str]:
    """Return the versions of those Debian packages that are installed, read from dpkg's status file.

    Stanzas end with an empty line (man 5 deb822); ``Status: install ok installed`` marks what is there
    and not only known (man 1 dpkg).
    """
    status = read_text(root / "var/lib/dpkg/status")
    if status is None:
        return {}
    wanted = set(names)
    return {name: version for name, version in _installed(status) if name in wanted}


def _installed(status: str) -> Iterator[tuple[str, str]]:
    for stanza in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status", "").endswith(" installed") and "Package" in fields and "Version" in fields:
            yield fields["Package"], fields["Version"]

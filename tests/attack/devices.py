"""Devices of an attack's own: as root a fault of the product could replace the system's by a file."""

from __future__ import annotations

import functools
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["DEVICES", "devices_can_be_made", "make_device"]

DEVICES = {"null": 3, "zero": 5, "full": 7}
"""Minor numbers of the memory devices (major number 1) in Linux's Documentation/admin-guide/devices.txt."""


def make_device(path: Path, name: str) -> None:
    """Make a device; only root may."""
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, DEVICES[name]))


@functools.cache
def devices_can_be_made() -> bool:
    """Return whether this user may make devices and use them where temporary files are."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            make_device(Path(folder) / "zero", "zero")
            return (Path(folder) / "zero").open("rb").read(1) == b"\0"
        except OSError:
            return False

"""Texts that may be published: no folders, names of people and machines, addresses, serial numbers."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mimamba_edge.machine.files import read_text

__all__ = ["personal_texts", "redacted"]

_ROOT = Path("/")
_SERIALS = (
    "proc/device-tree/serial-number",
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/board_serial",
    "sys/class/dmi/id/chassis_serial",
    "sys/class/dmi/id/product_uuid",
    "etc/machine-id",
)
_NO_NAMES = {
    *("root", "user", "users", "home", "nvidia", "jetson", "ubuntu", "debian", "linux", "localhost", "tegra"),
    *("orin", "nano", "thor", "none", "default string", "to be filled by o.e.m.", "not specified", "host"),
    *("admin", "bench", "cpu", "dev", "device", "docker", "edge", "eeg", "gpu", "mimamba", "muse", "runner"),
}
"""Users, machines and empty serial numbers that images come with, and words of this
product that users of devices are called by: they name nobody."""
_SYSTEM = {"usr", "opt", "etc", "lib", "lib64", "bin", "sbin", "proc", "sys", "dev", "boot", "var"}
"""Folders at the top whose paths are the same on all machines."""
_PATTERNS = (
    (re.compile(r"(?<=/dev/serial/by-id/)[^\s'\",;:)]+"), "SERIAL"),
    (re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])"), "MAC"),
    (re.compile(r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "EMAIL"),
    (
        re.compile(
            r"(?i)\b((?:serial(?:[ _-]?(?:number|num|no\.?))?|s/n)\b\s*[:=#]?\s*)(?=[\w-]*\d)[\w-]{5,}"
        ),
        r"\1SERIAL",
    ),
)
_PATH = re.compile(r"(?<![\w.~)/-])(?:~\w*)?/(?!/)[^\s'\",;:()\[\]<>|]+")


def personal_texts(root: Path = _ROOT) -> dict[str, str]:
    """Return what tells this machine and its user from others, and what is to stand instead.

    Home, working folder and environment of Python; names of the user; names of the machine; its serial
    numbers, as far as this user may read them.
    """
    folders = [sys.prefix, os.environ.get("HOME", "")]
    with contextlib.suppress(OSError):
        folders.append(str(Path.cwd()))
    names = [os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")]
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(os.getuid())
        full = user.pw_gecos.split(",")[0]
        names += [user.pw_name, full, *full.split()]
        folders.append(user.pw_dir)
    found = dict.fromkeys(filter(_is_personal, folders), "~")
    host = socket.gethostname()
    serials = [read_text(root / name) or "" for name in _SERIALS]
    for texts, short in ((names, "USER"), ((host, host.split(".")[0]), "HOST"), (serials, "SERIAL")):
        for text in texts:
            # Shorter texts, and serial numbers such as 0, stand in other words.
            if len(text) > (3 if short == "SERIAL" else 1) and text.lower() not in _NO_NAMES:
                found.setdefault(text, short)
    return found


def _is_personal(path: str) -> bool:
    parts = path.strip("/").split("/")
    return path.startswith("/") and parts != [""] and parts[0] not in _SYSTEM


def redacted(value: Any, personal: Mapping[str, str]) -> Any:
    """Return plain values (JSON's) with all texts fit to be published; keys stay.

    Paths other than the system's keep their last part. MAC addresses, UUIDs, e-mail addresses and what
    follows the word "serial" go, whomever they belong to.

    Args:
        value: Texts, numbers, and lists and objects of them.
        personal: What :func:`personal_texts` found; empty to look for patterns only.
    """
    if isinstance(value, Mapping):
        return {key: redacted(held, personal) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(held, personal) for held in value]
    return _plain(value, personal) if isinstance(value, str) else value


def _plain(text: str, personal: Mapping[str, str]) -> str:
    paths, words = _split(personal)
    for long in paths:
        # Also where it is part of no longer name: the folder /a/b, not the beginning of /a/bc.
        text = re.sub(re.escape(long) + r"(?![\w.-])", personal[long], text)
    for pattern, short in _PATTERNS:
        text = pattern.sub(short, text)
    for word in words:
        text = re.sub(rf"(?i)(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", personal[word], text)
    return _PATH.sub(lambda match: _short(match[0]), text)


def _split(personal: Iterable[str]) -> tuple[list[str], list[str]]:
    longest = sorted(personal, key=len, reverse=True)
    return [one for one in longest if one.startswith("/")], [
        one for one in longest if not one.startswith("/")
    ]


def _short(path: str) -> str:
    start, *parts = path.rstrip("/").split("/")
    if not start and parts[:1] and parts[0] in _SYSTEM:
        return path
    top = "home" if start else "".join(parts[:1])
    named = 0 if start else 2 if top in ("home", "Users") else 1
    last = parts[named:][-1:]
    return "/".join(["~" if top in ("home", "Users", "root") else "…", *last])

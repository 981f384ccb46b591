"""What ``torch.load`` may be given: looked at before torch reads a byte.

``torch.load(weights_only=True)`` runs no code, but it allocates what a pickle asks for (a ``bytearray`` of
1 TB), inflates what a zip claims, and hashes what a dict is keyed by, however often a tuple stands in itself.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

from mimamba_edge.errors import shorten
from mimamba_edge.family import MOST_PARAMETERS

__all__ = ["MOST_BYTES", "Forbidden", "check_archive"]

MOST_BYTES = 8 * MOST_PARAMETERS + (16 << 20)
"""Of a checkpoint: the weights of the largest network as float64, and the rest."""
_MOST_ENTRIES = 20_000
_MOST_PICKLE = 1 << 20
_MOST_STEPS = 100_000
"""Of a pickle; a network of the most layers takes some 30,000."""
_MOST_WEIGHT = 1_000_000
_NAMES = re.compile(r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch \w+Storage")
"""What a dict of tensors is pickled by; nested, sparse, meta and quantised ones need other names."""
_MARK = -1


class Forbidden(Exception):
    """A pickle that asks for more than dense tensors and plain values."""


def check_archive(path: Path) -> None:
    """Check the zip archive that ``torch.save`` writes, and the pickle in it.

    Raises:
        Forbidden: The pickle names what no checkpoint needs.
        ValueError: Its sizes are beyond bounds.
        zipfile.BadZipFile, OSError: It is damaged, or no archive.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(entries) > _MOST_ENTRIES or len(set(names)) < len(names):
            raise ValueError(f"{len(entries):,} entries in the archive, some of one name or too many")
        # torch stores and never compresses: a compressed entry is foreign, and may be a bomb.
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
            raise ValueError("compressed or encrypted entries, which torch.save does not write")
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise ValueError(f"entries of more than {MOST_BYTES:,} bytes together")
        pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
        if any(entry.file_size > _MOST_PICKLE for entry in pickles):
            raise ValueError(f"a pickle of more than {_MOST_PICKLE:,} bytes")
        for entry in pickles:
            _check_pickle(archive.read(entry))


def _check_pickle(data: bytes) -> None:
    """Go through a pickle without making anything: names, and how large what it builds is when written out.

    The stack holds that size for each value. A tuple that stands twice in a tuple, and so on fifty times, has
    few bytes and takes centuries to hash.
    """
    stack: list[int] = []
    memo: dict[Any, int] = {}
    for step, (code, argument, _) in enumerate(pickletools.genops(data)):
        if step > _MOST_STEPS:
            raise ValueError(f"a pickle of more than {_MOST_STEPS:,} steps")
        if code.name in ("GLOBAL", "INST") and not _NAMES.fullmatch(str(argument)):
            raise Forbidden(f"GLOBAL {shorten(str(argument).replace(' ', '.'), 200)}")
        if code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "OBJ"):
            raise Forbidden(code.name)
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1] if stack else 1
        elif code.name == "MEMOIZE":
            memo[len(memo)] = stack[-1] if stack else 1
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument, 1))
        else:
            _step(stack, code)
        if stack and stack[-1] > _MOST_WEIGHT:
            raise ValueError("values inside each other that would not end when written out")


def _step(stack: list[int], code: pickletools.OpcodeInfo) -> None:
    """Take what an opcode takes from the stack, and put there what it puts."""
    before = list(code.stack_before)
    weight = 1
    if pickletools.markobject in before:
        while stack and (top := stack.pop()) != _MARK:
            weight += top
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        weight += stack.pop() if stack else 0
    stack.extend(_MARK if kind is pickletools.markobject else weight for kind in code.stack_after)

"""docs/jetson.md on arm64: its commands in an emulated Debian, archives installed there, decisions compared.

    python -m benchmarks arm64        (make arm64-check)

Lays out a root file system with Python 3.11 in ``build/arm64``, types the page's commands there and here in
their order (``page.py`` says what becomes of each), compares the stream's decisions with those made here,
checks the archives of `plugin build` against what JetPack ships, and installs them in a second root that has
neither a compiler nor anything else of the page. Takes half an hour; a run that was ended goes on after the
last command that passed, where the product is the same. Times under emulation say nothing, so nothing is
recorded. Ubuntu 22.04 of JetPack 6 has Python 3.10 and glibc 2.35; Debian 12 in its place has 3.11 and 2.36.
What stands below /proc and /dev inside is this machine's: no device tree and no node of a GPU.

Needs no root: Debian or Ubuntu with `apt install qemu-user-static debian-archive-keyring
g++-aarch64-linux-gnu`, and a kernel that gives user namespaces an emulator of their own (6.7 or newer). With
TENSORRT_ROOT, and an nvcc whose toolkit has libraries for Arm, TensorRT's half too.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.arm64 import archives, verbs, walk
from benchmarks.arm64.journal import Journal
from benchmarks.arm64.system import WORK, Missing, arm64, lay_out
from benchmarks.arm64.verbs import compare
from mimamba_edge.console import show_table

__all__ = ["Missing", "compare", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Run all; return 1 for a finding, 2 where it could not run."""
    del arguments
    rows: list[walk.Row] = []

    def note(row: walk.Row) -> None:
        what, found, verdict = row
        sys.stderr.write(f"{verdict:<8}{what}\n        {found}\n")
        rows.append((what, " ".join(found.split())[:200], verdict))

    try:
        cuda = walk.cross_cuda()
        journal = Journal(WORK / "journal.json", walk.made_of(cuda))
        if not journal.begun:
            journal.forget()
            sys.stderr.write("laying out a root file system of packages, and training a model\n")
            lay_out()
            walk.prepare()
            journal.begin()
        inside = arm64(
            "python3", "-c", "import platform; print(platform.machine(), platform.python_version())"
        )
        if inside.returncode:
            raise Missing(f"nothing runs inside; a kernel from 6.7 on is needed\n{inside.stderr[-500:]}")
        for steps in (walk.Walk(journal, cuda).rows(), verbs.check(), archives.check()):
            for row in steps:
                note(row)
    except Missing as error:
        sys.stderr.write(f"arm64-check: {error}\n")
        return 2
    show_table(f"{inside.stdout.strip()}, emulated", ("", "found", "verdict"), rows, left=(0, 1, 2))
    return 1 if any(row[2] == "missed" for row in rows) else 0

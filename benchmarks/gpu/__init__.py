"""GPU level 2: speed of the kernels and the network, against other code and the hardware's limits.

    python -m benchmarks gpu [scan|mstb|network|training|all] [--quick] [--checkpoint FILE] [-o RECORD]

Needs a CUDA device, nvcc and a torch built for CUDA, and nothing from the network; builds for the device it
finds. ``MAMBA_SSM_SOURCE`` names the unpacked source distribution of mamba-ssm, whose selective scan is then
built and measured beside ours; without it an installed ``selective_scan_cuda`` is taken. ``MIMAMBA_DATA``
names the folder that holds the recordings ``muse-ssvep``; without it windows are the built-in model's.

Nothing is timed before its output agrees with the float64 oracle. Exit 0: all bars are met; 1: one is missed,
or an output was wrong; 2: something could not be measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from mimamba_edge.errors import DependencyError

PARTS = ("mstb", "network", "scan", "training")
NEEDED = ("msgspec", "numpy", "rich", "scipy", "torch", "typer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="all")
    parser.add_argument(
        "--quick", action="store_true", help="few shapes: does it run? No bar over all of them is passed"
    )
    parser.add_argument("--checkpoint", type=Path, help="the network's; otherwise an untrained one")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RECORD", help="otherwise benchmarks/results/..."
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the suite.

    Raises:
        DependencyError: This Python lacks a package.
        MimambaError: Nothing could be measured.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise DependencyError(
            "this Python lacks packages that the measurement needs",
            got=f"{sys.executable} without {', '.join(missing)}",
            do="install them, or name a Python that has them: make gpu-bench GPU_PYTHON=/path/to/python3",
        )
    from benchmarks.gpu import suite

    return suite.run(arguments)

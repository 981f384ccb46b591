"""Which instructions of the kernels' PTX the op tests execute.

python -m tests.ptx.coverage           a line for each kernel
python -m tests.ptx.coverage --never   and those that never ran
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.plugins.conftest import tensorrt_headers
from tests.ptx.build import project
from tests.ptx.device import Kernels

TESTS = Path(__file__).parents[1] / "plugins"


def main(words: list[str]) -> int:
    """Run the op tests in this process, then ask the simulator."""
    tests = [str(TESTS / f"test_{name}_kernel.py") for name in ("scan", "mstb", "every")]
    failed = int(pytest.main(["-q", "-p", "no:cacheprovider", *tests]))
    kernels = Kernels(project(tensorrt_headers()) / "lib" / "libmimamba_cuda.so")
    total = executed = 0
    for line in kernels.coverage(never="--never" in words):
        if line.startswith(" "):
            print(line)
            continue
        name, count, ran = line.rsplit("\t", 2)
        total, executed = total + int(count), executed + int(ran)
        print(f"{int(ran):6} of {int(count):6} {100 * int(ran) / int(count):5.1f} %  {name}")
    print(f"{executed:6} of {total:6} {100 * executed / total:5.1f} %  all kernels")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The harness on the simulated device: real launch stubs, attributes, workspaces, streams and graphs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

# What harness/memory.cpp fills memory with: bytes that a kernel must not read, bytes that it must not touch.
FILLS = {"PTXSIM_POISON": str(0xFF), "PTXSIM_CANARY": str(0x5A)}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **FILLS, **environment})


def assert_clean(done: subprocess.CompletedProcess[str]) -> None:
    assert "ptxsim:" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d{4,} checks passed, 0 failed$", done.stdout, re.M)


def test_the_launchers_hold_and_every_kernel_is_launched(simulated: Path) -> None:
    done = run(simulated / "build" / "harness" / "mimamba_harness_kernels", "--small", "--seed", "3")
    assert_clean(done)
    assert "every kernel was launched" in done.stdout


def test_the_plugins_hold(simulated: Path) -> None:
    harness = simulated / "build" / "harness" / "mimamba_harness"
    if not harness.is_file():
        pytest.skip(
            "needs TensorRT's headers: set TENSORRT_ROOT to a folder that holds include/ of NVIDIA/TensorRT"
        )
    assert_clean(run(harness, simulated / "lib" / "libmimamba_plugin.so", "--small", "--seed", "3"))


def test_a_device_that_refuses_is_heard(simulated: Path) -> None:
    harness = simulated / "build" / "harness" / "mimamba_harness_kernels"
    done = run(harness, "--small", "--seed", "3", PTXSIM_MEMORY_LIMIT="1000")
    assert done.returncode not in (0, 86)
    assert "out of memory" in done.stdout + done.stderr

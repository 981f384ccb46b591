"""``make gpu-test`` with stand-ins for nvcc, CMake, compute-sanitizer and the programs they build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash: apt install bash")

STANDINS = {
    "nvcc": """case "$*" in
  *--version*) printf 'nvcc\\nCuda compilation tools, release 13.0\\nBuild 1\\n' ;;
  *--dryrun*) echo '#$ TOP=/nowhere' >&2 ;;
  *) printf '#!/bin/bash\\necho "Some GPU|90|132|13000|13000"\\n' >"${@: -1}" && chmod +x "${@: -1}" ;;
esac""",
    "cmake": """echo "cmake $* with nvcc $NVCC_APPEND_FLAGS" >>"$CALLS"
[ "$1" = --build ] || { echo "-- TensorRT headers 10.3.0: x"; exit 0; }
mkdir -p "$2/harness" "$2/onnxruntime" && touch "$2/libmimamba_plugin.so"
cp "$PROGRAM" "$2/harness/mimamba_harness" && cp "$PROGRAM" "$2/harness/mimamba_harness_kernels"
cp "$PROGRAM" "$2/onnxruntime/mimamba_ort_cuda_driver" """,
    "compute-sanitizer": """echo "compute-sanitizer $*" >>"$CALLS"
while [ ! -x "$1" ] || [ -d "$1" ]; do shift; done
"$@" """,
}
PROGRAM = """#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
echo "seed 7 (--seed repeats it)"
case "$*" in *"$SLOW"*) sleep 60 ;; esac
echo "ok      scan numbers: 12 checks; largest error 0.5 of what is allowed"
[ "$(basename "$0")" != mimamba_harness_kernels ] || echo "kernel scan_kernel<4, 4>: 3 launches"
case "$*" in *"$WRONG"*) echo "11 checks passed, 1 failed"; exit 1 ;; esac
echo "12 checks passed, 0 failed"
"""


class Run:
    def __init__(self, folder: Path, *, headers: bool = True, **environment: str) -> None:
        tools, calls = folder / "tools", folder / "calls"
        tools.mkdir()
        for name, body in {**STANDINS, "program": PROGRAM.partition("\n")[2]}.items():
            (tools / name).write_text(f"#!/bin/bash\n{body}\n")
            (tools / name).chmod(0o755)
        for name in ("plugins", "benchmarks", ".venv/bin"):
            (folder / name).mkdir(parents=True)
        # A checkout of its own: the record goes beside it, not into this one.
        shutil.copy(ROOT / "plugins" / "gpu_test.sh", folder / "plugins")
        for name in ("__init__.py", "record.py"):
            shutil.copy(ROOT / "benchmarks" / name, folder / "benchmarks")
        python = folder / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (folder / "include").mkdir()
        (folder / "include" / "NvInfer.h").touch()
        given = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "PROGRAM": f"{tools}/program"}
        given |= {"SLOW": "never", "WRONG": "never"} | ({"TENSORRT_ROOT": str(folder)} if headers else {})
        held = {name: value for name, value in os.environ.items() if name != "TENSORRT_ROOT"}
        started = time.monotonic()
        done = subprocess.run(
            [str(folder / "plugins" / "gpu_test.sh")],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**held, **given, **environment},
        )
        self.seconds = time.monotonic() - started
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.folder = folder.resolve()
        self.calls = calls.read_text().splitlines()

    @property
    def record(self) -> dict[str, Any]:
        path = self.out.split("record: ")[1].splitlines()[0]
        assert Path(path).is_relative_to(self.folder), "a record of nothing in a real checkout"
        record: dict[str, Any] = json.loads(Path(path).read_text())
        return record

    @property
    def results(self) -> dict[str, str]:
        return {row["step"]: row["result"] for row in self.record["steps"]}


def test_every_step_is_run_and_recorded(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.code == 0, run.out + run.err
    tools = [f"compute-sanitizer {name}" for name in ("memcheck", "racecheck", "synccheck", "initcheck")]
    ops = ["ops for ONNX Runtime", "memcheck, ops for ONNX Runtime"]
    steps = ["build for sm_90", "kernels, all sizes", "plugins, all sizes", *tools, "memcheck, plugins", *ops]
    assert run.results == dict.fromkeys(steps, "ok")
    assert run.record["verified"] is True
    assert run.record["launches"] == {"scan_kernel<4, 4>": 3}
    assert {group["step"] for group in run.record["groups"]} == {"kernels, all sizes", "plugins, all sizes"}
    assert run.record["gpu"]["name"] == "Some GPU"


def test_a_warning_of_the_compiler_does_not_end_it(tmp_path: Path) -> None:
    """The compiler of a machine with a GPU may be newer than any that the sources were tried with."""
    configured = next(call for call in Run(tmp_path).calls if "-DCMAKE_BUILD_TYPE" in call)
    assert "-DMIMAMBA_STRICT=OFF" in configured
    assert "Werror" not in configured
    assert "with nvcc  -allow-unsupported-compiler" in configured


def test_what_the_tools_are_told(tmp_path: Path) -> None:
    calls = [call for call in Run(tmp_path).calls if call.startswith("compute-sanitizer")]
    assert all("--error-exitcode" in call and "--small" in call for call in calls)
    bare = [call for call in calls if "--no-poison" in call]
    assert bare == [call for call in calls if "--tool initcheck" in call], "poison would count as written"
    # One check has the device refuse a launch: no fault of the kernels.
    assert all("--report-api-errors no" in call for call in calls if "memcheck" in call)


def test_a_failure_is_told_and_recorded(tmp_path: Path) -> None:
    run = Run(tmp_path, WRONG="--full")
    assert run.code == 1, run.out + run.err
    assert run.results["kernels, all sizes"] == "FAILED (exit 1)"
    assert run.results["compute-sanitizer racecheck"] == "ok"
    assert run.record["verified"] is False


def test_what_could_not_be_run_is_not_passed(tmp_path: Path) -> None:
    if any(Path(folder, "NvInfer.h").exists() for folder in ("/usr/include", "/usr/local/include")):
        pytest.skip("needs a system without TensorRT's headers")
    run = Run(tmp_path, headers=False)
    assert run.code == 2, run.out + run.err
    assert "not run: no TensorRT headers" in run.results["plugins, all sizes"]
    assert run.record["verified"] is False


def test_it_ends_in_time(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW="--full", GPU_TEST_SECONDS="4")
    assert run.code == 1, run.out + run.err
    assert run.results["kernels, all sizes"].startswith("ran past ")
    assert run.results["compute-sanitizer racecheck"] == "not run: the time for all steps is spent"
    assert run.seconds < 20

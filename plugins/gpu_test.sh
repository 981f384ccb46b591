#!/usr/bin/env bash
# Level 1 on a machine with a CUDA device: kernels, ops for ONNX Runtime and plugins against the float64 reference,
# at all sizes and by every path, then under compute-sanitizer at small ones. Builds for the device it finds,
# whatever its compiler warns of, needs nothing from the network, and ends within nine minutes.
#
#     plugins/gpu_test.sh
#
# TENSORRT_ROOT names a folder that holds include/NvInfer.h (no TensorRT library is needed); without it, and
# without headers in the system's path, only the kernels are tested. Prints a short table last and writes a record
# to benchmarks/results/DEVICE/DATE-gpu-test.json. Exit status: 0 all was run and holds, 1 something does not hold,
# 2 something could not be run.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

fail() { # what, what to do
  printf 'gpu_test.sh: %s\n  do: %s\n' "$1" "$2" >&2
  exit 2
}

[ $# = 0 ] || fail "it takes no arguments, got: $*" "set TENSORRT_ROOT if TensorRT's headers are not in the system's path"
command -v nvcc >/dev/null || fail "nvcc was not found" \
  "install the CUDA toolkit, 12.6 or newer, and put its bin folder on PATH (/usr/local/cuda/bin)"
for tool in cmake timeout; do
  command -v $tool >/dev/null || fail "$tool was not found" "install it: apt install cmake coreutils"
done
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || fail "Python 3.10 or newer was not found" \
  "install it, or make the virtual environment (make test); it writes the record"

# A C++ compiler that this nvcc does not know yet is to be tried, not refused.
export NVCC_APPEND_FLAGS="${NVCC_APPEND_FLAGS:-} -allow-unsupported-compiler"

work=$root/build/gpu-test
mkdir -p "$work" || fail "the folder $work cannot be made" "make it writable"
log=$work/log.txt
: >"$log" || fail "the file $log cannot be written" "make it writable"

# What the device is, from the CUDA runtime itself: nvidia-smi is not on every Jetson.
cat >"$work/device.cpp" <<'CPP'
#include <cuda_runtime_api.h>
#include <cstdio>
int main() {
  cudaDeviceProp device;
  int driver = 0, runtime = 0;
  cudaError_t error = cudaGetDeviceProperties(&device, 0);
  if (error == cudaSuccess)
    error = cudaFree(nullptr);
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
    return 1;
  }
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  std::printf("%s|%d%d|%d|%d|%d\n", device.name, device.major, device.minor, device.multiProcessorCount, driver, runtime);
}
CPP
timeout 60 nvcc -std=c++17 -x c++ "$work/device.cpp" -o "$work/device" >>"$log" 2>&1 ||
  fail "nvcc cannot build a program, see $log" "check the CUDA toolkit and the C++ compiler it uses"
device=$(timeout 60 "$work/device" 2>"$work/device.txt") ||
  fail "no CUDA device can be used: $(cat "$work/device.txt")" "run it on a machine with one, with a driver that fits nvcc's CUDA"
IFS='|' read -r name arch multiprocessors driver runtime <<<"$device"
printf '%s, sm_%s, CUDA %s\n' "$name" "$arch" "$runtime" >&2

toolkit=$(nvcc --dryrun -x cu -c /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')
headers=
for folder in "${TENSORRT_ROOT:+$TENSORRT_ROOT/include}" /usr/include/"$(uname -m)"-linux-gnu /usr/include /usr/local/include; do
  [ -n "$folder" ] && [ -f "$folder/NvInfer.h" ] && headers=$folder && break
done
[ -z "${TENSORRT_ROOT:-}" ] || [ "$headers" = "$TENSORRT_ROOT/include" ] ||
  fail "TENSORRT_ROOT ($TENSORRT_ROOT) has no include/NvInfer.h" "name the folder above include/, or unset it to test the kernels alone"

build=$work/sm_$arch${headers:+-plugins}
targets="mimamba_harness_kernels mimamba_ort_cuda_driver"
[ -z "$headers" ] || targets+=" mimamba_plugin mimamba_harness"
steps=() status=0
deadline=${GPU_TEST_SECONDS:-500} # from the start of this script; what is left then is not run

# Runs a step of the test within a time limit and what is left of all; its words go to the log, and a line of the
# table is kept.
step() { # name, seconds, command...
  local label=$1 limit=$2 started=$SECONDS before after code seed=- result
  shift 2
  [ "$limit" -le $((deadline - started)) ] || limit=$((deadline - started))
  [ "$limit" -gt 0 ] || { skip "$label" "the time for all steps is spent"; return 1; }
  printf '%s ...\n' "$label" >&2
  printf '\n== %s\n' "$label" >>"$log"
  before=$(wc -c <"$log")
  timeout -k 10 "$limit" "$@" >>"$log" 2>&1
  code=$?
  after=$(tail -c +$((before + 1)) "$log")
  passed=$(sed -n 's/^\([0-9]*\) checks passed, .*/\1/p' <<<"$after" | tail -1)
  failed=$(sed -n 's/.* checks passed, \([0-9]*\) failed$/\1/p' <<<"$after" | tail -1)
  seed=$(sed -n 's/^seed \([0-9]*\) .*/\1/p' <<<"$after" | tail -1)
  case $code in
    0) result=ok ;;
    124 | 137) result="ran past $limit s" ;;
    *) result="FAILED (exit $code)" ;;
  esac
  [ $code = 0 ] || status=1
  steps+=("$label|${passed:--}|${failed:--}|$((SECONDS - started))|${seed:--}|$result")
  return $code
}
# What was not run is not passed.
skip() {
  steps+=("$1|-|-|0|-|not run: $2")
  [ $status != 0 ] || status=2
}

export here build arch targets
configure='
  cmake -S "$here" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMIMAMBA_STRICT=OFF -DCMAKE_CUDA_ARCHITECTURES="$arch" \
    ${TENSORRT_ROOT:+-DTENSORRT_ROOT="$TENSORRT_ROOT"} &&
    cmake --build "$build" -j "$(nproc)" --target $targets'
find_built() { find "$build" -name "$1" -type f | head -1; }

if step "build for sm_$arch" 240 bash -c "$configure"; then
  kernels=$(find_built mimamba_harness_kernels)
  step "kernels, all sizes" 120 "$kernels" --full
  driver=$(find_built mimamba_ort_cuda_driver)
  step "ops for ONNX Runtime" 60 "$driver" --full
  if [ -n "$headers" ]; then
    harness=$(find_built mimamba_harness) library=$(find_built libmimamba_plugin.so)
    step "plugins, all sizes" 120 "$harness" "$library" --full
  else
    skip "plugins, all sizes" "no TensorRT headers, set TENSORRT_ROOT"
  fi
  sanitizer=$(command -v compute-sanitizer || ls "$toolkit"/{bin,compute-sanitizer}/compute-sanitizer 2>/dev/null | head -1)
  # One seed: what one tool finds, another one can be asked about.
  check() { # name, tool and its options, then the program
    if [ -n "$sanitizer" ]; then
      step "$1" 75 "$sanitizer" --error-exitcode 9 --tool "${@:2}" --small --seed "$seed"
    else
      skip "$1" "compute-sanitizer was not found"
    fi
  }
  seed=$((RANDOM * 32768 + RANDOM))
  # A launch that the device must refuse is one of the checks: that error of a call is no finding.
  check "compute-sanitizer memcheck" memcheck --report-api-errors no "$kernels"
  check "compute-sanitizer racecheck" racecheck "$kernels"
  check "compute-sanitizer synccheck" synccheck "$kernels"
  # Poison is written memory: without it, outputs and workspace hold what nothing wrote.
  check "compute-sanitizer initcheck" initcheck "$kernels" --no-poison
  check "memcheck, ops for ONNX Runtime" memcheck --report-api-errors no "$driver"
  [ -z "$headers" ] || check "memcheck, plugins" memcheck --report-api-errors no "$harness" "$library"
fi

record=$(cd "$root" && PYTHONPATH=$root "$python" - "$root" "$log" "$device" "${steps[@]}" <<'PYTHON'
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from benchmarks.record import write_record
from mimamba_edge.bench.environment import describe

root, log, device, *steps = sys.argv[1:]
name, arch, multiprocessors, driver, runtime = device.split("|")
rows = []
for step in steps:
    label, passed, failed, seconds, seed, result = step.split("|")
    number = lambda text: int(text) if text.isdigit() else None
    rows.append({"step": label, "passed": number(passed), "failed": number(failed),
                 "seconds": int(seconds), "seed": number(seed), "result": result})
said = Path(log).read_text(errors="replace")
parts = re.split(r"^== (.*)$", said, flags=re.M)
full = {step: text for step, text in zip(parts[1::2], parts[2::2]) if step.endswith("all sizes")}
groups = [
    {"step": step, "group": m[2], "ok": m[1] == "ok", "said": m[3]}
    for step, text in full.items()
    for m in re.finditer(r"^(ok|FAILED)\s+(.*?): (\d+ checks.*)$", text, re.M)
]
launches = {m[1]: int(m[2]) for text in full.values()
            for m in re.finditer(r"^kernel (.*): (\d+) launches$", text, re.M)}
headers = re.search(r"^TensorRT headers ([0-9.]+)$", said, re.M)
version = subprocess.run(["nvcc", "--version"], capture_output=True, text=True).stdout.strip().splitlines()
figures = {
    "gpu": {"name": name, "sm": int(arch), "multiprocessors": int(multiprocessors),
            "cuda_driver": int(driver), "cuda_runtime": int(runtime)},
    "nvcc": version[-2] if len(version) > 1 else None,
    "tensorrt_headers": headers[1] if headers else None,
    "steps": rows,
    "groups": groups,
    "launches": launches,
}
# Whether everything was run and held: a step left out proves nothing.
verified = all(row["result"] == "ok" for row in rows)
given = Namespace(benchmark="gpu-test", command="plugins/gpu_test.sh", environment=describe())
path = write_record(given, figures, verified=verified, device=name)
print(path)
PYTHON
) || { record="not written"; [ $status = 0 ] && status=2; }

[ $status = 0 ] || { printf '\n%s ends with:\n' "$log" && tail -25 "$log"; } >&2
printf '\n%-28s %8s %7s %6s  %s\n' "$name" passed failed time result
for line in "${steps[@]}"; do
  IFS='|' read -r label passed failed seconds _ result <<<"$line"
  printf '%-28s %8s %7s %5ss  %s\n' "$label" "$passed" "$failed" "$seconds" "$result"
done
printf 'record: %s\nlog: %s\n' "$record" "$log"
exit $status

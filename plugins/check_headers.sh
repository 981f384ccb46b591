#!/usr/bin/env bash
# Builds the plugins and their harness against the headers of one or more TensorRT versions, on the host, with
# address and undefined-behaviour sanitizers and warnings as errors, and runs the harness. No GPU, no nvcc and no
# TensorRT library is needed; of CUDA only its headers. The float64 reference computes in place of the kernels: what
# is shown is that the plugins compile, answer and pass on what they are given.
#
#     plugins/check_headers.sh DIR...        each DIR holds include/NvInfer.h
#
# They are compiled as the C++ that CMakeLists.txt takes for these headers (17; 20 from TensorRT 11.5 on), or as
# what CXX_STANDARD says.
# Prints a table. Exit status: 0 all hold, 1 one does not, 2 could not run.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)

fail() { # what, what to do
  printf 'check_headers.sh: %s\n  do: %s\n' "$1" "$2" >&2
  exit 2
}

[ $# -gt 0 ] || fail "no folder was named" \
  "plugins/check_headers.sh DIR..., each DIR holding include/NvInfer.h (NVIDIA/TensorRT on GitHub, one tag each)"
for dir in "$@"; do
  [ -d "$dir" ] || fail "there is no folder $dir" "name a folder that holds include/NvInfer.h"
  [ -f "$dir/include/NvInfer.h" ] || fail "$dir has no include/NvInfer.h" \
    "name the folder above include/, of NVIDIA/TensorRT on GitHub or of a TensorRT archive"
done
command -v cmake >/dev/null || fail "cmake was not found" "install it: apt install cmake"
compiler=${CXX:-}
[ -n "$compiler" ] || for name in g++ clang++; do
  command -v "$name" >/dev/null && compiler=$name && break
done
[ -n "$compiler" ] && command -v "$compiler" >/dev/null ||
  fail "no C++ compiler was found${CXX:+: CXX names $CXX}" "install one: apt install g++"

# Where cuda_runtime_api.h lies: CUDA_HOME, nvcc's own folder, the usual place, NVIDIA's Python wheels.
cuda_include() {
  local nvcc_top python
  nvcc_top=$(nvcc --dryrun -x cu -c /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')
  for folder in "${CUDA_HOME:+$CUDA_HOME/include}" "${nvcc_top:+$nvcc_top/include}" /usr/local/cuda/include; do
    [ -n "$folder" ] && [ -f "$folder/cuda_runtime_api.h" ] && (cd "$folder" && pwd) && return
  done
  for python in "$here/../.venv/bin/python" python3; do
    command -v "$python" >/dev/null && "$python" - <<'PYTHON' && return
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("nvidia")
for root in (spec.submodule_search_locations or []) if spec else []:
    for found in sorted(pathlib.Path(root).glob("*/include/cuda_runtime_api.h")):
        print(found.parent)
        sys.exit(0)
sys.exit(1)
PYTHON
  done
  return 1
}
cuda=$(cuda_include) || fail "CUDA's headers were not found (cuda_runtime_api.h)" \
  "install the CUDA toolkit, or set CUDA_HOME, or pip install nvidia-cuda-runtime"

version_of() { # the headers' own words; their macros are defined through others in newer versions
  printf '#include <NvInferVersion.h>\nNV_TENSORRT_MAJOR NV_TENSORRT_MINOR NV_TENSORRT_PATCH\n' |
    "$compiler" -E -P -I"$1/include" -x c++ - 2>/dev/null | tail -1 | tr ' ' '.'
}

work=$(mktemp -d "${TMPDIR:-/tmp}/check-headers.XXXXXX") || fail "no temporary folder could be made" "free space in /tmp"
export UBSAN_OPTIONS=print_stacktrace=1 CUDA_HOME=${cuda%/include}
# One build folder for all: what sees no TensorRT header is compiled once.
build=$work/build rows=() bad=0 number=0
for dir in "$@"; do
  number=$((number + 1)) started=$SECONDS
  dir=$(cd "$dir" && pwd)
  version=$(version_of "$dir")
  log=$work/$number-$version.log
  printf '%s: building\n' "$version" >&2
  built=yes checks=- result=failed
  if { cmake -S "$here" -B "$build" -DMIMAMBA_HOST_KERNELS=ON -DMIMAMBA_STRICT=ON -DMIMAMBA_SANITIZE=ON -DTENSORRT_ROOT="$dir" \
    -DCMAKE_CXX_STANDARD="${CXX_STANDARD:-}" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1" &&
    cmake --build "$build" -j "$(nproc)" --target mimamba_plugin mimamba_harness; } >"$log" 2>&1; then
    printf '%s: running\n' "$version" >&2
    library=$(find "$build" -name 'libmimamba_plugin.so' | head -1)
    harness=$(find "$build" -name mimamba_harness -type f | head -1)
    if "$harness" "$library" --small >>"$log" 2>&1; then result=ok; fi
    checks=$(sed -n 's/^\([0-9]*\) checks passed, .*/\1/p' "$log" | tail -1)
  else
    built=no
  fi
  [ "$result" = ok ] || bad=1
  standard=$(grep -s 'tensorrt/creators.cpp' "$build/compile_commands.json" | sed -n 's/.*-std=\(c++[0-9a-z]*\).*/\1/p' | head -1)
  rows+=("$(printf '%-10s %-6s %-6s %8s %8ss  %s' "$version" "$built" "${standard:--}" "${checks:--}" $((SECONDS - started)) \
    "$([ "$result" = ok ] && echo ok || echo "FAILED, see $log")")")
done

printf '%-10s %-6s %-6s %8s %9s  %s\n' TensorRT built as checks time result
printf '%s\n' "${rows[@]}"
if [ $bad = 0 ]; then
  rm -rf "$work"
else
  for log in "$work"/*.log; do
    grep -q ' 0 failed$' "$log" && continue
    printf '\n%s ends with:\n' "$log" >&2
    tail -15 "$log" >&2
  done
fi
exit $bad

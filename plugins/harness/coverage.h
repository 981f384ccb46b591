// Which kernels of this program were launched. The linker sends the calls that nvcc writes for every kernel
// (registering and launching) through coverage.cpp first: see CMakeLists.txt.
#pragma once

#include "checks.h"

namespace harness {

// Prints every kernel with its launches. One that was never launched is a failure.
void check_coverage(Checks &checks);

} // namespace harness

// Kernels of the fat binaries of this program.
#pragma once

#include "kernel.h"

namespace ptx {

Kernel *kernel_of(const void *host_function); // null: not one of ours
const std::vector<Kernel *> &kernels();

} // namespace ptx

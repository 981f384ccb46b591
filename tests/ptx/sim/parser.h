#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernel.h"

namespace ptx {

// All kernels of one PTX module. Throws Unsupported.
std::vector<std::unique_ptr<Kernel>> parse(const std::string &text);

} // namespace ptx

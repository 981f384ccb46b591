// The creators of this library: what its entry points hand out, or register.
#pragma once

#include "plugin_v3.h"

namespace mimamba {

// Never null; lives as long as the library.
CreatorInterface *const *creators(int32_t &count) noexcept;

} // namespace mimamba

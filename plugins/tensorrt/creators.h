// The creators of this library: what its entry points hand out, or register.
#pragma once

#include <NvInferVersion.h>

#if NV_TENSORRT_MAJOR >= 10
#include "plugin_v3.h"
#else
#include "plugin_v2.h"
#endif

namespace mimamba {

// Never null; lives as long as the library.
CreatorInterface *const *creators(int32_t &count) noexcept;

} // namespace mimamba

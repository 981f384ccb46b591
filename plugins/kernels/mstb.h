// MultiScaleTemporalBlock on a CUDA device.
#pragma once

#include <cuda_runtime_api.h>

#include "mstb_plan.h"

namespace mimamba {

// Enqueues the block on `stream` as three kernels. Allocates nothing, does not wait, creates no handle: it
// may be captured in a CUDA graph. `workspace` (16-byte aligned) holds what mstb_workspace() says for this
// problem or for one with more windows. Two runs give the same bits.
Status launch_mstb(const MstbProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t stream);

} // namespace mimamba

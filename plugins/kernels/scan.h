// SelectiveScan on a CUDA device.
#pragma once

#include <cuda_runtime_api.h>

#include "scan_plan.h"

namespace mimamba {

// Enqueues the scan on `stream`: one kernel, or two where the time axis is cut into chunks. Allocates
// nothing, does not wait, creates no handle: it may be captured in a CUDA graph. `workspace` (16-byte
// aligned) may be null; scan_workspace() says how much the fastest plan wants. Two runs give the same bits.
Status launch_scan(const ScanProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t stream);

} // namespace mimamba

// The two ops on a CUDA device: what a plugin, or any other caller, includes. A plain C++ compiler will do.
//
// A launch enqueues its kernels on `stream`. It allocates nothing, does not wait and creates no handle: it
// may be captured in a CUDA graph. Two runs give the same bits. Nothing aborts: a Status says what went
// wrong.
#pragma once

#include <cuda_runtime_api.h>

#include "mstb_plan.h"
#include "scan_plan.h"

namespace mimamba {

// One kernel, no workspace.
Status launch_scan(const ScanProblem &problem, const Device &device, cudaStream_t stream);

// Three kernels. `workspace` (16-byte aligned) holds at least what mstb_workspace() says for this problem, or
// for the same one with more windows.
Status launch_mstb(const MstbProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t stream);

// Fills a Device for the CUDA device of this number. To be asked once, not at every launch.
inline Status query_device(int number, Device *device) {
  int processors = 0, shared = 0;
  cudaError_t error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, number);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, number);
  if (error != cudaSuccess)
    return {Code::kCudaError, cudaGetErrorString(error)};
  device->multiprocessors = processors;
  device->shared_bytes = shared;
  return kDone;
}

} // namespace mimamba

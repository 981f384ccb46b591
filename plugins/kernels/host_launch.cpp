// The launchers of kernels.h without CUDA: the bodies run on host pointers, at once. In place of scan.cu and
// mstb.cu where a plugin is driven under sanitizers; never shipped.
#include "host.h"
#include "kernels.h"

namespace mimamba {

Status launch_scan(const ScanProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t) {
  int32_t kernels = 0;
  const char *message = "";
  const int32_t code =
      mimamba_scan(&problem, &device, workspace, workspace_bytes, Order::kForward, &kernels, &message);
  return {static_cast<Code>(code), message};
}

Status launch_mstb(const MstbProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t) {
  int32_t kernels = 0;
  const char *message = "";
  const int32_t code =
      mimamba_mstb(&problem, &device, workspace, workspace_bytes, Order::kForward, &kernels, &message);
  return {static_cast<Code>(code), message};
}

} // namespace mimamba

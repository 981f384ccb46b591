#include "kernels.h"
#include "scan_body.h"

namespace mimamba {
namespace {

template <class Lanes, bool kStateOnly>
__global__ void __launch_bounds__(kScanThreads, Lanes::kBlocks) scan_kernel(const ScanArgs args) {
  extern __shared__ Vec4 scan_shared[];
  DeviceBlock block(reinterpret_cast<float *>(scan_shared));
  ScanBody<DeviceBlock, Lanes, kStateOnly>(block, args).run();
}

} // namespace

Status launch_scan(const ScanProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t stream) {
  return run_scan(problem, device, workspace, workspace_bytes,
                  [&](auto lanes, auto state_only, int64_t blocks, const ScanArgs &args) {
                    return start(scan_kernel<decltype(lanes), decltype(state_only)::value>, args, blocks,
                                 kScanThreads, args.plan.shared_bytes, stream);
                  });
}

} // namespace mimamba

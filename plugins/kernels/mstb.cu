#include "kernels.h"
#include "mstb_combine.h"
#include "mstb_conv.h"
#include "mstb_spectrum.h"

namespace mimamba {
namespace {

extern __shared__ Vec4 mstb_shared[];

__global__ void __launch_bounds__(kSpectrumThreads) spectrum_kernel(const MstbArgs args) {
  DeviceBlock block(reinterpret_cast<float *>(mstb_shared));
  SpectrumBody<DeviceBlock>(block, args).run();
}

// Two blocks a multiprocessor and no more: aiming higher, the compiler spills.
template <bool kShared> __global__ void __launch_bounds__(kConvThreads, 2) conv_kernel(const MstbArgs args) {
  DeviceBlock block(reinterpret_cast<float *>(mstb_shared));
  ConvBody<DeviceBlock, kShared>(block, args).run();
}

__global__ void __launch_bounds__(kCombineThreads) combine_kernel(const MstbArgs args) {
  DeviceBlock block(nullptr);
  combine_body(block, args);
}

} // namespace

Status launch_mstb(const MstbProblem &problem, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t stream) {
  return run_mstb(
      problem, device, workspace, workspace_bytes, [&](int kernel, int64_t blocks, const MstbArgs &args) {
        const MstbPlan &plan = args.plan;
        if (kernel == 0)
          return start(spectrum_kernel, args, blocks, kSpectrumThreads, plan.spectrum_shared, stream);
        if (kernel == 2)
          return start(combine_kernel, args, blocks, kCombineThreads, 0, stream);
        return start(plan.images_in_workspace ? conv_kernel<false> : conv_kernel<true>, args, blocks,
                     plan.conv_threads, plan.conv_shared, stream);
      });
}

} // namespace mimamba

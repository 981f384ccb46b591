#include "kernels.h"
#include "mstb_conv.cuh"
#include "mstb_spectrum.cuh"

namespace mimamba {
namespace {

// Third kernel: x plus what the periods and the groups of hidden channels add, in a fixed order. The weights
// of the periods sum to 1, so b2 is added once.
template <class T>
__global__ void __launch_bounds__(kCombineLanes *kCombineSlices) combine_kernel(const MstbArgs args) {
  const MstbProblem &p = args.problem;
  __shared__ float4 sums[kCombineSlices][kCombineLanes];
  const int lane = threadIdx.x % kCombineLanes, slice = threadIdx.x / kCombineLanes;
  // Slice 0 of the threads has x, the others have the parts.
  const int slices = blockDim.x / kCombineLanes, parts = static_cast<int>(p.top_k) * args.plan.groups;
  const int l = static_cast<int>(p.l), c = static_cast<int>(p.c), size = args.plan.fours * l;
  for (int64_t window = blockIdx.y; window < p.b; window += gridDim.y) {
    const Signal x = signal_of(p, window);
    T *const y = static_cast<T *>(p.y) + (x.x - p.x);
    for (int base = blockIdx.x * kCombineLanes; base < size; base += gridDim.x * kCombineLanes) {
      const int at = base + lane, channel = at / l * 4, t = at % l;
      float4 sum{};
      if (at < size) {
        if (slice == 0) {
          sum = x.load(t, channel) + four_of(p.b2, channel, c);
        } else {
          const int64_t stride = (slices - 1) * static_cast<int64_t>(size);
          const float4 *part = args.part + (window * parts + slice - 1) * size + at;
          for (int first = slice - 1; first < parts; first += 4 * (slices - 1)) {
            float4 seen[4]; // on their way at once
#pragma unroll
            for (int i = 0; i < 4; ++i, part += stride)
              seen[i] = first + i * (slices - 1) < parts ? *part : float4{};
            sum = sum + seen[0] + seen[1] + seen[2] + seen[3];
          }
        }
      }
      sums[slice][lane] = sum;
      __syncthreads();
      if (slice == 0 && at < size) {
#pragma unroll 4
        for (int i = 1; i < slices; ++i)
          sum = sum + sums[i][lane];
        const float four[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (channel + i < c)
            y[t * x.step + (channel + i) * x.channel_step] = from_float<T>(four[i]);
      }
      __syncthreads();
    }
  }
}

} // namespace

Status launch_mstb(const MstbProblem &p, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t stream) {
  MstbArgs args{};
  MIMAMBA_TRY(prepare_mstb(p, device, workspace, workspace_bytes, &args.plan));
  if (p.b == 0)
    return kDone;
  const MstbPlan &plan = args.plan;
  float *const base = static_cast<float *>(workspace);
  args.problem = p;
  args.amplitude = base + plan.amplitude_at;
  args.part = reinterpret_cast<float4 *>(base + plan.part_at);
  args.image = reinterpret_cast<float4 *>(base + plan.image_at);
  // Rounded to nearest; 2^64 itself does not fit.
  args.turn = (UINT64_MAX - static_cast<uint64_t>(p.l) + 1) / static_cast<uint64_t>(p.l) + 1;

  const auto blocks = [&](int64_t count, int64_t most) {
    return static_cast<unsigned>(greater(1, lesser(count, lesser(most, device.max_blocks))));
  };
  MIMAMBA_TRY(launch(spectrum_kernel, device, dim3(blocks(p.b * plan.bin_tiles, INT32_MAX)), kSpectrumThreads,
                     0, stream, args));
  return with_type(p.type, [&](auto type) {
    using T = decltype(type);
    const auto conv = plan.images_in_workspace ? conv_kernel<T, false> : conv_kernel<T, true>;
    MIMAMBA_TRY(launch(conv, device, dim3(blocks(plan.conv_blocks, INT32_MAX)), plan.conv_threads,
                       plan.conv_shared, stream, args));
    const unsigned x = blocks(ceil_div(plan.fours * p.l, kCombineLanes), INT32_MAX);
    const int slices = static_cast<int>(lesser(1 + p.top_k * plan.groups, kCombineSlices));
    return launch(combine_kernel<T>, device,
                  dim3(x, blocks(p.b, greater(1, lesser(65535, device.max_blocks / x)))),
                  slices * kCombineLanes, 0, stream, args);
  });
}

} // namespace mimamba

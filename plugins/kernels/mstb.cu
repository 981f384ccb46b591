#include "kernels.h"
#include "mstb_conv.cuh"
#include "mstb_spectrum.cuh"

namespace mimamba {
namespace {

// Third kernel: x plus what the periods and the groups of hidden channels add, in a fixed order. The weights
// of the periods sum to 1, so b2 is added once.
template <class T>
__global__ void __launch_bounds__(kCombineLanes *kCombineSlices, 2) combine_kernel(const MstbArgs args) {
  const MstbProblem &p = args.problem;
  __shared__ float4 sums[kCombineSlices][kCombineLanes];
  const int lane = threadIdx.x % kCombineLanes, slice = threadIdx.x / kCombineLanes;
  // Slice 0 of the threads has x, the others have the parts.
  const int others = blockDim.x / kCombineLanes - 1, parts = static_cast<int>(p.top_k) * args.plan.groups;
  const int l = static_cast<int>(p.l), c = static_cast<int>(p.c), fours = args.plan.fours;
  for (int64_t window = blockIdx.z; window < p.b; window += gridDim.z)
    for (int four = blockIdx.y; four < fours; four += gridDim.y)
      for (int base = blockIdx.x * kCombineLanes; base < l; base += gridDim.x * kCombineLanes) {
        const Signal x = signal_of(p, window);
        const int t = base + lane, count = c - four * 4;
        float4 sum{};
        if (t < l && slice == 0) {
          sum = x.load(t, four * 4) + four_of(p.b2 + four * 4, count);
        } else if (t < l) {
          const int64_t size = static_cast<int64_t>(fours) * l;
          const float4 *part = args.part + (window * parts + slice - 1) * size + four * l + t;
          for (int first = slice - 1; first < parts; first += 4 * others) {
            float4 seen[4]; // on their way at once
#pragma unroll
            for (int i = 0; i < 4; ++i, part += others * size)
              seen[i] = first + i * others < parts ? *part : float4{};
            sum = sum + seen[0] + seen[1] + seen[2] + seen[3];
          }
        }
        sums[slice][lane] = sum;
        __syncthreads();
        if (slice == 0 && t < l) {
#pragma unroll
          for (int i = 1; i < kCombineSlices; ++i)
            if (i <= others)
              sum = sum + sums[i][lane];
          const float four_sums[4] = {sum.x, sum.y, sum.z, sum.w};
          T *y = static_cast<T *>(p.y) + (x.x - p.x) + t * x.step + four * 4 * x.channel_step;
#pragma unroll
          for (int i = 0; i < 4; ++i, y += x.channel_step)
            if (i < count)
              *y = from_float<T>(four_sums[i]);
        }
        __syncthreads();
      }
}

// Kernels stride over what `most` blocks do not cover.
dim3 grid_of(int64_t x, int64_t y, int64_t z, int64_t most) {
  const auto part = [&most](int64_t count, int64_t limit) {
    const int64_t blocks = greater(1, lesser(count, lesser(limit, most)));
    most /= blocks;
    return static_cast<unsigned>(blocks);
  };
  const unsigned along_x = part(x, INT32_MAX), along_y = part(y, 65535);
  return {along_x, along_y, part(z, 65535)};
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

  MIMAMBA_TRY(launch(spectrum_kernel, device, grid_of(plan.bin_tiles, p.b, 1, device.max_blocks),
                     kSpectrumThreads, 0, stream, args));
  return with_type(p.type, [&](auto type) {
    using T = decltype(type);
    const auto conv = plan.images_in_workspace ? conv_kernel<T, false> : conv_kernel<T, true>;
    MIMAMBA_TRY(launch(conv, device, grid_of(plan.groups, p.top_k, p.b, plan.conv_blocks), plan.conv_threads,
                       plan.conv_shared, stream, args));
    const int slices = static_cast<int>(lesser(1 + p.top_k * plan.groups, kCombineSlices));
    return launch(combine_kernel<T>, device,
                  grid_of(ceil_div(p.l, kCombineLanes), plan.fours, p.b, device.max_blocks),
                  slices * kCombineLanes, 0, stream, args);
  });
}

} // namespace mimamba

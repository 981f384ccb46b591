// MultiScaleTemporalBlock: what its kernels share.
#pragma once

#include "device.cuh"
#include "mstb_plan.h"

namespace mimamba {

struct MstbArgs {
  MstbProblem problem;
  MstbPlan plan;
  float *amplitude; // (b, bins)
  float4 *part;     // (b, top_k, groups, fours, l): what a group of hidden channels adds to y
  float4 *image;    // (conv_blocks, 2, places), where shared memory is too small
  uint64_t turn;    // 2^64 / l
};

__device__ inline float4 operator+(float4 a, float4 b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}
__device__ inline float4 operator-(float4 a, float4 b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w};
}
__device__ inline float4 multiply_add(float4 a, float b, float4 c) {
  return {fmaf(a.x, b, c.x), fmaf(a.y, b, c.y), fmaf(a.z, b, c.z), fmaf(a.w, b, c.w)};
}

// a / b for 0 <= a < 2^20: exact, the half keeps the rounding of its product away from whole numbers.
__device__ inline int quotient(int a, int b) {
  return static_cast<int>(__fdividef(static_cast<float>(a) + 0.5f, static_cast<float>(b)));
}

// Up to four numbers, `step` apart; zeros after `count` of them.
__device__ inline float4 four_of(const float *from, int count, int64_t step = 1) {
  float four[4] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i, from += step)
    if (i < count)
      four[i] = *from;
  return {four[0], four[1], four[2], four[3]};
}

// One window of x, channels last or first.
struct Signal {
  const float *x;
  int channels, step, channel_step;

  // Four channels of a sample; zeros past the last one.
  __device__ float4 load(int t, int channel) const {
    return four_of(x + (t * step + channel * channel_step), channels - channel, channel_step);
  }
};

__device__ inline Signal signal_of(const MstbProblem &p, int64_t window) {
  const int l = static_cast<int>(p.l), c = static_cast<int>(p.c);
  return {p.x + window * l * c, c, p.channel_first ? 1 : c, p.channel_first ? l : 1};
}

} // namespace mimamba

// SelectiveScan on the device: what its kernel is made of.
#pragma once

#include <cfloat>
#include <type_traits>

#include "device.cuh"
#include "scan_plan.h"

namespace mimamba {

constexpr float kLn2 = 0.6931471805599453f;

// Values that move in one instruction.
template <class T, int kCount> struct alignas(kCount * sizeof(T)) Pack {
  T v[kCount];
};

template <int kCount> __device__ __forceinline__ void load_floats(const float *from, float (&to)[kCount]) {
  constexpr int kWide = kCount % 4 == 0 ? 4 : kCount % 2 == 0 ? 2 : 1;
#pragma unroll
  for (int i = 0; i < kCount; i += kWide) {
    const auto pack = *reinterpret_cast<const Pack<float, kWide> *>(from + i);
#pragma unroll
    for (int j = 0; j < kWide; ++j)
      to[i + j] = pack.v[j];
  }
}

template <int kCount> __device__ __forceinline__ void store_floats(float *to, const float (&from)[kCount]) {
  constexpr int kWide = kCount % 4 == 0 ? 4 : kCount % 2 == 0 ? 2 : 1;
#pragma unroll
  for (int i = 0; i < kCount; i += kWide) {
    Pack<float, kWide> pack;
#pragma unroll
    for (int j = 0; j < kWide; ++j)
      pack.v[j] = from[i + j];
    *reinterpret_cast<Pack<float, kWide> *>(to + i) = pack;
  }
}

// Elements as they come from memory, in registers of 32 bits: what converts or unpacks them waits for them,
// so that is done a tile later.
template <class T> __device__ __forceinline__ uint32_t load_bits(const T *from) {
  if constexpr (sizeof(T) == 4) {
    return *reinterpret_cast<const uint32_t *>(from);
  } else { // what C++ says for it extends the 16 bits at once
    uint32_t bits;
    asm volatile("ld.global.u16 %0, [%1];" : "=r"(bits) : "l"(__cvta_generic_to_global(from)));
    return bits;
  }
}

template <class T> __device__ __forceinline__ float from_bits(uint32_t bits) {
  if constexpr (sizeof(T) == 4)
    return __uint_as_float(bits);
  else if constexpr (std::is_same_v<T, __half>)
    return __half2float(__ushort_as_half(static_cast<uint16_t>(bits)));
  else
    return __uint_as_float(bits << 16);
}

// log(1 + exp(x)) within a few ulp, also where it is as small as 1e-30, and without a branch: with
// e = exp(-|x|) it is max(x, 0) + log(1 + e), and log(1 + e) / e is a polynomial on [0, 1].
__device__ __forceinline__ float softplus(float x) {
  const float low = fmaxf(-fabsf(x), -100.0f);
  const float exponent = low * kLog2E;
  float e = exp2_approx(exponent);
  e = fmaf(e, fmaf(-kLn2, exponent, low), e); // what the exponent lost when it was rounded
  float q = 0.005231820046901703f;
  q = fmaf(q, e, -0.029501531273126602f);
  q = fmaf(q, e, 0.078219473361969f);
  q = fmaf(q, e, -0.1366264522075653f);
  q = fmaf(q, e, 0.19105689227581024f);
  q = fmaf(q, e, -0.24842888116836548f);
  q = fmaf(q, e, 0.33319082856178284f);
  q = fmaf(q, e, -0.4999949336051941f);
  q = fmaf(q, e, 0.9999999403953552f);
  return fmaf(q, e, x < 0.0f ? 0.0f : x); // NaN stays
}

__device__ __forceinline__ float silu(float x) {
  float reciprocal;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(1.0f + exp2_approx(-kLog2E * x)));
  return x * reciprocal;
}

// A decay rate for exp2, finite so that a step of 0 keeps the state: masks are written as the lowest float32
// or as minus infinity, and steps past the end are steps of 0. NaN stays.
__device__ __forceinline__ float exp2_rate(float a) {
  const float rate = a * kLog2E;
  return rate < -FLT_MAX ? -FLT_MAX : rate > FLT_MAX ? FLT_MAX : rate;
}

// Sums y over the kLanes lanes of a channel, kStride threads apart. Each exchange halves the steps that a
// lane is left with: lane p ends with those from p * kSteps / kLanes on, in y[0] and after.
template <int kLanes, int kStride, int kSteps>
__device__ __forceinline__ void sum_over_lanes(float (&y)[kSteps], int lane) {
  int left = kSteps;
#pragma unroll
  for (int apart = kLanes / 2; apart > 0; apart /= 2) {
    const bool upper = lane & apart;
    left /= 2;
#pragma unroll
    for (int k = 0; k < left; ++k) {
      const float give = upper ? y[k] : y[k + left], keep = upper ? y[k + left] : y[k];
      y[k] = keep + __shfl_xor_sync(~0u, give, apart * kStride);
    }
    if (left == 0)
      y[0] += __shfl_xor_sync(~0u, y[0], apart * kStride);
  }
}

template <class Shape> struct ScanShared {
  static constexpr int kRow = Shape::kTile + 4, kStates = Shape::kStates, kSegments = Shape::kSegments;
  // The states of segments that a warp reads at the same time lie in different banks.
  static constexpr int kPad = kSegments > 1 ? kStates : 0;
  static constexpr int kMap = Shape::kTile * kStates + kSegments * kPad;
  static constexpr int kChained = kSegments > 1 ? Shape::kChannels * kStates : 0;

  alignas(16) float dt[Shape::kChannels][kRow], dt_u[Shape::kChannels][kRow];
  alignas(16) float B[kMap],
      C[kSegments > 1 ? 2 : 1][kMap]; // the last tile's C is still read when the next comes
  // What a thread adds to a sum over states, D * u, and multiplies it with, of its own elements.
  alignas(16) Pack<float, 2> own[kSegments > 1 ? 2 : 1][Shape::kElements][kScanThreads];
  alignas(16) Pack<float, 2> segment[kSegments * kChained + 1]; // product of decays, end state
  alignas(16) float start[(kSegments + 1) * kChained + 1];

  static __device__ __forceinline__ int map_at(int step, int state) {
    return step * kStates + step / Shape::kSteps * kPad + state;
  }
};

// Turns the segments' decays and end states into the states they begin with; `state` is what a thread of the
// first kChained keeps of the tile before. Where a product of decays is above 1 it may overflow although the
// state does not, so the segments then take turns.
template <class Shape, int K, int R>
__device__ __forceinline__ void chain_segments(ScanShared<Shape> &smem, bool grows,
                                               const float (&decay)[K][R], const float (&input)[K][R],
                                               float &state) {
  constexpr int kChained = ScanShared<Shape>::kChained, kTurn = kScanThreads / Shape::kSegments;
  const int thread = static_cast<int>(threadIdx.x);
  const bool chains = thread < kChained;
  if (!grows) {
    if (chains) {
      constexpr int kAtOnce = 8; // loads that are on their way together
#pragma unroll
      for (int s = 0; s < Shape::kSegments; s += kAtOnce) {
        Pack<float, 2> segment[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)
          segment[i] = smem.segment[(s + i) * kChained + thread];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          smem.start[(s + i) * kChained + thread] = state;
          state = fmaf(segment[i].v[0], state, segment[i].v[1]);
        }
      }
    }
    return;
  }
  if (chains)
    smem.start[thread] = state;
#pragma unroll 1
  for (int s = 0; s < Shape::kSegments; ++s) {
    __syncthreads();
    if (thread / kTurn != s)
      continue;
    float h[R];
    load_floats(smem.start + thread * R, h);
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
      for (int r = 0; r < R; ++r)
        h[r] = fmaf(decay[k][r], h[r], input[k][r]);
    store_floats(smem.start + thread * R + kChained, h);
  }
  __syncthreads();
  if (chains)
    state = smem.start[Shape::kSegments * kChained + thread];
}

} // namespace mimamba

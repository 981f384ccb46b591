// SelectiveScan: one kernel.
//
// A block of 128 threads carries some channels of one group of one batch entry through time, tile by tile. P
// lanes of R states each make up a channel. Where b * d alone does not fill the device, a tile is also cut
// into segments of time that run side by side: each is reduced to a product of decays and an end state from
// 0, those are chained in shared memory, and the segments then run from their true states.
//
// B and C are the same for all channels of a group and travel through shared memory, as do dt and dt * u,
// which P lanes need. The next tile is on its way from global memory to registers while one is computed.
#include "kernels.h"
#include "scan.cuh"

namespace mimamba {
namespace {

template <class T, int P, int R, int S>
__global__ void __launch_bounds__(kScanThreads, ScanShape<P, R, S>::kBlocks)
    scan_kernel(const ScanProblem p, const ScanPlan plan) {
  using Shape = ScanShape<P, R, S>;
  constexpr int N = Shape::kStates, K = Shape::kSteps, kChannels = Shape::kChannels, kTile = Shape::kTile;
  constexpr int kOwn = Shape::kOwn, kElements = Shape::kElements, kLanesAStep = P > K ? P / K : 1;
  constexpr int kWide = R < 4 ? 1 : 4, kRowThreads = N / kWide;
  constexpr int kMaps = (kTile * kRowThreads + kScanThreads - 1) / kScanThreads;
  constexpr int kRows = kScanThreads / kRowThreads; // of B, or of C, that the block loads at once
  using Smem = ScanShared<Shape>;
  __shared__ Smem smem;

  // In a warp: channels fastest, so that rows are contiguous, then lanes, then segments.
  constexpr int kWarpChannels = kChannels < 32 / P ? kChannels : 32 / P,
                kWarpSegments = 32 / P / kWarpChannels;
  constexpr int kSideBySide = kChannels / kWarpChannels; // warps of one segment
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int channel = thread % kWarpChannels + warp % kSideBySide * kWarpChannels;
  const int lane = thread / kWarpChannels % P;
  const int segment = S == 1 ? 0 : thread % 32 / (kWarpChannels * P) + warp / kSideBySide * kWarpSegments;

  const int n = static_cast<int>(p.n), d = static_cast<int>(p.d), g = static_cast<int>(p.g);
  const int length = static_cast<int>(p.l), width = d / g, group = static_cast<int>(blockIdx.y);
  const int first_channel = group * width + static_cast<int>(blockIdx.x) * kChannels;
  const int count = min(kChannels, width - static_cast<int>(blockIdx.x) * kChannels);
  const int own_step = segment * K + lane * K / P;
  const bool owns = channel < count && lane % kLanesAStep == 0;
  const int map_step = min(thread / kRowThreads, kTile - 1), map_state = thread % kRowThreads * kWide;
  const int map_place = Smem::map_at(map_step, map_state);
  static_assert(S == 1 || kRows % K == 0);
  // Threads without a channel compute the block's first one once more and store nothing.
  const int real_channel = first_channel + (channel < count ? channel : 0);
  const float bias = p.delta_bias[real_channel], skip = p.D[real_channel];

  // States that a thread keeps from tile to tile: those it computes, or those it chains.
  constexpr int kKept = S == 1 ? R : 1;
  const int kept_channel = S == 1 ? channel : thread / R % kChannels;
  const int kept_state = S == 1 ? lane * R : thread / R / kChannels * R + thread % R;
  const int64_t kept_at = static_cast<int64_t>(first_channel + kept_channel) * n + kept_state;
  const int kept_count = kept_channel < count && (S == 1 || thread < Smem::kChained) ? n - kept_state : 0;

  if (n < N) { // states past n see a B of 0 and add nothing
    for (int i = thread; i < Smem::kMap; i += kScanThreads)
      smem.B[i] = smem.C[0][i] = smem.C[S > 1][i] = 0.0f;
    __syncthreads();
  }

  for (int64_t batch = blockIdx.z; batch < p.b; batch += gridDim.z) {
    // All that comes first is asked for before anything is waited for.
    float rate[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int state = lane * R + r;
      rate[r] = state < n ? p.A[static_cast<int64_t>(real_channel) * n + state] : 0.0f;
    }
    const int64_t states = p.d * p.n, initial = p.state_batch == 1 ? 0 : batch * states;
    float kept[kKept];
#pragma unroll
    for (int i = 0; i < kKept; ++i)
      kept[i] = i < kept_count ? p.initial_state[initial + kept_at + i] : 0.0f;

    // Time runs backwards in a reverse scan; everything else counts steps of the scan.
    const int64_t row = batch * p.l + (p.reverse ? p.l - 1 : 0);
    const int64_t own_at = row * d + own_step * plan.d_step + real_channel;
    const T *u = static_cast<const T *>(p.u) + own_at, *delta = static_cast<const T *>(p.delta) + own_at;
    const T *z = static_cast<const T *>(p.z) + row * p.z_row + own_step * plan.z_step + real_channel;
    const int real_state = group * n + (map_state < n ? map_state : 0);
    const T *B = static_cast<const T *>(p.B) + row * p.B_row + map_step * plan.B_step + real_state;
    const T *C = static_cast<const T *>(p.C) + row * p.C_row + map_step * plan.C_step + real_state;
    T *y = static_cast<T *>(p.y) + own_at;

    struct {
      uint32_t u[kElements], delta[kElements], z[kElements], B[kMaps][kWide], C[kMaps][kWide];
    } next = {};

    // Steps past the end read the last row again: no load is conditional.
    const auto fetch_map = [&](uint32_t (&to)[kMaps][kWide], const T *from, int step_stride, bool full,
                               int last) {
#pragma unroll
      for (int i = 0; i < kMaps; ++i) {
        const T *at = from + (full ? i * kRows : min(map_step + i * kRows, last) - map_step) * step_stride;
        if (kWide == 4 && plan.packed) {
          const auto pack = *reinterpret_cast<const Pack<uint32_t, sizeof(T)> *>(at);
#pragma unroll
          for (size_t j = 0; j < sizeof(T); ++j)
            to[i][j % kWide] = pack.v[j];
        } else {
#pragma unroll
          for (int j = 0; j < kWide; ++j)
            if (map_state + j < n)
              to[i][j] = load_bits(at + j);
        }
      }
    };
    const auto fetch_tile = [&](bool full, int last) {
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        const int ahead = e / kOwn * K + e % kOwn;
        const int steps = full ? ahead : min(own_step + ahead, last) - own_step;
        next.u[e] = load_bits(u + steps * plan.d_step);
        next.delta[e] = load_bits(delta + steps * plan.d_step);
        if (plan.gated)
          next.z[e] = load_bits(z + steps * plan.z_step);
      }
      fetch_map(next.B, B, plan.B_step, full, last);
      fetch_map(next.C, C, plan.C_step, full, last);
    };
    const auto fetch = [&](int first) {
      if (length - first >= kTile)
        fetch_tile(true, 0);
      else
        fetch_tile(false, length - first - 1);
      u += int64_t{kTile} * plan.d_step, delta += int64_t{kTile} * plan.d_step,
          z += int64_t{kTile} * plan.z_step;
      B += int64_t{kTile} * plan.B_step, C += int64_t{kTile} * plan.C_step;
    };
    const auto stash_map = [&](float *to, const uint32_t (&from)[kMaps][kWide]) {
#pragma unroll
      for (int i = 0; i < kMaps; ++i) {
        float values[kWide];
#pragma unroll
        for (int j = 0; j < kWide; ++j)
          values[j] = from_bits<T>(from[i][j]);
        if (kWide == 4 && sizeof(T) == 2 && plan.packed)
#pragma unroll
          for (int j = 0; j < kWide; ++j)
            values[j] = from_bits<T>(from[i][j / 2] >> 16 * (j % 2));
        if (map_state < n && thread / kRowThreads + i * kRows < kTile)
          store_floats(to + map_place + i * (kRows * N + kRows / K * Smem::kPad), values);
      }
    };
    // The softplus is taken here, once an element instead of once a lane.
    const auto stash = [&](int steps, int buffer) {
      float dt[Shape::kGroups][kOwn], dt_u[Shape::kGroups][kOwn];
#pragma unroll
      for (int e = 0; e < kElements; ++e)
        dt[e / kOwn][e % kOwn] = from_bits<T>(next.delta[e]) + bias;
      if (p.delta_softplus)
#pragma unroll
        for (int e = 0; e < kElements; ++e)
          dt[e / kOwn][e % kOwn] = softplus(dt[e / kOwn][e % kOwn]);
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        const float one_u = from_bits<T>(next.u[e]);
        float &one_dt = dt[e / kOwn][e % kOwn];
        one_dt = own_step + e / kOwn * K + e % kOwn < steps ? one_dt : 0.0f; // past the end the state stays
        dt_u[e / kOwn][e % kOwn] = one_dt * one_u;
        const float gate = plan.gated ? silu(from_bits<T>(next.z[e])) : 1.0f;
        smem.own[buffer][e][thread] = {{skip * one_u, gate}};
      }
      if (lane % kLanesAStep == 0)
#pragma unroll
        for (int i = 0; i < Shape::kGroups; ++i) {
          store_floats(&smem.dt[channel][own_step + i * K], dt[i]);
          store_floats(&smem.dt_u[channel][own_step + i * K], dt_u[i]);
        }
      stash_map(smem.B, next.B);
      stash_map(smem.C[buffer], next.C);
    };

    int buffer = 0;
    fetch(0);
#pragma unroll
    for (int r = 0; r < R; ++r)
      rate[r] = exp2_rate(rate[r]);
    stash(length, buffer);
    if (kTile < length)
      fetch(kTile);
    __syncthreads();
    for (int first = 0; first < length; first += kTile) {
      const int steps = min(length - first, kTile);
      const int buffer_next = S > 1 ? buffer ^ 1 : 0;
#pragma unroll
      for (int group_of_steps = 0; group_of_steps < Shape::kGroups; ++group_of_steps) {
        const int step = (segment + group_of_steps) * K;
        if (S == 1 && step >= steps)
          break;
        float decay[K][R], input[K][R], dt[K], dt_u[K], h[R], out[K];
        const float *step_B = smem.B + Smem::map_at(step, lane * R);
        const float *step_C = smem.C[buffer] + Smem::map_at(step, lane * R);
        load_floats(&smem.dt[channel][step], dt);
        load_floats(&smem.dt_u[channel][step], dt_u);
#pragma unroll
        for (int k = 0; k < K; ++k) {
          float b[R];
          load_floats(step_B + k * N, b);
#pragma unroll
          for (int r = 0; r < R; ++r) {
            decay[k][r] = exp2_approx(dt[k] * rate[r]);
            input[k][r] = dt_u[k] * b[r];
          }
        }
        if constexpr (S == 1) {
#pragma unroll
          for (int r = 0; r < R; ++r)
            h[r] = kept[r];
        } else {
          float product[R];
          bool grows = false;
#pragma unroll
          for (int r = 0; r < R; ++r) {
            product[r] = decay[0][r];
            h[r] = input[0][r];
#pragma unroll
            for (int k = 1; k < K; ++k) {
              product[r] *= decay[k][r];
              h[r] = fmaf(decay[k][r], h[r], input[k][r]);
            }
            grows |= product[r] > 1.0f;
          }
          float both[2 * R];
#pragma unroll
          for (int r = 0; r < R; ++r)
            both[2 * r] = product[r], both[2 * r + 1] = h[r];
          store_floats(smem.segment[thread * R].v, both);
          chain_segments(smem, __syncthreads_or(grows), decay, input, kept[0]);
          stash(length - first - kTile, buffer_next);
          if (first + 2 * kTile < length)
            fetch(first + 2 * kTile);
          __syncthreads();
          load_floats(smem.start + thread * R, h);
        }

#pragma unroll
        for (int k = 0; k < K; ++k) {
          float c[R];
          load_floats(step_C + k * N, c);
          out[k] = 0.0f;
#pragma unroll
          for (int r = 0; r < R; ++r) {
            h[r] = fmaf(decay[k][r], h[r], input[k][r]);
            out[k] = fmaf(c[r], h[r], out[k]);
          }
        }
        if constexpr (S == 1)
#pragma unroll
          for (int r = 0; r < R; ++r)
            kept[r] = h[r];

        sum_over_lanes<P, kWarpChannels>(out, lane);
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          const int e = group_of_steps * kOwn + i, ahead = group_of_steps * K + i;
          const Pack<float, 2> own = smem.own[buffer][e][thread];
          if (owns && own_step + ahead < steps)
            y[ahead * plan.d_step] = from_float<T>((out[i] + own.v[0]) * own.v[1]);
        }
      }
      if constexpr (S == 1) {
        __syncthreads();
        if (first + kTile >= length)
          break;
        stash(length - first - kTile, buffer_next);
        if (first + 2 * kTile < length)
          fetch(first + 2 * kTile);
        __syncthreads();
      }
      buffer = buffer_next;
      y += int64_t{kTile} * plan.d_step;
    }
    if constexpr (S > 1)
      __syncthreads();
    if (p.last_state)
#pragma unroll
      for (int i = 0; i < kKept; ++i)
        if (i < kept_count)
          p.last_state[batch * states + kept_at + i] = kept[i];
  }
}

} // namespace

Status launch_scan(const ScanProblem &problem, const Device &device, cudaStream_t stream) {
  return run_scan(problem, device, [&](auto shape, const ScanProblem &p, const ScanPlan &plan) {
    return with_type(p.type, [&](auto type) {
      const dim3 grid(static_cast<unsigned>(plan.columns), static_cast<unsigned>(p.g),
                      static_cast<unsigned>(plan.batches));
      using Shape = decltype(shape);
      return launch(scan_kernel<decltype(type), Shape::kLanes, Shape::kPerLane, Shape::kSegments>, device,
                    grid, kScanThreads, 0, stream, p, plan);
    });
  });
}

} // namespace mimamba

// SelectiveScan: its problem, its checks and how the work is cut. Plain C++: no CUDA in here.
#pragma once

#include <initializer_list>

#include "common.h"

namespace mimamba {

// Tensors are contiguous, the last axis fastest, but for z, B and C: they may be parts of wider rows, such as
// the z half of in_proj's output. T: one of Dtype, the same for every T of a problem.
//   u, delta, z, y (b, l, d) T; B, C (b, l, g, n) T; A (d, n), D (d), delta_bias (d) float32;
//   initial_state (1 or b, d, n), last_state (b, d, n) float32.
// z and last_state may be null: no gate, no state wanted. y must not overlap an input. A of minus infinity
// counts as the lowest float32: a step of 0 keeps the state, where the reference has NaN.
struct ScanProblem {
  const void *u, *delta, *B, *C, *z;
  const float *A, *D, *delta_bias, *initial_state;
  void *y;
  float *last_state;
  int64_t b, l, d, g, n, state_batch; // state_batch: 1 or b
  int64_t z_row, B_row, C_row;        // elements from one step to the next; 0: d for z, g * n for B and C
  Dtype type;
  bool delta_softplus, reverse;
  int64_t segments; // of a tile, 1, 8 or 16; 0: the plan decides; tests and measurements force a number
};

constexpr int kScanThreads = 128; // of a block: one warp for each of a multiprocessor's four schedulers
constexpr int kScanSegmentedStates = 16; // more states than these fill a device without segments
constexpr int64_t kScanLength = int64_t{1} << 30;
constexpr int64_t kScanRow = int64_t{1} << 24; // elements: offsets inside a tile have 32 bits

// P lanes of R states carry a channel through one of S segments of a tile. Four states a lane: their exp,
// which cap the rate, then outnumber what is done once a lane and step.
template <int P, int R, int S> struct ScanShape {
  static constexpr int kLanes = P, kPerLane = R, kStates = P * R, kSegments = S;
  static constexpr int kChannels = kScanThreads / (P * S); // of a block; a group's last block may use fewer
  // Consecutive steps whose decays a thread holds in registers at a time. Segments pay for their chain once
  // in so many steps.
  static constexpr int kSteps = S > 1 && P > 1 ? 8 : 4;
  static constexpr int kGroups = S > 1 ? 1 : P < 4 || kStates > 128 ? 2 : 4; // of such steps in a tile
  // Of a thread's steps, those that it loads, softpluses, gates and stores; with more lanes than steps some
  // have none.
  static constexpr int kOwn = kSteps > P ? kSteps / P : 1, kElements = kOwn * kGroups;
  static constexpr int kTile = kSteps * S * kGroups;
  static constexpr int kBlocks = P < 4 || S > 8 || kStates > 64 ? 2
                                 : S > 1 || P > 4               ? 3
                                                                : 4; // that registers leave room for
};

struct ScanPlan {
  int64_t segments;
  int64_t columns;                        // blocks side by side over the channels of one group
  int64_t batches;                        // blocks over b; they stride over the rest
  int32_t d_step, z_step, B_step, C_step; // elements from one step of the scan to the next
  bool packed;                            // B and C may be read four states at a time
  bool gated;
};

inline Status check(const ScanProblem &p) {
  if (p.b < 0 || p.l < 1 || p.d < 1)
    return refuse("selective_scan: b must be at least 0, l and d at least 1");
  if (p.l > kScanLength)
    return refuse("selective_scan: l must be at most 2^30");
  if (p.n < 1 || p.n > 256)
    return refuse("selective_scan: n must be 1 to 256");
  if (p.g < 1 || p.d % p.g != 0)
    return refuse("selective_scan: the groups g must divide the channels d");
  if (p.g > 65535)
    return refuse("selective_scan: the groups g must be at most 65535");
  if (p.state_batch != 1 && p.state_batch != p.b)
    return refuse("selective_scan: initial_state must have 1 or b as its first size");
  if (p.type != Dtype::kFloat32 && p.type != Dtype::kFloat16 && p.type != Dtype::kBFloat16)
    return refuse("selective_scan: T must be float32, float16 or bfloat16");
  if ((p.z_row && p.z_row < p.d) || (p.B_row && p.B_row < p.g * p.n) || (p.C_row && p.C_row < p.g * p.n))
    return refuse("selective_scan: a row of z, B or C must hold at least d, or g * n, elements");
  if (greater(greater(p.d, p.g * p.n), greater(p.z_row, greater(p.B_row, p.C_row))) >= kScanRow)
    return refuse("selective_scan: rows must have fewer than 2^24 elements");
  if (p.segments != 0 && p.segments != 1 && p.segments != 8 && p.segments != 16)
    return refuse("selective_scan: segments must be 0, 1, 8 or 16");
  if (p.segments > 1 && p.n > kScanSegmentedStates)
    return refuse("selective_scan: more than 16 states have no segments");
  return kDone;
}

// Calls f with the ScanShape for n states and this many segments.
template <class F> Status with_shape(int64_t n, int64_t segments, F &&f) {
#ifdef MIMAMBA_HOT_ONLY // the instances of a usual Mamba alone: a quick check that all architectures compile
  if (n > 16)
    return refuse("selective_scan: this build has n <= 16 only");
#else
  if (segments > 1 && n == 1)
    return segments == 8 ? f(ScanShape<1, 1, 8>{}) : f(ScanShape<1, 1, 16>{});
  if (segments == 1 && n <= 1)
    return f(ScanShape<1, 1, 1>{});
  if (segments == 1 && n <= 4)
    return f(ScanShape<1, 4, 1>{});
  if (segments == 1 && n <= 8)
    return f(ScanShape<2, 4, 1>{});
  if (n > 128)
    return f(ScanShape<32, 8, 1>{});
  if (n > 64)
    return f(ScanShape<32, 4, 1>{});
  if (n > 32)
    return f(ScanShape<16, 4, 1>{});
  if (n > 16)
    return f(ScanShape<8, 4, 1>{});
#endif
  return segments == 1   ? f(ScanShape<4, 4, 1>{})
         : segments == 8 ? f(ScanShape<4, 4, 8>{})
                         : f(ScanShape<4, 4, 16>{});
}

// How long the multiprocessor with the most blocks takes, in cycles by the model of benchmarks/kernel_cycles
// for 16 states: of kSteps steps of all segments, one block's share of a full multiprocessor, and what a
// block takes alone.
template <class Shape> int64_t scan_cycles(const ScanProblem &p, int64_t columns, const Device &device) {
  constexpr int64_t kShare = Shape::kSegments == 1 ? 250 : Shape::kSegments == 8 ? 760 : 1100;
  constexpr int64_t kAlone = Shape::kSegments == 1 ? 550 : Shape::kSegments == 8 ? 1440 : 1750;
  const int64_t blocks = ceil_div(p.b * p.g * columns, device.multiprocessors);
  return ceil_div(p.l, Shape::kSteps * Shape::kSegments) * greater(blocks * kShare, kAlone);
}

inline ScanPlan plan_scan(const ScanProblem &p, const Device &device) {
  ScanPlan plan{};
  int64_t least = INT64_MAX;
  for (const int64_t segments : {1, 8, 16}) {
    if (p.segments ? segments != p.segments : segments > 1 && p.n > kScanSegmentedStates)
      continue;
    with_shape(p.n, segments, [&](auto shape) {
      using Shape = decltype(shape);
      const int64_t columns = ceil_div(p.d / p.g, Shape::kChannels);
      const int64_t cycles = scan_cycles<Shape>(p, columns, device);
      if (cycles < least) {
        least = cycles;
        plan.segments = segments, plan.columns = columns;
      }
      return kDone;
    });
  }
  plan.batches = lesser(p.b, lesser(device.max_blocks, 65535));
  const int64_t bytes = 4 * (p.type == Dtype::kFloat32 ? 4 : 2);
  const auto aligned = [&](const void *from) { return reinterpret_cast<uintptr_t>(from) % bytes == 0; };
  plan.packed = p.n % 4 == 0 && p.B_row % 4 == 0 && p.C_row % 4 == 0 && aligned(p.B) && aligned(p.C);
  return plan;
}

// Checks, plans, and calls launch(shape, problem, plan) with the rows filled in. The one place that says what
// is launched.
template <class Launch> Status run_scan(ScanProblem p, const Device &device, Launch &&launch) {
  MIMAMBA_TRY(check(p));
  if (p.b == 0)
    return kDone;
  if (!p.u || !p.delta || !p.A || !p.B || !p.C || !p.D || !p.delta_bias || !p.initial_state || !p.y)
    return refuse("selective_scan: a null pointer for a tensor other than z and last_state");
  p.z_row = p.z_row ? p.z_row : p.d;
  p.B_row = p.B_row ? p.B_row : p.g * p.n;
  p.C_row = p.C_row ? p.C_row : p.g * p.n;
  ScanPlan plan = plan_scan(p, device);
  const auto step = [&](int64_t row) { return static_cast<int32_t>(p.reverse ? -row : row); };
  plan.d_step = step(p.d), plan.z_step = step(p.z_row), plan.B_step = step(p.B_row),
  plan.C_step = step(p.C_row);
  plan.gated = p.z != nullptr;
  return with_shape(p.n, plan.segments, [&](auto shape) { return launch(shape, p, plan); });
}

} // namespace mimamba

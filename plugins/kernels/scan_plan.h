// SelectiveScan: its problem, its checks and how the work is cut. Plain C++: no CUDA in here.
#pragma once

#include <type_traits>

#include "common.h"

namespace mimamba {

// Tensors are contiguous, the last axis fastest, but for z, B and C: they may be parts of wider rows, such as
// the z half of in_proj's output. T: one of Dtype, the same for every T of a problem.
//   u, delta, z, y (b, l, d) T; B, C (b, l, g, n) T; A (d, n), D (d), delta_bias (d) float32;
//   initial_state (1 or b, d, n), last_state (b, d, n) float32.
// z and last_state may be null: no gate, no state wanted. y must not overlap an input.
struct ScanProblem {
  const void *u, *delta, *B, *C, *z;
  const float *A, *D, *delta_bias, *initial_state;
  void *y;
  float *last_state;
  int64_t b, l, d, g, n, state_batch; // state_batch: 1 or b
  int64_t z_row, B_row, C_row;        // elements from one step to the next; 0: d for z, g * n for B and C
  Dtype type;
  bool delta_softplus, reverse;
  int64_t chunks; // 0: the plan decides; tests and measurements force a number
};

constexpr int kScanTile = 16;     // steps between two barriers
constexpr int kScanThreads = 128; // of a block: one warp for each of a multiprocessor's four schedulers

// P lanes of R states each carry one channel.
template <int P, int R> struct ScanLanes {
  static constexpr int kLanes = P, kPerLane = R, kStates = P * R, kChannels = kScanThreads / P;
  // Blocks of a multiprocessor that registers must leave room for. Without a word the compiler aims higher at
  // n = 16 and spills; four warps a scheduler are enough where special functions are the limit.
  static constexpr int kBlocks = kStates <= 64 && P >= 4 ? 4 : 2;
  static constexpr int kSharedFloats = kScanTile * (2 * kChannels + kScanThreads + 2 * kStates);
};

// Calls f with the lanes for n states. Four states a lane: their exp, which cap the rate, then outnumber what
// is done once a lane and step, and one warp still has 8 channels' worth of independent work at n = 16.
template <class F> Status with_states(int64_t n, F &&f) {
#ifdef MIMAMBA_HOT_ONLY // the instances of a usual Mamba alone: a quick check that all architectures compile
  return n <= 16 ? f(ScanLanes<4, 4>{}) : refuse("selective_scan: this build has n <= 16 only");
#else
  if (n <= 1)
    return f(ScanLanes<1, 1>{});
  if (n <= 2)
    return f(ScanLanes<1, 2>{});
  if (n <= 4)
    return f(ScanLanes<1, 4>{});
  if (n <= 8)
    return f(ScanLanes<2, 4>{});
  if (n <= 16)
    return f(ScanLanes<4, 4>{});
  if (n <= 32)
    return f(ScanLanes<8, 4>{});
  if (n <= 64)
    return f(ScanLanes<16, 4>{});
  if (n <= 128)
    return f(ScanLanes<32, 4>{});
  return f(ScanLanes<32, 8>{});
#endif
}

struct ScanPlan {
  int64_t columns;      // blocks side by side over the channels of one group
  int64_t chunks;       // pieces of the time axis; 1: one sequential pass
  int64_t chunk_steps;  // a multiple of kScanTile
  int64_t shared_bytes; // of a block
  int64_t workspace_bytes;
};

// What a kernel is started with.
struct ScanArgs {
  ScanProblem problem;
  ScanPlan plan;
  float *chunk_state; // (b, chunks - 1, d, n): the state each chunk would end in if it began at 0
  float *chunk_time;  // (b, chunks - 1, d): the sum of dt over each chunk, from which its decay follows
};

inline Status check(const ScanProblem &p) {
  if (p.b < 0 || p.l < 1 || p.d < 1)
    return refuse("selective_scan: b must be at least 0, l and d at least 1");
  if (p.n < 1 || p.n > 256)
    return refuse("selective_scan: n must be 1 to 256");
  if (p.g < 1 || p.d % p.g != 0)
    return refuse("selective_scan: the groups g must divide the channels d");
  if (p.state_batch != 1 && p.state_batch != p.b)
    return refuse("selective_scan: initial_state must have 1 or b as its first size");
  if (p.type != Dtype::kFloat32 && p.type != Dtype::kFloat16 && p.type != Dtype::kBFloat16)
    return refuse("selective_scan: T must be float32, float16 or bfloat16");
  if (p.chunks < 0)
    return refuse("selective_scan: chunks must not be negative");
  return kDone;
}

inline int64_t scan_workspace_bytes(const ScanProblem &p, int64_t chunks) {
  return p.b * (chunks - 1) * p.d * (p.n + 1) * static_cast<int64_t>(sizeof(float));
}

// Cuts the work. At most `workspace_limit` bytes of workspace are planned with: chunks are given up first.
template <class Lanes>
ScanPlan plan_scan(const ScanProblem &p, const Device &device, int64_t workspace_limit) {
  ScanPlan plan{};
  const int64_t width = p.d / p.g, rows = p.b * p.g;
  plan.columns = ceil_div(width, Lanes::kChannels);

  int64_t chunks = p.chunks;
  if (chunks == 0) {
    // Two passes take every exp twice, so chunks pay only where more than three quarters of the device would
    // idle. Six warps a multiprocessor keep its special-function units busy; a chunk under 64 steps
    // is not worth the second launch.
    const int64_t warps = greater(1, rows * ceil_div(width * Lanes::kLanes, 32));
    chunks = lesser(lesser(6 * int64_t{device.multiprocessors} / warps, p.l / 64), 64);
    if (chunks < 4 || p.l < 512)
      chunks = 1;
  }
  if (chunks > 1) {
    const int64_t one = greater(1, scan_workspace_bytes(p, 2));
    chunks = lesser(chunks, workspace_limit / one + 1);
  }
  plan.chunk_steps = round_up(ceil_div(p.l, chunks), kScanTile);
  plan.chunks = ceil_div(p.l, plan.chunk_steps);
  plan.shared_bytes = Lanes::kSharedFloats * static_cast<int64_t>(sizeof(float));
  plan.workspace_bytes = scan_workspace_bytes(p, plan.chunks);
  return plan;
}

// Bytes of workspace that the fastest plan wants. Less is not an error: the scan then has fewer chunks.
inline Status scan_workspace(const ScanProblem &p, const Device &device, int64_t *bytes) {
  MIMAMBA_TRY(check(p));
  return with_states(p.n, [&](auto lanes) {
    *bytes = plan_scan<decltype(lanes)>(p, device, INT64_MAX).workspace_bytes;
    return kDone;
  });
}

// Checks, plans, and calls launch(lanes, state_only, blocks, args) for each kernel in order; state_only is
// std::true_type for the first of two passes. The one place that says what is launched, on both sides.
template <class Launch>
Status run_scan(const ScanProblem &p, const Device &device, void *workspace, int64_t workspace_bytes,
                Launch &&launch) {
  MIMAMBA_TRY(check(p));
  if (p.b == 0)
    return kDone;
  if (!p.u || !p.delta || !p.A || !p.B || !p.C || !p.D || !p.delta_bias || !p.initial_state || !p.y)
    return refuse("selective_scan: a null pointer for a tensor other than z and last_state");
  return with_states(p.n, [&](auto lanes) {
    ScanArgs args{};
    args.problem = p;
    args.plan = plan_scan<decltype(lanes)>(p, device, workspace ? workspace_bytes : 0);
    args.chunk_state = static_cast<float *>(workspace);
    const int64_t before = args.plan.chunks - 1, items = p.b * p.g * args.plan.columns;
    if (before > 0) {
      args.chunk_time = args.chunk_state + p.b * before * p.d * p.n;
      MIMAMBA_TRY(launch(lanes, std::true_type{}, lesser(items * before, device.max_blocks), args));
    }
    return launch(lanes, std::false_type{}, lesser(items * (before + 1), device.max_blocks), args);
  });
}

} // namespace mimamba

// MultiScaleTemporalBlock: its problem, its checks and how the work is cut. Plain C++: no CUDA in here.
#pragma once

#include "common.h"

namespace mimamba {

// Tensors are contiguous, the last axis fastest. x (b, l, c) float32; w1 (f, c, k, k) T; b1 (f) float32;
// w2 (c, f, k, k) T; b2 (c) float32; y (b, l, c) T. y must not overlap an input.
struct MstbProblem {
  const float *x;
  const void *w1;
  const float *b1;
  const void *w2;
  const float *b2;
  void *y;
  int64_t b, l, c, f, k;
  Dtype type;
  int64_t top_k, min_bin, max_bin; // max_bin 0: l / 2
  int32_t weighting;               // 0: share of amplitude, 1: softmax of amplitude_scale times amplitude
  float amplitude_scale;
  bool channel_first;       // x (b, c, l) and y (b, c, l) in place of (b, l, c)
  int32_t period_rule;      // a bin's period is l / bin, 0: rounded up, 1: rounded down
  int64_t groups;           // of hidden channels; 0: the plan decides; tests and measurements force a number
  bool images_in_workspace; // false: only where they do not fit in shared memory
};

constexpr int kMaxTopK = 8, kMaxKernel = 15;
constexpr int kSpectrumThreads = 128, kSpectrumBins = 16, kSpectrumSlices = 16; // of a block
constexpr int kSpectrumChunk = 256; // pairs of samples in shared memory at a time
constexpr int kConvThreads = 256;   // fewer where shared memory is short
constexpr int kRun = 4;             // places of a thread along the longer axis of the image
constexpr int kTapStride = 5; // float4 per tap of four by four channels: the fifth spreads them over banks
constexpr int kCombineLanes = 64, kCombineSlices = 8;
constexpr int kGroupsPerMultiprocessor = 3;

struct MstbPlan {
  int32_t bins, bin_tiles;     // the band
  int32_t fours;               // of channels of x
  int32_t groups, group_fours; // hidden channels are worked on in fours
  int32_t places;              // float4 of the largest image, padding included
  int32_t conv_threads, tap_buffers;
  bool images_in_workspace;
  int64_t conv_shared, conv_blocks;
  int64_t amplitude_at, part_at, image_at; // offsets in the workspace, in floats
  int64_t workspace_bytes;

  int64_t image_bytes() const {
    return 2 * int64_t{places} * 4 * sizeof(float);
  } // signal and hidden channels
};

inline Status check(const MstbProblem &p) {
  if (p.b < 0 || p.l < 2 || p.c < 1 || p.f < 1)
    return refuse("multi_scale_temporal_block: l must be at least 2, b at least 0, c and f at least 1");
  // Offsets inside a window and numbers of work items are 32 bits wide.
  if (p.l > (1 << 20) || p.l * round_up(p.c, 4) > (1 << 28) || p.f > (1 << 20))
    return refuse("multi_scale_temporal_block: l and f must be at most 2^20, l times c at most 2^28");
  if (p.k < 1 || p.k > kMaxKernel || p.k % 2 == 0)
    return refuse("multi_scale_temporal_block: k must be odd and at most 15");
  if (p.type != Dtype::kFloat32 && p.type != Dtype::kFloat16 && p.type != Dtype::kBFloat16)
    return refuse("multi_scale_temporal_block: T must be float32, float16 or bfloat16");
  const int64_t last = p.max_bin ? p.max_bin : p.l / 2;
  if (p.min_bin < 1 || last < p.min_bin || last > p.l / 2)
    return refuse("multi_scale_temporal_block: the bins must satisfy 1 <= min_bin <= max_bin <= l / 2");
  if (p.top_k < 1 || p.top_k > kMaxTopK || p.top_k > last - p.min_bin + 1)
    return refuse("multi_scale_temporal_block: top_k must be 1 to 8 and at most the number of bins");
  if (p.weighting != 0 && p.weighting != 1)
    return refuse("multi_scale_temporal_block: weighting must be 0 or 1");
  if (p.period_rule != 0 && p.period_rule != 1)
    return refuse("multi_scale_temporal_block: period_rule must be 0 or 1");
  if (p.b > INT32_MAX / greater(p.top_k * ceil_div(p.f, 4), p.l))
    return refuse("multi_scale_temporal_block: b times l, and b times top_k times f / 4, must be under 2^31");
  if (p.groups < 0)
    return refuse("multi_scale_temporal_block: groups must not be negative");
  return kDone;
}

// The plan for a number of groups. Images in the workspace get as many blocks as find room there.
inline MstbPlan plan_mstb_groups(const MstbProblem &p, const Device &device, int64_t groups,
                                 int64_t workspace_bytes) {
  MstbPlan plan{};
  plan.bins = static_cast<int32_t>((p.max_bin ? p.max_bin : p.l / 2) - p.min_bin + 1);
  plan.bin_tiles = static_cast<int32_t>(ceil_div(plan.bins, kSpectrumBins));
  plan.fours = static_cast<int32_t>(ceil_div(p.c, 4));
  const int64_t hidden_fours = ceil_div(p.f, 4);
  plan.group_fours = static_cast<int32_t>(ceil_div(hidden_fours, groups));
  plan.groups = static_cast<int32_t>(ceil_div(hidden_fours, plan.group_fours));
  // Rows and columns of a fold are ceil(l / bin) and what that leaves: the shorter axis is at most the square
  // root of l, rounded up, and at most one line of it is padding. The longer one is rounded up to runs and
  // has k / 2 zeros at either end.
  int64_t root = 1;
  while (root * root < p.l)
    ++root;
  // A period that is rounded down leaves up to a whole row of padding; that of bin 1 leaves none.
  const int64_t padding = p.period_rule ? p.l / greater(2, p.min_bin) : 0;
  plan.places = static_cast<int32_t>(p.l + padding + root * (kRun + p.k - 1));

  const int64_t four = 4 * sizeof(float), taps = p.k * p.k * kTapStride * four, images = plan.image_bytes();
  const auto cut = [&](int threads, int tap_buffers, bool images_in_workspace) {
    plan.conv_threads = threads;
    plan.tap_buffers = tap_buffers;
    plan.images_in_workspace = images_in_workspace;
    plan.conv_shared = tap_buffers * taps + threads * kRun * four + (images_in_workspace ? 0 : images);
    return plan.conv_shared + kStaticShared <= device.shared_bytes;
  };
  if (p.images_in_workspace || !(cut(kConvThreads, 2, false) || cut(kConvThreads, 1, false)))
    cut(kConvThreads, 2, true) || cut(kConvThreads / 2, 1, true);

  int64_t floats = 0;
  const auto reserve = [&](int64_t count) {
    const int64_t at = floats;
    floats += round_up(count, 4); // keeps every part 16-byte aligned
    return at;
  };
  plan.amplitude_at = reserve(p.b * plan.bins);
  plan.part_at = reserve(p.b * p.top_k * plan.groups * p.l * plan.fours * 4);
  plan.conv_blocks = lesser(p.b * p.top_k * plan.groups, device.max_blocks);
  if (plan.images_in_workspace) {
    const int64_t room = (workspace_bytes - floats * int64_t{sizeof(float)}) / images;
    // Two blocks a multiprocessor run at once; the others would only wait.
    plan.conv_blocks = lesser(plan.conv_blocks, 2 * int64_t{device.multiprocessors});
    plan.conv_blocks = greater(1, lesser(plan.conv_blocks, room));
  }
  plan.image_at = reserve(plan.images_in_workspace ? plan.conv_blocks * images / int64_t{sizeof(float)} : 0);
  plan.workspace_bytes = floats * int64_t{sizeof(float)};
  return plan;
}

// Most groups that pay: with more, a device of so many multiprocessors has nothing left to gain.
inline int64_t most_groups(int64_t pairs, int64_t fours, int64_t multiprocessors) {
  return lesser(fours, ceil_div(kGroupsPerMultiprocessor * multiprocessors, greater(1, pairs)));
}

// Cuts the work. A block has one window, one of its periods and one group of hidden channels; what the groups
// and the periods add to the window meets in the last kernel, in a fixed order. With less workspace than the
// best plan wants there are fewer groups.
inline MstbPlan plan_mstb(const MstbProblem &p, const Device &device, int64_t workspace_bytes = INT64_MAX) {
  const int64_t fours = ceil_div(p.f, 4), pairs = greater(1, p.b * p.top_k);
  int64_t best = lesser(p.groups, fours);
  if (!p.groups) {
    // The multiprocessor with the most blocks is the last to be done. A block of n fours costs n and about a
    // quarter for its start.
    int64_t least = INT64_MAX;
    for (int64_t groups = 1; groups <= most_groups(pairs, fours, device.multiprocessors); ++groups) {
      const int64_t cost =
          ceil_div(pairs * groups, device.multiprocessors) * (4 * ceil_div(fours, groups) + 1);
      if (cost < least) {
        least = cost;
        best = groups;
      }
    }
  }
  MstbPlan plan = plan_mstb_groups(p, device, best, workspace_bytes);
  while (plan.workspace_bytes > workspace_bytes && best > 1)
    plan = plan_mstb_groups(p, device, --best, workspace_bytes);
  return plan;
}

// Bytes of workspace that a launch needs to be as fast as it can be.
inline Status mstb_workspace(const MstbProblem &p, const Device &device, int64_t *bytes) {
  MIMAMBA_TRY(check(p));
  *bytes = plan_mstb(p, device).workspace_bytes;
  return kDone;
}

// What launch_mstb() refuses, and the plan that it follows.
inline Status prepare_mstb(const MstbProblem &p, const Device &device, const void *workspace,
                           int64_t workspace_bytes, MstbPlan *plan) {
  MIMAMBA_TRY(check(p));
  if (p.b > 0 && (!p.x || !p.w1 || !p.b1 || !p.w2 || !p.b2 || !p.y))
    return refuse("multi_scale_temporal_block: a null pointer for a tensor");
  *plan = plan_mstb(p, device, workspace_bytes);
  if (p.b > 0 && (!workspace || plan->workspace_bytes > workspace_bytes))
    return {Code::kWorkspaceTooSmall,
            "multi_scale_temporal_block: the workspace is smaller than mstb_workspace() asks for"};
  if (plan->conv_shared + kStaticShared > device.shared_bytes)
    return refuse("multi_scale_temporal_block: the device has too little shared memory for this k");
  return kDone;
}

} // namespace mimamba

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
  int64_t groups;           // of hidden channels; 0: the plan decides; tests and measurements force a number
  bool images_in_workspace; // false: only where they do not fit in shared memory
};

constexpr int kMaxTopK = 8, kMaxKernel = 15;
constexpr int kSpectrumThreads = 128, kSpectrumBins = 16, kSpectrumSlices = kSpectrumThreads / kSpectrumBins;
constexpr int kSpectrumTable = 2048; // longest window with a table of its angles in shared memory
constexpr int kConvThreads = 256;    // at most
constexpr int kTapStride = 5; // Vec4 per tap of four by four channels: the fifth spreads them over banks
constexpr int kChoiceThreads = 64;
constexpr int kChoiceFloats = 2 * kChoiceThreads + 2 * kMaxTopK;
constexpr int kCombineThreads = 256;

struct MstbPlan {
  int64_t first_bin, bins; // the band
  int64_t bin_tiles;
  int64_t groups, group_fours; // hidden channels are worked on in fours
  int64_t places;              // samples of the largest folded image, padding included
  int32_t conv_threads;
  bool images_in_workspace;
  int64_t spectrum_shared, conv_shared; // bytes of a block
  int64_t conv_blocks;
  int64_t amplitude_at, weight_at, part_at, image_at; // offsets in the workspace, in floats
  int64_t workspace_bytes;
};

struct MstbArgs {
  MstbProblem problem;
  MstbPlan plan;
  float *amplitude; // (b, bins), a sum over channels divided by c
  float *weight;    // (b, top_k)
  float *part;      // (b, top_k, groups, l, c): branches before bias and weight
  float *image;     // (conv_blocks, 1 + group_fours, places) Vec4, where shared memory is too small
};

inline Status check(const MstbProblem &p) {
  if (p.b < 0 || p.l < 2 || p.c < 1 || p.f < 1)
    return refuse("multi_scale_temporal_block: l must be at least 2, b at least 0, c and f at least 1");
  if (p.l > (int64_t{1} << 28))
    return refuse("multi_scale_temporal_block: l must be at most 2^28");
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
  if (p.groups < 0)
    return refuse("multi_scale_temporal_block: groups must not be negative");
  return kDone;
}

inline MstbPlan plan_mstb_groups(const MstbProblem &p, const Device &device, int64_t groups) {
  MstbPlan plan{};
  plan.first_bin = p.min_bin;
  plan.bins = (p.max_bin ? p.max_bin : p.l / 2) - p.min_bin + 1;
  plan.bin_tiles = ceil_div(plan.bins, kSpectrumBins);
  const int64_t fours = ceil_div(p.f, 4);
  plan.group_fours = ceil_div(fours, groups);
  plan.groups = ceil_div(fours, plan.group_fours);
  // A fold of l samples by ceil(l / bin) pads at most min(bin, period) - 1 of them, which is under sqrt(l).
  int64_t root = 1;
  while (root * root < p.l)
    ++root;
  plan.places = p.l + root;
  plan.conv_threads = static_cast<int32_t>(lesser(kConvThreads, round_up(greater(plan.places, 64), 32)));

  const int64_t table = p.l <= kSpectrumTable ? 2 * p.l : 0, four = sizeof(float);
  plan.spectrum_shared = (table + kSpectrumThreads * 8 + kSpectrumBins * 5) * four;
  const int64_t taps = p.k * p.k * kTapStride * 4, images = (1 + plan.group_fours) * plan.places * 4;
  plan.conv_shared = (kChoiceFloats + taps + images) * four;
  plan.images_in_workspace = p.images_in_workspace || plan.conv_shared > device.shared_bytes;
  if (plan.images_in_workspace)
    plan.conv_shared = (kChoiceFloats + taps) * four;
  plan.conv_blocks = lesser(p.b * p.top_k * plan.groups, device.max_blocks);

  int64_t floats = 0;
  const auto reserve = [&](int64_t count) {
    const int64_t at = floats;
    floats += round_up(count, 4); // keeps every part 16-byte aligned
    return at;
  };
  plan.amplitude_at = reserve(p.b * plan.bins);
  plan.weight_at = reserve(p.b * p.top_k);
  plan.part_at = reserve(p.b * p.top_k * plan.groups * p.l * p.c);
  plan.image_at = reserve(plan.images_in_workspace ? plan.conv_blocks * images : 0);
  plan.workspace_bytes = floats * four;
  return plan;
}

// Cuts the work. A block has one window, one of its periods and one group of hidden channels; the partial
// sums of the groups meet in the last kernel, in a fixed order.
inline MstbPlan plan_mstb(const MstbProblem &p, const Device &device) {
  const int64_t fours = ceil_div(p.f, 4), pairs = greater(1, p.b * p.top_k);
  if (p.groups)
    return plan_mstb_groups(p, device, lesser(p.groups, fours));
  int64_t groups = lesser(fours, ceil_div(2 * int64_t{device.multiprocessors}, pairs));
  // More groups, down to four hidden channels each, before the images leave shared memory; and up to 48 KB a
  // block, so that several share a multiprocessor.
  while (groups < fours && plan_mstb_groups(p, device, groups).conv_shared > 48 * 1024)
    ++groups;
  while (groups < fours && plan_mstb_groups(p, device, groups).images_in_workspace)
    ++groups;
  return plan_mstb_groups(p, device, groups);
}

// Bytes of workspace that a launch needs.
inline Status mstb_workspace(const MstbProblem &p, const Device &device, int64_t *bytes) {
  MIMAMBA_TRY(check(p));
  *bytes = plan_mstb(p, device).workspace_bytes;
  return kDone;
}

// Checks, plans, and calls launch(kernel, blocks, args) for the three kernels 0, 1, 2 in order. The one place
// that says what is launched, on both sides.
template <class Launch>
Status run_mstb(const MstbProblem &p, const Device &device, void *workspace, int64_t workspace_bytes,
                Launch &&launch) {
  MIMAMBA_TRY(check(p));
  if (p.b == 0)
    return kDone;
  if (!p.x || !p.w1 || !p.b1 || !p.w2 || !p.b2 || !p.y)
    return refuse("multi_scale_temporal_block: a null pointer for a tensor");
  MstbArgs args{};
  args.problem = p;
  args.plan = plan_mstb(p, device);
  // A workspace sized for other shapes of the same network may hold fewer groups only.
  for (int64_t groups = args.plan.groups - 1; args.plan.workspace_bytes > workspace_bytes && groups >= 1;
       --groups)
    args.plan = plan_mstb_groups(p, device, groups);
  if (!workspace || args.plan.workspace_bytes > workspace_bytes)
    return {Code::kWorkspaceTooSmall,
            "multi_scale_temporal_block: the workspace is smaller than mstb_workspace() asks for"};
  float *const base = static_cast<float *>(workspace);
  args.amplitude = base + args.plan.amplitude_at;
  args.weight = base + args.plan.weight_at;
  args.part = base + args.plan.part_at;
  args.image = base + args.plan.image_at;
  MIMAMBA_TRY(launch(0, lesser(p.b * args.plan.bin_tiles, device.max_blocks), args));
  MIMAMBA_TRY(launch(1, args.plan.conv_blocks, args));
  return launch(2, lesser(ceil_div(p.b * p.l * p.c, kCombineThreads), device.max_blocks), args);
}

} // namespace mimamba

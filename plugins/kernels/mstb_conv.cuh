// MultiScaleTemporalBlock, second kernel: choose a window's period, fold, convolve, GELU, convolve.
//
// A block has one window, one of its periods and one group of hidden channels. Both convolutions take four
// channels to four: a thread has a run of four places along the longer axis of the image in registers, so one
// tap is five 16-byte loads and 64 multiply-adds. Taps across lines that fall into padding are not visited;
// along a line there are zeros at either end.
#pragma once

#include "mstb_common.cuh"

namespace mimamba {

// A folded window: `lines` places along the shorter axis, which are neighbours in memory, `length` along the
// longer one. Rows of the fold are either.
struct Fold {
  int lines, length;
  int line_step, length_step; // samples from a place to the next one
  int line_tap, length_tap;   // the same for taps
  int runs, splits;           // runs of places, and among how many threads the taps of a run are split
};

__device__ inline unsigned warp_max(unsigned x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(~0u, x);
#else
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    x = max(x, __shfl_xor_sync(~0u, x, offset));
  return x;
#endif
}

// Finds the top_k bins of a window, largest amplitude first, of equal ones the lower; for one warp. Returns
// number `branch`, and in `chosen` the amplitudes and zeros. They are compared by their bits, which order as
// floats do when none is negative, so NaN still gives bins.
__device__ inline int choose_bin(const float *amplitude, int bins, int top_k, int branch, float *chosen) {
  constexpr int kKept = 4; // of each lane; the few of more than 128 bins are read again
  const int lane = threadIdx.x;
  unsigned kept[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i)
    kept[i] = lane + i * 32 < bins ? __float_as_uint(amplitude[lane + i * 32]) : 0;
  unsigned last = ~0u;
  int last_bin = -1, bin = 0;
  float mine = 0.0f; // lane i keeps the i-th amplitude
  for (int i = 0; i < top_k; ++i) {
    unsigned most = 0, first = ~0u; // the lowest bin with as much
    const auto consider = [&](unsigned size, int at) {
      const bool behind = size < last || (size == last && at > last_bin);
      if (at < bins && behind && (first == ~0u || size > most)) {
        most = size;
        first = at;
      }
    };
#pragma unroll
    for (int j = 0; j < kKept; ++j)
      consider(kept[j], lane + j * 32);
#pragma unroll 4
    for (int at = lane + kKept * 32; at < bins; at += 32)
      consider(__float_as_uint(amplitude[at]), at);
    last = warp_max(most);
    last_bin = static_cast<int>(~warp_max(most == last ? ~first : 0));
    if (i == branch)
      bin = last_bin;
    mine = i == lane ? __uint_as_float(last) : mine;
  }
  if (lane < kMaxTopK)
    chosen[lane] = mine;
  return bin;
}

// For one warp: every lane tries a number of splits.
__device__ inline Fold fold_of(int l, int k, int bin, bool down, int threads) {
  const int splits = min(static_cast<int>(threadIdx.x) + 1, k), share = quotient(threads, splits);
  const int period = quotient(down ? l : l + bin - 1, bin), rows = quotient(l + period - 1, period);
  Fold fold = rows < period ? Fold{rows, period, period, 1, k, 1} : Fold{period, rows, 1, period, 1, k};
  fold.runs = fold.lines * ((fold.length + kRun - 1) / kRun);
  // Passes over the runs, and what one costs: taps after one another in warps that share a scheduler.
  const int taps = min(k, fold.lines), width = min(fold.runs, share);
  const int passes = quotient(fold.runs + width - 1, width), rounds = quotient(taps + splits - 1, splits);
  const unsigned cost = passes * (rounds * ((width * splits + 127) / 128) * 4 + 1);
  fold.splits = ~warp_max(splits <= taps ? ~(cost * 16 + splits) : 0) & 15;
  return fold;
}

// The weight of a period: its share of the amplitudes chosen, or the softmax of them.
__device__ inline float weight_of(const MstbProblem &p, const float *chosen, int branch) {
  const int top_k = static_cast<int>(p.top_k);
  float total = 0.0f;
  if (p.weighting == 1) {
    const float scale = p.amplitude_scale;
    // Amplitudes fall, so scaled ones are largest at one end.
    const float most = fmaxf(scale * chosen[0], scale * chosen[top_k - 1]);
    for (int i = 0; i < top_k; ++i)
      total += expf(scale * chosen[i] - most);
    return expf(scale * chosen[branch] - most) / total;
  }
#pragma unroll
  for (int i = 0; i < kMaxTopK; ++i)
    total += chosen[i];
  return total > 0.0f ? __fdividef(chosen[branch], total) : 1.0f / static_cast<float>(top_k);
}

// Four by four channels of a kernel w (outs, ins, k, k) to taps[tap][in], each a float4 of outs; zeros past
// the end. For threads `thread`, `thread` + `threads`, ...
template <class T>
__device__ void load_taps(float4 *taps, const void *w, int out, int outs, int in, int ins, int size,
                          int thread, int threads) {
  constexpr int kBatch = 6; // on their way at once: all of k 11 for three warps
  const int64_t stride = static_cast<int64_t>(ins) * size;
  const T *kernel = static_cast<const T *>(w) + out * stride + in * size;
  for (int base = thread; base < size * 4; base += kBatch * threads) {
    float value[kBatch][4];
    // Neighbouring threads read neighbouring taps.
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int e = base + j * threads;
      const T *from = kernel + e;
      const bool inside = e < size * min(4, ins - in);
#pragma unroll
      for (int o = 0; o < 4; ++o, from += stride)
        value[j][o] = inside && out + o < outs ? to_float(*from) : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int e = base + j * threads, i = (e >= size) + (e >= 2 * size) + (e >= 3 * size);
      if (e < size * 4)
        taps[(e - i * size) * kTapStride + i] = {value[j][0], value[j][1], value[j][2], value[j][3]};
    }
  }
}

// Adds to the sums of a run of places, from place `first` of a line on, every fold.splits-th of the taps
// across lines from number `split` on.
__device__ inline void correlate(const float4 *image, const float4 *taps, const Fold &fold, int k, int line,
                                 int first, int split, float4 (&sum)[kRun]) {
  const int half = k / 2, end = min(k, fold.lines - line + half);
  // Taps further along a line than its length see only zeros.
  const int from = max(0, half + 1 - fold.length), to = min(k, half + fold.length);
  for (int i = max(0, half - line) + split; i < end; i += fold.splits) {
    const float4 *seen = image + (first + from) * fold.lines + line + i - half;
    const float4 *weights = taps + (i * fold.line_tap + from * fold.length_tap) * kTapStride;
    float4 x0 = seen[0], x1 = seen[fold.lines], x2 = seen[2 * fold.lines];
    seen += 3 * fold.lines;
#pragma unroll 4
    for (int j = from; j < to; ++j) {
      const float4 x3 = *seen;
      const float4 w[4] = {weights[0], weights[1], weights[2], weights[3]};
      const float4 x[kRun] = {x0, x1, x2, x3};
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        sum[r] = multiply_add(w[0], x[r].x, sum[r]);
        sum[r] = multiply_add(w[1], x[r].y, sum[r]);
        sum[r] = multiply_add(w[2], x[r].z, sum[r]);
        sum[r] = multiply_add(w[3], x[r].w, sum[r]);
      }
      x0 = x1, x1 = x2, x2 = x3;
      seen += fold.lines;
      weights += fold.length_tap * kTapStride;
    }
  }
}

// Convolves an image and calls finish(place along the line, line, sum) for each place. Threads that share a
// run's taps leave their sums in `partial`, where all threads take them from.
template <class Finish>
__device__ void convolve(const float4 *image, const float4 *taps, float4 *partial, const Fold &fold, int k,
                         Finish &&finish) {
  const int threads = blockDim.x, width = min(fold.runs, quotient(threads, fold.splits));
  const int rows = quotient(threads, width), split = quotient(threadIdx.x, width);
  const int column = threadIdx.x - split * width;
  for (int base = 0; base < fold.runs; base += width) {
    const int run = base + column, along = quotient(run, fold.lines);
    const int line = run - along * fold.lines, first = along * kRun;
    if (split < fold.splits && run < fold.runs) {
      float4 sum[kRun] = {};
      correlate(image, taps, fold, k, line, first, split, sum);
#pragma unroll
      for (int r = 0; r < kRun; ++r)
        partial[(split * kRun + r) * width + column] = sum[r];
    }
    __syncthreads();
    if (split < rows && run < fold.runs)
      for (int r = split; r < kRun && first + r < fold.length; r += rows) {
        float4 sum = partial[r * width + column];
        for (int i = 1; i < fold.splits; ++i)
          sum = sum + partial[(i * kRun + r) * width + column];
        finish(first + r, line, sum);
      }
    __syncthreads();
  }
}

__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

extern __shared__ float4 conv_shared[];

// kShared: signal and hidden images are in shared memory, not in the block's own part of the workspace.
template <class T, bool kShared>
__global__ void __launch_bounds__(kConvThreads, 2) conv_kernel(const MstbArgs args) {
  const MstbProblem &p = args.problem;
  const MstbPlan &plan = args.plan;
  const int thread = threadIdx.x, threads = blockDim.x, top_k = static_cast<int>(p.top_k);
  const int l = static_cast<int>(p.l), c = static_cast<int>(p.c), f = static_cast<int>(p.f);
  const int k = static_cast<int>(p.k), size = k * k, half = k / 2;
  __shared__ Fold shared_fold;
  __shared__ float chosen[kMaxTopK];
  static_assert(sizeof(shared_fold) + sizeof(chosen) <= kStaticShared);
  float4 *const in_taps = conv_shared;
  float4 *const out_taps = in_taps + (plan.tap_buffers - 1) * size * kTapStride;
  float4 *const partial = out_taps + size * kTapStride;
  const int64_t block = blockIdx.x + static_cast<int64_t>(gridDim.x) * (blockIdx.y + gridDim.y * blockIdx.z);
  float4 *const signal = kShared ? partial + threads * kRun : args.image + block * 2 * plan.places;
  float4 *const hidden = signal + plan.places;

  const auto convolve_group = [&](int64_t window, int branch, int group) {
    const int begin = group * plan.group_fours * 4, end = min(f, begin + plan.group_fours * 4);
    const Signal x = signal_of(p, window);
    float4 *const part = args.part + ((window * top_k + branch) * plan.groups + group) * plan.fours * l;
    // One warp chooses; the others load what does not depend on the choice.
    if (thread < 32) {
      const float *amplitude = args.amplitude + window * plan.bins;
      const int bin = choose_bin(amplitude, plan.bins, top_k, branch, chosen);
      const Fold fold = fold_of(l, k, static_cast<int>(p.min_bin) + bin, p.period_rule == 1, threads);
      if (thread == 0)
        shared_fold = fold;
    } else {
      const int others = threads - 32, at = thread - 32, some = others / 64 * 32;
      for (int t = at; t < l; t += others)
        hidden[t] = x.load(t, 0); // to be folded from there
      if (plan.tap_buffers == 1)
        load_taps<T>(in_taps, p.w1, begin, f, 0, c, size, at, others);
      else if (at < some)
        load_taps<T>(in_taps, p.w1, begin, f, 0, c, size, at, some);
      else
        load_taps<T>(out_taps, p.w2, 0, c, begin, f, size, at - some, others - some);
    }
    __syncthreads();
    const Fold fold = shared_fold;
    const int places = (fold.runs * kRun + 2 * half * fold.lines);
    float weight = 0.0f;

    for (int channel = begin; channel < end; channel += 4) { // four hidden channels
      for (int in = 0; in < c; in += 4) {
        const bool first = channel == begin && in == 0;
        const float4 bias = four_of(p.b1 + channel, in > 0 ? 0 : f - channel);
        if (!first)
          load_taps<T>(in_taps, p.w1, channel, f, in, c, size, thread, threads);
        if (channel > begin && in == 0 && plan.tap_buffers == 2)
          load_taps<T>(out_taps, p.w2, 0, c, channel, f, size, thread, threads);
        if (first || c > 4)
#pragma unroll 2
          for (int i = thread; i < places; i += threads) {
            const int along = quotient(i, fold.lines), place = along - half, line = i - along * fold.lines;
            const int t = place * fold.length_step + line * fold.line_step;
            const bool inside = place >= 0 && place < fold.length && t < l;
            signal[i] = !inside ? float4{} : first ? hidden[t] : x.load(t, in);
          }
        __syncthreads();
        if (first) // zeros at both ends of its lines; the rest is written before it is read
          for (int i = thread; i < places; i += threads)
            hidden[i] = float4{};
        convolve(signal, in_taps, partial, fold, k, [&](int place, int line, float4 sum) {
          float4 &to = hidden[(place + half) * fold.lines + line];
          sum = sum + (in > 0 ? to : bias);
          to = in + 4 < c ? sum : float4{gelu(sum.x), gelu(sum.y), gelu(sum.z), gelu(sum.w)};
        });
      }
      if (channel == begin)
        weight = weight_of(p, chosen, branch);
      for (int out = 0; out < c; out += 4) {
        if (out > 0 || plan.tap_buffers == 1) {
          load_taps<T>(out_taps, p.w2, out, c, channel, f, size, thread, threads);
          __syncthreads();
        }
        convolve(hidden, out_taps, partial, fold, k, [&](int place, int line, float4 sum) {
          const int t = place * fold.length_step + line * fold.line_step;
          if (t < l) {
            float4 &to = part[out / 4 * l + t];
            to = multiply_add(sum, weight, channel > begin ? to : float4{});
          }
        });
      }
    }
  };
  for (int64_t window = blockIdx.z; window < p.b; window += gridDim.z)
    for (int branch = blockIdx.y; branch < top_k; branch += gridDim.y)
      for (int group = blockIdx.x; group < plan.groups; group += gridDim.x)
        convolve_group(window, branch, group);
}

} // namespace mimamba

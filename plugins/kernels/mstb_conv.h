// MultiScaleTemporalBlock, second kernel: choose a window's periods, fold, convolve, GELU, convolve.
//
// Both convolutions run over images of four input channels at a time, four output channels in registers:
// one tap is five 16-byte loads and sixteen multiply-adds. Taps that fall in the zero padding are not
// visited.
#pragma once

#include "body.h"
#include "mstb_plan.h"

namespace mimamba {

// kShared: signal and hidden images are in shared memory, not in the block's own part of the workspace.
template <class Block, bool kShared> class ConvBody {
public:
  MIMAMBA_DEVICE ConvBody(Block &block, const MstbArgs &args)
      : block_(block), args_(args), p_(args.problem), plan_(args.plan), k_(static_cast<int>(p_.k)),
        taps_(reinterpret_cast<Vec4 *>(block.shared())), best_(block.shared() + k_ * k_ * kTapStride * 4),
        best_bin_(reinterpret_cast<int *>(best_ + kChoiceThreads)), chosen_(best_ + 2 * kChoiceThreads),
        chosen_bin_(reinterpret_cast<int *>(chosen_ + kMaxTopK)),
        signal_(reinterpret_cast<Vec4 *>(kShared ? best_ + kChoiceFloats
                                                 : args.image + block.index() * (1 + plan_.group_fours) *
                                                                    plan_.places * 4)),
        hidden_(signal_ + plan_.places) {}

  MIMAMBA_DEVICE void run() {
    const int64_t items = p_.b * p_.top_k * plan_.groups;
    for (int64_t item = block_.index(); item < items; item += block_.blocks()) {
      group_ = item % plan_.groups;
      branch_ = item / plan_.groups % p_.top_k;
      window_ = item / plan_.groups / p_.top_k;
      choose();
      fours_ = static_cast<int>(lesser(plan_.group_fours, ceil_div(p_.f, 4) - group_ * plan_.group_fours));
      first_hidden_ = group_ * plan_.group_fours * 4;
      convolve_signal();
      convolve_hidden();
    }
  }

private:
  // The top_k bins in order, largest first, of equal ones the lower first. Every block of a window does this
  // anew: a few hundred loads, against a launch of its own.
  MIMAMBA_DEVICE void choose() {
    const float *amplitude = args_.amplitude + window_ * plan_.bins;
    const int bins = static_cast<int>(plan_.bins), top_k = static_cast<int>(p_.top_k);
    for (int i = 0; i < top_k; ++i) {
      block_.each([&](int thread) {
        if (thread >= kChoiceThreads)
          return;
        int found = -1;
        float most = 0.0f;
        for (int bin = thread; bin < bins; bin += kChoiceThreads) {
          const float value = amplitude[bin];
          // Only what stands behind the bin chosen last is still to be had.
          if (i > 0 && !behind(value, bin, chosen_[i - 1], chosen_bin_[i - 1]))
            continue;
          if (found < 0 || value > most) {
            found = bin;
            most = value;
          }
        }
        best_[thread] = most;
        best_bin_[thread] = found;
      });
      block_.each([&](int thread) {
        if (thread != 0)
          return;
        int found = -1;
        float most = 0.0f;
        for (int j = 0; j < kChoiceThreads && j < bins; ++j)
          if (best_bin_[j] >= 0 && (found < 0 || behind(most, found, best_[j], best_bin_[j]))) {
            found = best_bin_[j];
            most = best_[j];
          }
        // Nothing compares with NaN. The answer is NaN then, but its period must still be one.
        chosen_bin_[i] = found < 0 ? i : found;
        chosen_[i] = amplitude[chosen_bin_[i]];
      });
    }
    const int64_t bin = plan_.first_bin + chosen_bin_[branch_];
    period_ = static_cast<int>(ceil_div(p_.l, bin));
    rows_ = static_cast<int>(ceil_div(p_.l, period_));
    if (branch_ == 0 && group_ == 0)
      block_.each([&](int thread) {
        if (thread < top_k)
          args_.weight[window_ * top_k + thread] = weight(thread, top_k);
      });
  }

  // Whether (a, bin_a) comes after (b, bin_b) in the order of choice.
  static MIMAMBA_DEVICE bool behind(float a, int bin_a, float b, int bin_b) {
    return a < b || (a == b && bin_a > bin_b);
  }

  MIMAMBA_DEVICE float weight(int i, int top_k) const {
    float total = 0.0f;
    if (p_.weighting == 1) {
      float most = p_.amplitude_scale * chosen_[0];
      for (int j = 1; j < top_k; ++j) // a negative scale makes the last one the largest
        most = p_.amplitude_scale * chosen_[j] > most ? p_.amplitude_scale * chosen_[j] : most;
      for (int j = 0; j < top_k; ++j)
        total += exp_exact(p_.amplitude_scale * chosen_[j] - most);
      return exp_exact(p_.amplitude_scale * chosen_[i] - most) / total;
    }
    for (int j = 0; j < top_k; ++j)
      total += chosen_[j];
    return total > 0.0f ? chosen_[i] / total : 1.0f / static_cast<float>(top_k);
  }

  // x to hidden_, four channels of x at a time; the sums wait in hidden_ from one four to the next.
  MIMAMBA_DEVICE void convolve_signal() {
    const float *x = p_.x + window_ * p_.l * p_.c;
    const int places = rows_ * period_;
    for (int64_t channel = 0; channel < p_.c; channel += 4) {
      block_.each([&](int thread) {
        for (int at = thread; at < places; at += block_.threads()) {
          Vec4 four{};
          MIMAMBA_UNROLL
          for (int c = 0; c < 4; ++c)
            if (at < p_.l && channel + c < p_.c)
              four.v[c] = x[at * p_.c + channel + c];
          signal_[at] = four;
        }
      });
      for (int i = 0; i < fours_; ++i) {
        const int64_t out = first_hidden_ + i * 4;
        block_.each([&](int thread) { fetch_taps(thread, p_.w1, out, p_.f, channel, p_.c); });
        block_.each([&](int thread) {
          Vec4 *hidden = hidden_ + i * plan_.places;
          for (int at = thread; at < places; at += block_.threads()) {
            Vec4 sum{};
            MIMAMBA_UNROLL
            for (int o = 0; o < 4; ++o)
              if (channel > 0)
                sum.v[o] = hidden[at].v[o];
              else if (out + o < p_.f)
                sum.v[o] = p_.b1[out + o];
            correlate(signal_, at, sum);
            if (channel + 4 >= p_.c) {
              MIMAMBA_UNROLL
              for (int o = 0; o < 4; ++o)
                sum.v[o] = 0.5f * sum.v[o] * (1.0f + erf_exact(sum.v[o] * 0.70710678f));
            }
            hidden[at] = sum;
          }
        });
      }
    }
  }

  // hidden_ to this group's partial sums, which the same thread reads back for the next four hidden channels.
  MIMAMBA_DEVICE void convolve_hidden() {
    const int64_t share = (window_ * p_.top_k + branch_) * plan_.groups + group_;
    float *part = args_.part + share * p_.l * p_.c;
    const int length = static_cast<int>(p_.l);
    for (int64_t channel = 0; channel < p_.c; channel += 4)
      for (int i = 0; i < fours_; ++i) {
        block_.each(
            [&](int thread) { fetch_taps(thread, p_.w2, channel, p_.c, first_hidden_ + i * 4, p_.f); });
        block_.each([&](int thread) {
          for (int at = thread; at < length; at += block_.threads()) {
            float *to = part + at * p_.c + channel;
            Vec4 sum{};
            MIMAMBA_UNROLL
            for (int o = 0; o < 4; ++o)
              if (i > 0 && channel + o < p_.c)
                sum.v[o] = to[o];
            correlate(hidden_ + i * plan_.places, at, sum);
            MIMAMBA_UNROLL
            for (int o = 0; o < 4; ++o)
              if (channel + o < p_.c)
                to[o] = sum.v[o];
          }
        });
      }
  }

  // Four by four channels of a kernel (outs, ins, k, k) to taps_[tap][in], each a Vec4 of outs; zeros past
  // the end.
  MIMAMBA_DEVICE void fetch_taps(int thread, const void *kernel, int64_t out, int64_t outs, int64_t in,
                                 int64_t ins) {
    const int size = k_ * k_;
    with_type(p_.type, [&](auto type) {
      using T = decltype(type);
      // Neighbouring threads read neighbouring taps; the scattered side is shared memory.
      MIMAMBA_UNROLL_4
      for (int e = thread; e < size * 16; e += block_.threads()) {
        const int tap = e % size, i = e / size % 4, o = e / size / 4;
        const bool inside = out + o < outs && in + i < ins;
        const int64_t at = ((out + o) * ins + in + i) * size + tap;
        taps_[tap * kTapStride + i].v[o] = inside ? T::load(kernel, at) : 0.0f;
      }
    });
  }

  // Adds to `sum` the taps around place `at` of a folded image.
  MIMAMBA_DEVICE void correlate(const Vec4 *image, int at, Vec4 &sum) const {
    const int half = k_ / 2, row = at / period_, column = at - row * period_;
    const int from_i = greater_int(0, half - row), to_i = lesser_int(k_, rows_ - row + half);
    const int from_j = greater_int(0, half - column), to_j = lesser_int(k_, period_ - column + half);
    for (int i = from_i; i < to_i; ++i) {
      const Vec4 *seen = image + (row + i - half) * period_ + column - half;
      const Vec4 *taps = taps_ + i * k_ * kTapStride;
      for (int j = from_j; j < to_j; ++j) {
        const Vec4 value = seen[j];
        MIMAMBA_UNROLL
        for (int c = 0; c < 4; ++c) {
          const Vec4 weights = taps[j * kTapStride + c];
          MIMAMBA_UNROLL
          for (int o = 0; o < 4; ++o)
            sum.v[o] += weights.v[o] * value.v[c];
        }
      }
    }
  }

  static MIMAMBA_DEVICE int lesser_int(int a, int b) { return a < b ? a : b; }
  static MIMAMBA_DEVICE int greater_int(int a, int b) { return a > b ? a : b; }

  Block &block_;
  const MstbArgs &args_;
  const MstbProblem &p_;
  const MstbPlan &plan_;
  const int k_;
  Vec4 *const taps_;
  float *const best_;
  int *const best_bin_;
  float *const chosen_;
  int *const chosen_bin_;
  Vec4 *const signal_, *const hidden_; // [place], [four of the group][place]
  int64_t window_, branch_, group_, first_hidden_;
  int fours_, period_, rows_;
};

} // namespace mimamba

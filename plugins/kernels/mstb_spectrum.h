// MultiScaleTemporalBlock, first kernel: amplitudes of the allowed bins, averaged over channels.
//
// A plain sum over the window for each bin, not an FFT: any length, any band, the same bits always, and at
// the window lengths of EEG it is hidden behind the launch.
#pragma once

#include "body.h"
#include "mstb_plan.h"

namespace mimamba {

template <class Block> class SpectrumBody {
public:
  MIMAMBA_DEVICE SpectrumBody(Block &block, const MstbArgs &args)
      : block_(block), p_(args.problem), plan_(args.plan), amplitude_(args.amplitude), mine_(block),
        sums_(reinterpret_cast<Vec4 *>(block.shared())), size_(block.shared() + kSpectrumThreads * 8),
        total_(size_ + kSpectrumBins * 4), sine_(total_ + kSpectrumBins), cosine_(sine_ + p_.l) {}

  MIMAMBA_DEVICE void run() {
    if (table())
      block_.each([&](int thread) {
        for (int i = thread; i < p_.l; i += kSpectrumThreads)
          angle(i, &sine_[i], &cosine_[i]);
      });
    const int64_t items = p_.b * plan_.bin_tiles;
    for (int64_t item = block_.index(); item < items; item += block_.blocks())
      run_tile(item / plan_.bin_tiles, item % plan_.bin_tiles * kSpectrumBins);
  }

private:
  struct Mine {
    Vec4 real, imaginary; // of four channels
  };

  MIMAMBA_DEVICE bool table() const { return p_.l <= kSpectrumTable; }

  // Sine and cosine of 2 pi i / l: whole turns come off in integers, so no accuracy is lost in long windows.
  MIMAMBA_DEVICE void angle(int64_t i, float *sine, float *cosine) const {
    sincos_pi(2.0f * static_cast<float>(i) / static_cast<float>(p_.l), sine, cosine);
  }

  MIMAMBA_DEVICE void run_tile(int64_t window, int64_t first) {
    const float *x = p_.x + window * p_.l * p_.c;
    block_.each([&](int thread) {
      if (thread < kSpectrumBins)
        total_[thread] = 0.0f;
    });
    for (int64_t channel = 0; channel < p_.c; channel += 4) {
      const int count = static_cast<int>(lesser(4, p_.c - channel));
      block_.each([&](int thread) {
        Mine &m = mine_[thread];
        const int64_t bin = first + thread % kSpectrumBins;
        m.real = m.imaginary = Vec4{};
        if (bin < plan_.bins)
          project(x + channel, count, plan_.first_bin + bin, thread / kSpectrumBins, m);
        sums_[2 * thread] = m.real;
        sums_[2 * thread + 1] = m.imaginary;
      });
      block_.each([&](int thread) {
        if (thread >= kSpectrumBins * 4)
          return;
        const int bin = thread % kSpectrumBins, c = thread / kSpectrumBins;
        float real = 0.0f, imaginary = 0.0f;
        for (int slice = 0; slice < kSpectrumSlices; ++slice) {
          real += sums_[2 * (slice * kSpectrumBins + bin)].v[c];
          imaginary += sums_[2 * (slice * kSpectrumBins + bin) + 1].v[c];
        }
        size_[thread] = sqrt_exact(real * real + imaginary * imaginary);
      });
      block_.each([&](int thread) {
        if (thread < kSpectrumBins)
          for (int c = 0; c < count; ++c)
            total_[thread] += size_[c * kSpectrumBins + thread];
      });
    }
    block_.each([&](int thread) {
      if (thread < kSpectrumBins && first + thread < plan_.bins)
        amplitude_[window * plan_.bins + first + thread] = total_[thread] / static_cast<float>(p_.c);
    });
  }

  // Sums every kSpectrumSlices-th sample of up to four channels against one bin's wave.
  MIMAMBA_DEVICE void project(const float *x, int count, int64_t bin, int slice, Mine &m) const {
    const int64_t stride = bin * kSpectrumSlices % p_.l;
    int64_t turn = bin * slice % p_.l;
    // The first sample comes off: bins above 0 do not see it, and a channel that does not move gives exact
    // zeros instead of rounding noise that would choose the periods.
    Vec4 offset{};
    for (int c = 0; c < count; ++c)
      offset.v[c] = x[c];
    for (int64_t t = slice; t < p_.l; t += kSpectrumSlices) {
      float sine, cosine;
      if (table()) {
        sine = sine_[turn];
        cosine = cosine_[turn];
      } else {
        angle(turn, &sine, &cosine);
      }
      MIMAMBA_UNROLL
      for (int c = 0; c < 4; ++c) {
        const float moved = c < count ? x[t * p_.c + c] - offset.v[c] : 0.0f;
        m.real.v[c] += moved * cosine;
        m.imaginary.v[c] += moved * sine;
      }
      turn += stride;
      if (turn >= p_.l)
        turn -= p_.l;
    }
  }

  Block &block_;
  const MstbProblem &p_;
  const MstbPlan &plan_;
  float *const amplitude_;
  typename Block::template Private<Mine> mine_;
  Vec4 *const sums_;                  // [slice][bin]: real, imaginary
  float *const size_;                 // [channel of four][bin]
  float *const total_;                // [bin]
  float *const sine_, *const cosine_; // [l]
};

} // namespace mimamba

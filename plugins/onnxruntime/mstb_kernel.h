// MultiScaleTemporalBlock: spectrum of a window with one bin per lane, and its fold by one period with one
// hidden channel per lane. Taps that fall in the padding are left out: all of them across the short axis of
// the fold, and along the long one those that fall outside for every place of a block.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace mimamba::MIMAMBA_TARGET {

// Places that are computed side by side: their sums fill the registers.
constexpr int kPlacesFirst = kManyRegisters ? 8 : 4;
constexpr int kPlacesSecond = kManyRegisters ? 4 : 2;
constexpr int kOut = 4;  // output channels of one block of the second convolution
constexpr int kPair = 2; // vectors of hidden channels in one block of the first

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Hidden channels are padded with zeros to whole pairs of vectors.
inline int64_t padded(int64_t f) { return (f + kPair * kLanes - 1) / (kPair * kLanes) * (kPair * kLanes); }

// A fold as an image of `s` short lines of `g` places. Lines have room for half a kernel at both ends, and
// for a block that runs past the end.
struct Image {
  int64_t s, g, half, line; // places of a line with its margins
  int64_t step_s, step_g;   // samples from a place to the next on each axis
  int64_t tap_s, tap_g;     // taps likewise, of a (k, k) kernel

  explicit Image(const Branch &b) {
    const int64_t rows = (b.l + b.period - 1) / b.period;
    const bool wide = b.period >= rows; // lines run within a patch, else across patches
    s = wide ? rows : b.period;
    g = wide ? b.period : rows;
    step_s = wide ? b.period : 1;
    step_g = wide ? 1 : b.period;
    tap_s = wide ? b.k : 1;
    tap_g = wide ? 1 : b.k;
    half = b.k / 2;
    line = g + 2 * least(half, g - 1) + kPlacesFirst;
  }
  int64_t margin() const { return least(half, g - 1); }
  int64_t places() const { return s * line; }
};

inline size_t branch_scratch(const Branch &branch) {
  return sizeof(float) * (size_t)(Image(branch).places() * (branch.c + padded(branch.f)));
}

// The taps of one block: lines -a_low to a_high from its own, places -e_low to e_high.
struct Taps {
  int64_t a_low, a_high, e_low, e_high;

  Taps(const Image &image, int64_t s, int64_t g, int64_t places) {
    a_low = -least(image.half, s);
    a_high = least(image.half, image.s - 1 - s);
    e_low = -least(image.margin(), g + places - 1);
    e_high = least(image.margin(), image.g - 1 - g);
  }
};

// Hidden channels f0 to f0 + kPair vectors of `Places` places from (s, g) on.
template <int Places>
inline void first_block(const Branch &branch, const Image &image, const float *signal, float *hidden,
                        int64_t s, int64_t g, int64_t f0) {
  const int64_t f = padded(branch.f), c = branch.c;
  Vec acc[Places][kPair];
  MIMAMBA_UNROLL
  for (int p = 0; p < Places; ++p)
    MIMAMBA_UNROLL
  for (int v = 0; v < kPair; ++v)
    acc[p][v] = load<Vec>(branch.b1 + f0 + v * kLanes);
  const Taps taps(image, s, g, Places);
  for (int64_t a = taps.a_low; a <= taps.a_high; ++a)
    for (int64_t e = taps.e_low; e <= taps.e_high; ++e) {
      const float *from = signal + ((s + a) * image.line + image.margin() + g + e) * c;
      const float *weight =
          branch.w1 + ((a + image.half) * image.tap_s + (e + image.half) * image.tap_g) * c * f + f0;
      for (int64_t i = 0; i < c; ++i) {
        Vec w[kPair];
        MIMAMBA_UNROLL
        for (int v = 0; v < kPair; ++v)
          w[v] = load<Vec>(weight + i * f + v * kLanes);
        MIMAMBA_UNROLL
        for (int p = 0; p < Places; ++p)
          MIMAMBA_UNROLL
        for (int v = 0; v < kPair; ++v)
          acc[p][v] = acc[p][v] + w[v] * from[p * c + i];
      }
    }
  float *to = hidden + (s * image.line + image.margin() + g) * f + f0;
  MIMAMBA_UNROLL
  for (int p = 0; p < Places; ++p)
    MIMAMBA_UNROLL
  for (int v = 0; v < kPair; ++v)
    store(to + p * f + v * kLanes, gelu(acc[p][v]));
}

// Output channels o to o + Out of `Places` places: products summed lane by lane, and across lanes at the end.
template <int Places, int Out>
inline void second_block(const Branch &branch, const Image &image, const float *hidden, int64_t s, int64_t g,
                         int64_t o) {
  const int64_t f = padded(branch.f), c = branch.c;
  Vec acc[Places][Out] = {};
  const Taps taps(image, s, g, Places);
  for (int64_t a = taps.a_low; a <= taps.a_high; ++a)
    for (int64_t e = taps.e_low; e <= taps.e_high; ++e) {
      const float *from = hidden + ((s + a) * image.line + image.margin() + g + e) * f;
      const float *weight =
          branch.w2 + (((a + image.half) * image.tap_s + (e + image.half) * image.tap_g) * c + o) * f;
      for (int64_t v = 0; v < f; v += kLanes) {
        Vec h[Places];
        MIMAMBA_UNROLL
        for (int p = 0; p < Places; ++p)
          h[p] = load<Vec>(from + p * f + v);
        MIMAMBA_UNROLL
        for (int i = 0; i < Out; ++i) {
          const Vec w = load<Vec>(weight + i * f + v);
          MIMAMBA_UNROLL
          for (int p = 0; p < Places; ++p)
            acc[p][i] = acc[p][i] + h[p] * w;
        }
      }
    }
  MIMAMBA_UNROLL
  for (int p = 0; p < Places; ++p) {
    const int64_t t = s * image.step_s + (g + p) * image.step_g;
    if (g + p < image.g && t < branch.l)
      MIMAMBA_UNROLL
    for (int i = 0; i < Out; ++i)
      branch.out[t * c + o + i] = sum(acc[p][i]) + branch.b2[o + i];
  }
}

inline void branch(const Branch &branch, float *scratch) {
  const Image image(branch);
  const int64_t f = padded(branch.f), c = branch.c, margin = image.margin();
  float *signal = scratch, *hidden = scratch + image.places() * c;
  __builtin_memset(signal, 0, sizeof(float) * (size_t)(image.places() * c));
  for (int64_t s = 0; s < image.s; ++s)
    for (int64_t g = 0; g < image.g; ++g) {
      const int64_t t = s * image.step_s + g * image.step_g;
      if (t < branch.l)
        for (int64_t i = 0; i < c; ++i)
          signal[(s * image.line + margin + g) * c + i] = branch.x[t * c + i];
    }
  for (int64_t s = 0; s < image.s; ++s) {
    float *line = hidden + s * image.line * f;
    for (int64_t f0 = 0; f0 < f; f0 += kPair * kLanes) {
      int64_t g = 0;
      for (; g + kPlacesFirst <= image.g; g += kPlacesFirst)
        first_block<kPlacesFirst>(branch, image, signal, hidden, s, g, f0);
      for (; g + 2 <= image.g; g += 2)
        first_block<2>(branch, image, signal, hidden, s, g, f0);
      for (; g < image.g; ++g)
        first_block<1>(branch, image, signal, hidden, s, g, f0);
    }
    __builtin_memset(line, 0, sizeof(float) * (size_t)(margin * f));
    float *end = line + (margin + image.g) * f;
    __builtin_memset(end, 0, sizeof(float) * (size_t)((image.line - margin - image.g) * f));
  }
  for (int64_t s = 0; s < image.s; ++s)
    for (int64_t g = 0; g < image.g; g += kPlacesSecond) {
      int64_t o = 0;
      for (; o + kOut <= c; o += kOut)
        second_block<kPlacesSecond, kOut>(branch, image, hidden, s, g, o);
      for (; o < c; ++o)
        second_block<kPlacesSecond, 1>(branch, image, hidden, s, g, o);
    }
}

// Adds |sum of (x - x[0]) times a bin's phasor| of `Channels` channels for one vector of bins, in float64.
// The phasor turns from sample to sample: no table, and what it is off by grows with l times 1e-16.
template <int Channels>
inline void add_amplitudes(const Spectrum &spectrum, const float *signal, VecD cosine, VecD sine,
                           VecD *total) {
  VecD re[Channels] = {}, im[Channels] = {}, x = cosine, y = sine;
  for (int64_t t = 1; t < spectrum.l; ++t) {
    MIMAMBA_UNROLL
    for (int i = 0; i < Channels; ++i) {
      const double value = (double)signal[t * spectrum.c + i] - (double)signal[i];
      re[i] = re[i] + x * value;
      im[i] = im[i] + y * value;
    }
    const VecD turned = x * cosine - y * sine;
    y = x * sine + y * cosine;
    x = turned;
  }
  MIMAMBA_UNROLL
  for (int i = 0; i < Channels; ++i) {
    const VecD square = re[i] * re[i] + im[i] * im[i];
    MIMAMBA_UNROLL
    for (int j = 0; j < kLanesD; ++j)
      (*total)[j] += __builtin_sqrt(square[j]);
  }
}

// The mean over channels of |rfft(x - x[0])|.
inline void spectrum(const Spectrum &spectrum) {
  for (int64_t first = 0; first < spectrum.padded; first += kLanesD) {
    const VecD cosine = load<VecD>(spectrum.angles + first);
    const VecD sine = load<VecD>(spectrum.angles + spectrum.padded + first);
    VecD total = {};
    int64_t i = 0;
    for (; i + 4 <= spectrum.c; i += 4)
      add_amplitudes<4>(spectrum, spectrum.x + i, cosine, sine, &total);
    for (; i < spectrum.c; ++i)
      add_amplitudes<1>(spectrum, spectrum.x + i, cosine, sine, &total);
    store(spectrum.amplitude + first, total / (double)spectrum.c);
  }
}

} // namespace mimamba::MIMAMBA_TARGET

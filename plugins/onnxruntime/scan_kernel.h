// SelectiveScan with one channel per lane: u, delta, z and y hold channels side by side, so that nothing is
// summed across lanes and any number of states fits. Time is cut into pieces whose step sizes and sums stay
// in the first cache; within a piece, a few states at a time stay in registers.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace mimamba::MIMAMBA_TARGET {

constexpr int64_t kSteps = 16;                // of a piece
constexpr int64_t kWidth = 128;               // channels of a part
constexpr int kHeld = kManyRegisters ? 8 : 4; // states in registers

inline int64_t vectors_of(int64_t channels) { return (channels + kLanes - 1) / kLanes; }
inline int64_t parts_of(int64_t channels) { return (channels + kWidth - 1) / kWidth; }

inline size_t rates_size(int64_t d, int64_t g, int64_t n) {
  return (size_t)(g * vectors_of(d / g) * n * kLanes);
}

inline void pack_rates(const float *A, int64_t d, int64_t g, int64_t n, float *out) {
  const int64_t width = d / g;
  for (int64_t group = 0; group < g; ++group)
    for (int64_t v = 0; v < vectors_of(width); ++v)
      for (int64_t s = 0; s < n; ++s)
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          const int64_t channel = v * kLanes + lane;
          float rate = channel < width ? A[(group * width + channel) * n + s] : 0.0f;
          const float largest = 3.402823466e38f;
          if (rate >= -largest && rate <= largest) { // a finite rate stays finite: 0 times it is 0
            rate *= kLog2e;
            rate = rate > largest ? largest : rate < -largest ? -largest : rate;
          }
          *out++ = rate;
        }
}

inline int64_t parts(int64_t d, int64_t g) { return g * parts_of(d / g); }

// A part's scratch, in floats: states, one piece's B and C, and by step and vector the step sizes, what
// drives the states, and the sums.
inline size_t scan_scratch(int64_t n) {
  return sizeof(float) * (size_t)(kWidth * n + 2 * kSteps * n + 3 * kSteps * kWidth);
}

struct Piece {
  float *B, *C, *dt, *drive, *sum; // (kSteps, n) twice, (kSteps, kWidth) thrice
  int64_t steps, n;
};

// Steps through `Held` states of one vector of channels.
template <int Held>
inline void advance(const Piece &piece, int64_t v, int64_t first, const float *rates, float *states) {
  Vec state[Held], rate[Held];
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i) {
    state[i] = load<Vec>(states + (first + i) * kLanes);
    rate[i] = load<Vec>(rates + (first + i) * kLanes);
  }
  for (int64_t t = 0; t < piece.steps; ++t) {
    const int64_t at = t * kWidth + v * kLanes;
    const Vec dt = load<Vec>(piece.dt + at), drive = load<Vec>(piece.drive + at);
    const float *B = piece.B + t * piece.n + first, *C = piece.C + t * piece.n + first;
    Vec sum = load<Vec>(piece.sum + at);
    MIMAMBA_UNROLL
    for (int i = 0; i < Held; ++i) {
      state[i] = exp2(dt * rate[i]) * state[i] + drive * B[i];
      sum = sum + state[i] * C[i];
    }
    store(piece.sum + at, sum);
  }
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i)
    store(states + (first + i) * kLanes, state[i]);
}

// The rows of one group in B or C, as floats.
template <class T>
inline void widen_rows(const void *from, const Scan &scan, int64_t batch, int64_t group, int64_t start,
                       int64_t steps, float *to) {
  const typename T::Stored *rows = (const typename T::Stored *)from;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t t = scan.reverse ? start - i : start + i;
    const typename T::Stored *row = rows + ((batch * scan.l + t) * scan.g + group) * scan.n;
    for (int64_t s = 0; s < scan.n; s += kLanes)
      narrow<F32>(to + i * scan.n + s, widen<T>(row + s, scan.n - s), scan.n - s);
  }
}

template <class Stored> inline void fetch(const void *from, int64_t at, int64_t count) {
  for (int64_t i = 0; i < count; i += 64 / (int64_t)sizeof(Stored))
    __builtin_prefetch((const Stored *)from + at + i, 0, 2);
}

template <class T> inline void scan_part(const Scan &scan, int64_t batch, int64_t part, float *scratch) {
  typedef typename T::Stored Stored;
  const int64_t n = scan.n, width = scan.d / scan.g, group = part / parts_of(width);
  const int64_t first = part % parts_of(width) * kWidth, channel = group * width + first;
  const int64_t count = width - first < kWidth ? width - first : kWidth, vectors = vectors_of(count);
  const float *rates = scan.rates + (group * vectors_of(width) + first / kLanes) * n * kLanes;
  float *states = scratch;
  Piece piece;
  piece.B = states + kWidth * n;
  piece.C = piece.B + kSteps * n;
  piece.dt = piece.C + kSteps * n;
  piece.drive = piece.dt + kSteps * kWidth;
  piece.sum = piece.drive + kSteps * kWidth;
  piece.n = n;

  for (int64_t i = 0; i < vectors * n * kLanes; ++i)
    states[i] = 0.0f;
  const int64_t from = ((scan.state_batch == 1 ? 0 : batch) * scan.d + channel) * n;
  if (!scan.zero_state)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t s = 0; s < n; ++s)
        states[(i / kLanes * n + s) * kLanes + i % kLanes] = scan.initial_state[from + i * n + s];

  for (int64_t done = 0; done < scan.l; done += kSteps) {
    piece.steps = scan.l - done < kSteps ? scan.l - done : kSteps;
    const int64_t start = scan.reverse ? scan.l - 1 - done : done;
    widen_rows<T>(scan.B, scan, batch, group, start, piece.steps, piece.B);
    widen_rows<T>(scan.C, scan, batch, group, start, piece.steps, piece.C);
    for (int64_t t = 0; t < piece.steps; ++t) {
      const int64_t row = (batch * scan.l + (scan.reverse ? start - t : start + t)) * scan.d + channel;
      if (done + kSteps + t < scan.l) { // rows are too far apart for the CPU to guess
        const int64_t next = row + (scan.reverse ? -kSteps : kSteps) * scan.d;
        fetch<Stored>(scan.delta, next, count);
        fetch<Stored>(scan.u, next, count);
        if (scan.z)
          fetch<Stored>(scan.z, next, count);
      }
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t lane = v * kLanes, left = count - lane, at = t * kWidth + lane;
        Vec dt = widen<T>((const Stored *)scan.delta + row + lane, left) +
                 widen<F32>(scan.delta_bias + channel + lane, left);
        if (scan.delta_softplus)
          dt = softplus(dt);
        const Vec u = widen<T>((const Stored *)scan.u + row + lane, left);
        store(piece.dt + at, dt);
        store(piece.drive + at, dt * u);
        store(piece.sum + at, u * widen<F32>(scan.D + channel + lane, left));
      }
    }
    for (int64_t v = 0; v < vectors; ++v) {
      const float *rate = rates + v * n * kLanes;
      float *state = states + v * n * kLanes;
      int64_t s = 0;
      for (; s + kHeld <= n; s += kHeld)
        advance<kHeld>(piece, v, s, rate, state);
      for (; s < n; ++s)
        advance<1>(piece, v, s, rate, state);
    }
    for (int64_t t = 0; t < piece.steps; ++t) {
      const int64_t row = (batch * scan.l + (scan.reverse ? start - t : start + t)) * scan.d + channel;
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t lane = v * kLanes, left = count - lane;
        Vec y = load<Vec>(piece.sum + t * kWidth + lane);
        if (scan.z)
          y = y * silu(widen<T>((const Stored *)scan.z + row + lane, left));
        narrow<T>((Stored *)scan.y + row + lane, y, left);
      }
    }
  }
  if (scan.last_state)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t s = 0; s < n; ++s)
        scan.last_state[(batch * scan.d + channel + i) * n + s] =
            states[(i / kLanes * n + s) * kLanes + i % kLanes];
}

inline void scan(const Scan &scan, int64_t batch, int64_t part, float *scratch) {
  if (scan.type == kF16)
    scan_part<F16>(scan, batch, part, scratch);
  else if (scan.type == kBF16)
    scan_part<BF16>(scan, batch, part, scratch);
  else
    scan_part<F32>(scan, batch, part, scratch);
}

} // namespace mimamba::MIMAMBA_TARGET

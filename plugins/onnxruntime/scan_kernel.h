// SelectiveScan with one channel per lane: u, delta, z and y hold channels side by side, so that nothing is
// summed across lanes and any number of states fits. Time is cut into pieces; within a piece, one vector of
// channels after the other goes through all steps with as many states in registers as there is room for.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace mimamba::MIMAMBA_TARGET {

constexpr int64_t kSteps = 32;                 // of a piece
constexpr int64_t kWidth = 128;                // channels of a part
constexpr int kHeld = kManyRegisters ? 16 : 8; // states in registers
constexpr int kFew = 4;                        // likewise, of those that are left
constexpr int64_t kAhead = 4;                  // steps: rows are too far apart for the CPU to guess

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

// What a step of one vector of channels has before its states: its size and what drives them. And the sum of
// what they answer, which begins as D u.
struct Step {
  Vec dt, drive, sum;
};

// A part's scratch, in floats: states; one piece's B and C; of one vector of channels, its steps, and its
// u, delta, z and y where they do not fill it.
inline size_t scan_scratch(int64_t n) {
  return sizeof(float) * (size_t)(kWidth * n + 2 * kSteps * n + (3 + 4) * kSteps * kLanes);
}

// One vector of channels: its first row, and how far apart rows are.
template <class T> struct Rows {
  const typename T::Stored *u, *delta, *z; // z may be null
  typename T::Stored *y;
  int64_t apart;
  Vec bias, D;
  bool delta_softplus;

  Step begin(int64_t t) const {
    Vec dt = T::widen(delta + t * apart) + bias;
    if (delta_softplus)
      dt = softplus(dt);
    const Vec value = T::widen(u + t * apart);
    return {dt, dt * value, value * D};
  }
  void end(int64_t t, Vec sum) const {
    T::narrow(y + t * apart, z ? sum * silu(T::widen(z + t * apart)) : sum);
  }
  void fetch(int64_t t) const {
    __builtin_prefetch(u + t * apart);
    __builtin_prefetch(delta + t * apart);
    if (z)
      __builtin_prefetch(z + t * apart);
    __builtin_prefetch(y + t * apart, 1);
  }
};

struct Piece {
  float *B, *C; // (steps, n)
  Step *held;   // kSteps
  int64_t steps, n;
};

// Steps through states `first` to `first` + Held of one vector of channels. The first states begin its steps,
// the last ones end them.
template <class T, int Held>
inline void advance(const Rows<T> &all_rows, const Piece &whole, int64_t first, const float *rates,
                    float *states) {
  const Rows<T> rows = all_rows; // copies: what is stored below could change the originals
  const Piece piece = whole;
  const bool begins = first == 0, ends = first + Held == piece.n;
  Vec state[Held];
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i)
    state[i] = load<Vec>(states + (first + i) * kLanes);
  Step next = begins ? rows.begin(0) : piece.held[0];
  for (int64_t t = 0; t < piece.steps; ++t) {
    const Step step = next; // the next one begins before the states of this one wait for each other
    if (t + 1 < piece.steps)
      next = begins ? rows.begin(t + 1) : piece.held[t + 1];
    if (begins)
      rows.fetch(t + kAhead);
    const float *B = piece.B + t * piece.n + first, *C = piece.C + t * piece.n + first;
    Vec sum = step.sum;
    MIMAMBA_UNROLL
    for (int i = 0; i < Held; ++i) {
      const Vec decay = exp2(step.dt * load<Vec>(rates + (first + i) * kLanes));
      state[i] = decay * state[i] + step.drive * B[i];
      sum = sum + state[i] * C[i];
    }
    if (ends)
      rows.end(t, sum);
    else
      piece.held[t] = {step.dt, step.drive, sum};
  }
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i)
    store(states + (first + i) * kLanes, state[i]);
}

template <class T>
inline void advance_all(const Rows<T> &rows, const Piece &piece, const float *rates, float *states) {
  int64_t s = 0;
  for (; s + kHeld <= piece.n; s += kHeld)
    advance<T, kHeld>(rows, piece, s, rates, states);
  for (; s + kFew <= piece.n; s += kFew)
    advance<T, kFew>(rows, piece, s, rates, states);
  for (; s < piece.n; ++s)
    advance<T, 1>(rows, piece, s, rates, states);
}

// Likewise for `count` channels that do not fill a vector, by way of `staged`: nothing past them is touched.
template <class T>
inline void advance_few(const Rows<T> &rows, int64_t count, const Piece &piece, const float *rates,
                        float *states, typename T::Stored *staged) {
  typedef typename T::Stored Stored;
  constexpr int64_t kSize = kSteps * kLanes;
  Rows<T> full = rows;
  Stored *u = staged, *delta = u + kSize, *z = delta + kSize, *y = z + kSize;
  full.u = u, full.delta = delta, full.z = rows.z ? z : nullptr, full.y = y, full.apart = kLanes;
  for (int64_t t = 0; t < piece.steps; ++t)
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t from = t * rows.apart + i, to = t * kLanes + i;
      u[to] = i < count ? rows.u[from] : Stored();
      delta[to] = i < count ? rows.delta[from] : Stored();
      z[to] = i < count && rows.z ? rows.z[from] : Stored();
    }
  advance_all(full, piece, rates, states);
  for (int64_t t = 0; t < piece.steps; ++t)
    for (int64_t i = 0; i < count; ++i)
      rows.y[t * rows.apart + i] = y[t * kLanes + i];
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
  piece.held = (Step *)(piece.C + kSteps * n);
  piece.n = n;
  Stored *staged = (Stored *)(piece.held + kSteps);

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
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t lane = channel + v * kLanes, left = count - v * kLanes;
      const int64_t row = (batch * scan.l + start) * scan.d + lane;
      Rows<T> rows;
      rows.u = (const Stored *)scan.u + row;
      rows.delta = (const Stored *)scan.delta + row;
      rows.z = scan.z ? (const Stored *)scan.z + row : nullptr;
      rows.y = (Stored *)scan.y + row;
      rows.apart = scan.reverse ? -scan.d : scan.d;
      rows.bias = widen<F32>(scan.delta_bias + lane, left);
      rows.D = widen<F32>(scan.D + lane, left);
      rows.delta_softplus = scan.delta_softplus;
      const float *rate = rates + v * n * kLanes;
      float *state = states + v * n * kLanes;
      if (left >= kLanes)
        advance_all(rows, piece, rate, state);
      else
        advance_few(rows, left, piece, rate, state, staged);
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

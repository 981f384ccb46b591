// Gradients of SelectiveScan, from a zero state, through softplus and gate, one channel per lane as in
// scan_kernel.h. A first pass over time keeps the states before each block of steps; then, from the last
// block to the first, decays and states are computed again and held while their gradients are taken.
#pragma once

#include "kernels.h"
#include "scan_kernel.h"
#include "simd.h"

namespace mimamba::MIMAMBA_TARGET {

constexpr int64_t kBlock = 16;                  // steps whose states are held: within the caches
constexpr int kPaired = kManyRegisters ? 8 : 4; // states that two registers each are held for

inline int64_t blocks_of(int64_t steps) { return (steps + kBlock - 1) / kBlock; }

// A step of one vector of channels: its size, what drives its states, the gradient of their sum, and what its
// states add up to: the sum itself, and the gradients of `drive` and of the logarithms of the decays.
struct Moment {
  Vec dt, drive, grad, sum, driven, decayed;
};

struct Block {
  const float *B, *C; // of the first step
  int64_t apart;      // from one step's to the next one's
  int64_t steps, n;
  Moment *moments;
  float *decays, *states, *grad_B, *grad_C; // (steps, n, lanes)
};

inline size_t gradient_sums(int64_t d, int64_t g, int64_t n) {
  return (size_t)(vectors_of(d / g) * (n + 2) * kLanes);
}

inline size_t gradient_scratch(int64_t l, int64_t d, int64_t g, int64_t n) {
  const int64_t entries = (blocks_of(l) + 1) * vectors_of(d / g) * n * kLanes;
  return sizeof(float) * (size_t)(entries + (4 * n + 6) * kBlock * kLanes);
}

template <bool Keep, int Held>
inline void run_states(const Block &block, int64_t first, const float *rates, float *states) {
  Vec state[Held];
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i)
    state[i] = load<Vec>(states + (first + i) * kLanes);
  for (int64_t t = 0; t < block.steps; ++t) {
    const Vec dt = block.moments[t].dt, drive = block.moments[t].drive;
    const float *B = block.B + t * block.apart + first, *C = block.C + t * block.apart + first;
    Vec sum = Keep ? block.moments[t].sum : Vec{};
    MIMAMBA_UNROLL
    for (int i = 0; i < Held; ++i) {
      const Vec decay = exp2(dt * load<Vec>(rates + (first + i) * kLanes));
      state[i] = decay * state[i] + drive * B[i];
      if (Keep) {
        const int64_t at = (t * block.n + first + i) * kLanes;
        store(block.decays + at, decay);
        store(block.states + at, state[i]);
        sum = sum + state[i] * C[i];
      }
    }
    if (Keep)
      block.moments[t].sum = sum;
  }
  if (!Keep) {
    MIMAMBA_UNROLL
    for (int i = 0; i < Held; ++i)
      store(states + (first + i) * kLanes, state[i]);
  }
}

// `later` is the gradient of the states after the block, then of those before it, through all later steps.
template <int Held>
inline void take_gradients(const Block &block, int64_t first, const float *rates, const float *entry,
                           float *later, float *grad_rates) {
  Vec carry[Held], of_rate[Held];
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i) {
    carry[i] = load<Vec>(later + (first + i) * kLanes);
    of_rate[i] = load<Vec>(grad_rates + (first + i) * kLanes);
  }
  for (int64_t t = block.steps - 1; t >= 0; --t) {
    const Vec dt = block.moments[t].dt, drive = block.moments[t].drive, grad = block.moments[t].grad;
    const float *B = block.B + t * block.apart + first, *C = block.C + t * block.apart + first;
    const float *before = t ? block.states + (t - 1) * block.n * kLanes : entry;
    Vec driven = block.moments[t].driven, decayed = block.moments[t].decayed;
    MIMAMBA_UNROLL
    for (int i = 0; i < Held; ++i) {
      const int64_t at = (t * block.n + first + i) * kLanes;
      store(block.grad_C + at, load<Vec>(block.grad_C + at) + grad * load<Vec>(block.states + at));
      const Vec of_state = carry[i] + grad * C[i];
      store(block.grad_B + at, load<Vec>(block.grad_B + at) + of_state * drive);
      driven = driven + of_state * B[i];
      carry[i] = of_state * load<Vec>(block.decays + at);
      const Vec of_log = carry[i] * load<Vec>(before + (first + i) * kLanes);
      of_rate[i] = of_rate[i] + of_log * dt;
      decayed = decayed + of_log * load<Vec>(rates + (first + i) * kLanes);
    }
    block.moments[t].driven = driven;
    block.moments[t].decayed = decayed;
  }
  MIMAMBA_UNROLL
  for (int i = 0; i < Held; ++i) {
    store(later + (first + i) * kLanes, carry[i]);
    store(grad_rates + (first + i) * kLanes, of_rate[i]);
  }
}

// One vector of channels of one window: its first step's place, and how far apart steps are.
struct Channels {
  int64_t first, apart, count;
  Vec bias, D;

  Vec read(const float *from, int64_t t) const { return widen<F32>(from + first + t * apart, count); }
  void write(float *to, int64_t t, Vec v) const { narrow<F32>(to + first + t * apart, v, count); }

  void begin(const ScanGradients &scan, int64_t start, const Block &block) const {
    for (int64_t i = 0; i < block.steps; ++i) {
      const int64_t t = start + i;
      const Vec dt = softplus(read(scan.delta, t) + bias);
      const Vec grad = read(scan.grad_y, t) * silu(read(scan.z, t));
      block.moments[i] = {dt, dt * read(scan.u, t), grad, Vec{}, Vec{}, Vec{}};
    }
  }

  // Adds to the gradients of D and of the bias.
  void end(const ScanGradients &scan, int64_t start, const Block &block, float *grad_D,
           float *grad_bias) const {
    Vec of_D = load<Vec>(grad_D), of_bias = load<Vec>(grad_bias);
    for (int64_t i = 0; i < block.steps; ++i) {
      const int64_t t = start + i;
      const Moment m = block.moments[i];
      const Vec u = read(scan.u, t), z = read(scan.z, t), open = all(1.0f) / (exp(-z) + 1.0f);
      const Vec slope = all(1.0f) / (exp(-(read(scan.delta, t) + bias)) + 1.0f);
      const Vec of_delta = (m.decayed * kLn2 + m.driven * u) * slope;
      write(scan.grad_u, t, m.driven * m.dt + m.grad * D);
      write(scan.grad_delta, t, of_delta);
      write(scan.grad_z, t, read(scan.grad_y, t) * (m.sum + D * u) * open * (z * (all(1.0f) - open) + 1.0f));
      of_D = of_D + m.grad * u;
      of_bias = of_bias + of_delta;
    }
    store(grad_D, of_D);
    store(grad_bias, of_bias);
  }
};

template <bool Keep> inline void run_all(const Block &block, const float *rates, float *states) {
  int64_t s = 0;
  for (; s + kPaired <= block.n; s += kPaired)
    run_states<Keep, kPaired>(block, s, rates, states);
  for (; s < block.n; ++s)
    run_states<Keep, 1>(block, s, rates, states);
}

// One group of channels of one window. Adds to `sums`: the gradients of rates (vectors, n, lanes), of D and
// of the bias (vectors, lanes each).
inline void scan_gradients(const ScanGradients &scan, int64_t batch, int64_t group, float *sums,
                           float *scratch) {
  const int64_t n = scan.n, width = scan.d / scan.g, vectors = vectors_of(width),
                all_states = vectors * n * kLanes;
  const float *rates = scan.rates + group * all_states;
  float *entries = scratch, *later = entries + blocks_of(scan.l) * all_states;
  Block block;
  block.n = n;
  block.decays = later + all_states;
  block.states = block.decays + kBlock * n * kLanes;
  block.grad_B = block.states + kBlock * n * kLanes;
  block.grad_C = block.grad_B + kBlock * n * kLanes;
  block.moments = (Moment *)(block.grad_C + kBlock * n * kLanes);
  block.apart = (scan.reverse ? -1 : 1) * scan.g * n;
  const auto place = [&](int64_t start) { // of a step's maps
    const int64_t t = scan.reverse ? scan.l - 1 - start : start;
    return ((batch * scan.l + t) * scan.g + group) * n;
  };
  const auto channels_of = [&](int64_t v) {
    const int64_t lane = group * width + v * kLanes, left = width - v * kLanes;
    Channels c;
    c.first = (batch * scan.l + (scan.reverse ? scan.l - 1 : 0)) * scan.d + lane;
    c.apart = scan.reverse ? -scan.d : scan.d;
    c.count = left;
    c.bias = widen<F32>(scan.delta_bias + lane, left);
    c.D = widen<F32>(scan.D + lane, left);
    return c;
  };
  const auto at = [&](int64_t start) {
    block.B = scan.B + place(start), block.C = scan.C + place(start);
    block.steps = scan.l - start < kBlock ? scan.l - start : kBlock;
  };
  const auto clear = [](float *from, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      from[i] = 0.0f;
  };

  clear(entries, all_states);
  clear(later, all_states);
  for (int64_t start = 0; start + kBlock < scan.l; start += kBlock) {
    float *entry = entries + start / kBlock * all_states;
    __builtin_memcpy(entry + all_states, entry, sizeof(float) * (size_t)all_states);
    at(start);
    for (int64_t v = 0; v < vectors; ++v) {
      channels_of(v).begin(scan, start, block);
      run_all<false>(block, rates + v * n * kLanes, entry + all_states + v * n * kLanes);
    }
  }
  for (int64_t start = (blocks_of(scan.l) - 1) * kBlock; start >= 0; start -= kBlock) {
    at(start);
    clear(block.grad_B, block.steps * n * kLanes);
    clear(block.grad_C, block.steps * n * kLanes);
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t of_vector = v * n * kLanes;
      const Channels channels = channels_of(v);
      float *entry = entries + start / kBlock * all_states + of_vector;
      channels.begin(scan, start, block);
      run_all<true>(block, rates + of_vector, entry);
      int64_t s = 0;
      for (; s + kPaired <= n; s += kPaired)
        take_gradients<kPaired>(block, s, rates + of_vector, entry, later + of_vector, sums + of_vector);
      for (; s < n; ++s)
        take_gradients<1>(block, s, rates + of_vector, entry, later + of_vector, sums + of_vector);
      float *grad_D = sums + all_states + v * kLanes;
      channels.end(scan, start, block, grad_D, grad_D + vectors * kLanes);
    }
    for (int64_t t = 0; t < block.steps; ++t)
      for (int64_t s = 0; s < n; ++s) {
        const int64_t from = (t * n + s) * kLanes, to = place(start) + t * block.apart + s;
        scan.grad_B[to] = sum(load<Vec>(block.grad_B + from));
        scan.grad_C[to] = sum(load<Vec>(block.grad_C + from));
      }
  }
}

} // namespace mimamba::MIMAMBA_TARGET

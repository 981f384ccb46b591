// SelectiveScan: what a block does.
//
// A block carries some channels of one group of one window through one chunk of time, tile by tile. B and C
// are the same for all channels of a group: they are fetched once a block. While a tile is computed from
// shared memory, the next one travels from global memory to registers.
//
// The lanes of a channel do not exchange their shares of y by shuffles: each puts its share in shared memory
// and the thread that stores y adds them up, in a fixed order. That costs no more (both are the same unit),
// needs no warp-synchronous code, and lets the host run these lines as they stand.
#pragma once

#include "body.h"
#include "scan_plan.h"

namespace mimamba {

constexpr float kLog2E = 1.4426950408889634f;

MIMAMBA_DEVICE float scan_softplus(float x) { return x > 20.0f ? x : log1p_exact(exp_exact(x)); }

// A decay rate for exp2. The lowest float32, which masks are written with, must not become minus infinity:
// a step of 0 would give NaN. Beyond 2^127 the factor makes no difference.
MIMAMBA_DEVICE float scan_rate(float a) { return a < -0x1p127f || a > 0x1p127f ? a : a * kLog2E; }

// h * 2^x, also where 2^x alone is beyond float32: a state of 0 stays 0, a tiny one becomes what it should be.
// Three factors of up to 2^126 lead from the smallest float32 beyond the largest. NaN passes through.
MIMAMBA_DEVICE float scan_grown(float h, float x) {
  MIMAMBA_UNROLL
  for (int i = 0; i < 3; ++i) {
    const float part = x > 126.0f ? 126.0f : x < -126.0f ? -126.0f : x;
    h *= exp2_fast(part);
    x -= part;
  }
  return h;
}

template <class Block, class Lanes, bool kStateOnly> class ScanBody {
public:
  MIMAMBA_DEVICE ScanBody(Block &block, const ScanArgs &args)
      : block_(block), p_(args.problem), plan_(args.plan), args_(args), mine_(block),
        pair_(reinterpret_cast<Vec2 *>(block.shared())), share_(block.shared() + kScanTile * 2 * kChannels),
        b_(share_ + kScanTile * kScanThreads), c_(b_ + kScanTile * N) {}

  MIMAMBA_DEVICE void run() {
    const int64_t chunks = kStateOnly ? plan_.chunks - 1 : plan_.chunks;
    const int64_t items = p_.b * p_.g * plan_.columns * chunks;
    for (int64_t item = block_.index(); item < items; item += block_.blocks())
      run_item(item);
  }

private:
  static constexpr int P = Lanes::kLanes, R = Lanes::kPerLane, N = Lanes::kStates;
  static constexpr int kChannels = Lanes::kChannels;     // of a block; a group's last block may use fewer
  static constexpr int kSteps = (kScanTile + P - 1) / P; // of u and delta a thread fetches for a tile
  static constexpr int kMaps = (kScanTile * N + kScanThreads - 1) / kScanThreads; // of B, and of C

  struct Mine {
    float decay[R], state[R]; // decay: A times log2(e), for exp2
    float u[kSteps], delta[kSteps], z[kSteps], b[kMaps], c[kMaps];
    float bias, skip, time;
  };

  // The k-th step of a tile that this thread loads and stores; its channel is thread % kChannels.
  MIMAMBA_DEVICE int own_step(int thread, int k) const { return thread / kChannels + k * P; }
  MIMAMBA_DEVICE int steps_from(int64_t first) const {
    return static_cast<int>(lesser(kScanTile, end_ - first));
  }
  // Time runs backwards in a reverse scan; everything else counts steps of the scan.
  MIMAMBA_DEVICE int64_t row(int64_t step) const {
    return batch_ * p_.l + (p_.reverse ? p_.l - 1 - step : step);
  }
  // Where in u, delta, z and y the first element is that this thread moves for a tile, and how far it is to
  // the next one. One multiplication a tile: 64-bit ones per element would cost more than the loads.
  MIMAMBA_DEVICE int64_t own_place(int thread, int64_t first) const {
    return row(first + own_step(thread, 0)) * p_.d + first_channel_ + thread % kChannels;
  }
  MIMAMBA_DEVICE int64_t own_stride() const { return (p_.reverse ? -P : P) * p_.d; }

  MIMAMBA_DEVICE void run_item(int64_t item) {
    const int64_t column = item % plan_.columns, width = p_.d / p_.g;
    item /= plan_.columns;
    group_ = item % p_.g;
    batch_ = item / p_.g % p_.b;
    chunk_ = item / p_.g / p_.b;
    first_channel_ = group_ * width + column * kChannels;
    count_ = static_cast<int>(lesser(kChannels, width - column * kChannels));
    begin_ = chunk_ * plan_.chunk_steps;
    end_ = lesser(begin_ + plan_.chunk_steps, p_.l);

    block_.each([&](int thread) {
      enter(thread);
      fetch(thread, begin_);
    });
    for (int64_t first = begin_; first < end_; first += kScanTile) {
      block_.each([&](int thread) {
        if (!kStateOnly && first > begin_)
          store(thread, first - kScanTile);
        stash(thread, first);
      });
      block_.each([&](int thread) {
        if (first + kScanTile < end_)
          fetch(thread, first + kScanTile);
        if (!kStateOnly)
          fetch_gate(thread, first);
        compute(thread, steps_from(first));
      });
    }
    block_.each([&](int thread) {
      if (!kStateOnly)
        store(thread, begin_ + (end_ - 1 - begin_) / kScanTile * kScanTile);
      leave(thread);
    });
  }

  // Reads what stays the same over time, and the state the chunk begins with.
  MIMAMBA_DEVICE void enter(int thread) {
    Mine &m = mine_[thread];
    const int channel = thread / P, lane = thread % P, loads = thread % kChannels;
    m.bias = loads < count_ ? p_.delta_bias[first_channel_ + loads] : 0.0f;
    m.skip = !kStateOnly && loads < count_ ? p_.D[first_channel_ + loads] : 0.0f;
    m.time = 0.0f;
    MIMAMBA_UNROLL
    for (int r = 0; r < R; ++r) {
      const int j = lane * R + r;
      const int64_t at = (first_channel_ + channel) * p_.n + j;
      m.decay[r] = m.state[r] = 0.0f; // states past n decay by 1 from 0 and see B = 0
      if (channel >= count_ || j >= p_.n)
        continue;
      m.decay[r] = scan_rate(p_.A[at]);
      if (kStateOnly)
        continue;
      float h = p_.initial_state[(p_.state_batch == 1 ? 0 : batch_) * p_.d * p_.n + at];
      // Decays multiply, they never divide: an early chunk's decay may well be 0.
      for (int64_t c = 0; c < chunk_; ++c) {
        const int64_t before = (batch_ * (plan_.chunks - 1) + c) * p_.d;
        h = scan_grown(h, args_.chunk_time[before + first_channel_ + channel] * m.decay[r]) +
            args_.chunk_state[before * p_.n + at];
      }
      m.state[r] = h;
    }
  }

  MIMAMBA_DEVICE void fetch(int thread, int64_t first) {
    Mine &m = mine_[thread];
    const int steps = steps_from(first), channel = thread % kChannels;
    const int own_steps = channel < count_ ? steps : 0;
    const int64_t place = own_place(thread, first), stride = own_stride();
    const int64_t map_row = p_.g * p_.n, map_stride = p_.reverse ? -map_row : map_row;
    const int64_t map_place = row(first + thread / N) * map_row + group_ * p_.n + thread % N;
    with_type(p_.type, [&](auto type) {
      using T = decltype(type);
      MIMAMBA_UNROLL
      for (int k = 0; k < kSteps; ++k) {
        const bool inside = own_step(thread, k) < own_steps;
        m.u[k] = inside ? T::load(p_.u, place + k * stride) : 0.0f;
        m.delta[k] = inside ? T::load(p_.delta, place + k * stride) : 0.0f;
      }
      MIMAMBA_UNROLL
      for (int k = 0; k < kMaps; ++k) {
        const int steps_on = k * kScanThreads / N, states_on = k * kScanThreads % N;
        const bool inside = thread / N + steps_on < steps && thread % N + states_on < p_.n;
        const int64_t at = map_place + steps_on * map_stride + states_on;
        m.b[k] = inside ? T::load(p_.B, at) : 0.0f;
        if (!kStateOnly)
          m.c[k] = inside ? T::load(p_.C, at) : 0.0f;
      }
    });
  }

  MIMAMBA_DEVICE void fetch_gate(int thread, int64_t first) {
    if (!p_.z)
      return;
    Mine &m = mine_[thread];
    const int own_steps = thread % kChannels < count_ ? steps_from(first) : 0;
    const int64_t place = own_place(thread, first), stride = own_stride();
    with_type(p_.type, [&](auto type) {
      using T = decltype(type);
      MIMAMBA_UNROLL
      for (int k = 0; k < kSteps; ++k)
        m.z[k] = own_step(thread, k) < own_steps ? T::load(p_.z, place + k * stride) : 0.0f;
    });
  }

  // Registers to shared memory. The softplus is taken here, once an element instead of once a lane.
  MIMAMBA_DEVICE void stash(int thread, int64_t first) {
    const Mine &m = mine_[thread];
    const int steps = steps_from(first), channel = thread % kChannels;
    MIMAMBA_UNROLL
    for (int k = 0; k < kSteps; ++k) {
      const int step = own_step(thread, k);
      if (step >= steps)
        continue;
      const float dt = m.delta[k] + m.bias;
      pair_[step * kChannels + channel] = {p_.delta_softplus ? scan_softplus(dt) : dt, m.u[k]};
    }
    MIMAMBA_UNROLL
    for (int k = 0; k < kMaps; ++k) {
      const int e = thread + k * kScanThreads;
      if (e >= kScanTile * N)
        continue;
      b_[e] = m.b[k];
      if (!kStateOnly)
        c_[e] = m.c[k];
    }
  }

  MIMAMBA_DEVICE void compute(int thread, int steps) {
    Mine &m = mine_[thread];
    const int channel = thread / P, lane = thread % P;
    MIMAMBA_UNROLL_4
    for (int step = 0; step < steps; ++step) {
      const Vec2 dt_u = pair_[step * kChannels + channel];
      const float dt = dt_u.x, input = dt_u.x * dt_u.y;
      float b[R], c[R];
      load_states(b_ + step * N + lane * R, b);
      if (!kStateOnly)
        load_states(c_ + step * N + lane * R, c);
      float y = 0.0f;
      MIMAMBA_UNROLL
      for (int r = 0; r < R; ++r) {
        m.state[r] = exp2_fast(dt * m.decay[r]) * m.state[r] + input * b[r];
        if (!kStateOnly)
          y += c[r] * m.state[r];
      }
      if (kStateOnly)
        m.time += dt;
      else
        share_[step * kScanThreads + thread] = y;
    }
  }

  static MIMAMBA_DEVICE void load_states(const float *from, float (&to)[R]) {
    if constexpr (R % 4 == 0) {
      MIMAMBA_UNROLL
      for (int r = 0; r < R; r += 4) {
        const Vec4 four = *reinterpret_cast<const Vec4 *>(from + r);
        MIMAMBA_UNROLL
        for (int i = 0; i < 4; ++i)
          to[r + i] = four.v[i];
      }
    } else {
      MIMAMBA_UNROLL
      for (int r = 0; r < R; ++r)
        to[r] = from[r];
    }
  }

  MIMAMBA_DEVICE void store(int thread, int64_t first) {
    const Mine &m = mine_[thread];
    const int channel = thread % kChannels, own_steps = channel < count_ ? steps_from(first) : 0;
    const int64_t place = own_place(thread, first), stride = own_stride();
    float y[kSteps] = {};
    MIMAMBA_UNROLL
    for (int k = 0; k < kSteps; ++k) {
      const int step = own_step(thread, k);
      if (step >= own_steps)
        continue;
      const float *shares = share_ + step * kScanThreads + channel * P;
      y[k] = sum_shares(shares) + m.skip * pair_[step * kChannels + channel].y;
      if (p_.z)
        y[k] *= m.z[k] / (1.0f + exp_exact(-m.z[k]));
    }
    with_type(p_.type, [&](auto type) {
      using T = decltype(type);
      MIMAMBA_UNROLL
      for (int k = 0; k < kSteps; ++k)
        if (own_step(thread, k) < own_steps)
          T::store(p_.y, place + k * stride, y[k]);
    });
  }

  static MIMAMBA_DEVICE float sum_shares(const float *shares) {
    float y = 0.0f;
    if constexpr (P % 4 == 0) {
      MIMAMBA_UNROLL
      for (int i = 0; i < P; i += 4) {
        const Vec4 four = *reinterpret_cast<const Vec4 *>(shares + i);
        y += (four.v[0] + four.v[1]) + (four.v[2] + four.v[3]);
      }
    } else {
      MIMAMBA_UNROLL
      for (int i = 0; i < P; ++i)
        y += shares[i];
    }
    return y;
  }

  // Hands the state on: to the second pass, or to the caller.
  MIMAMBA_DEVICE void leave(int thread) {
    const Mine &m = mine_[thread];
    const int channel = thread / P, lane = thread % P;
    if (channel >= count_ || (!kStateOnly && (!p_.last_state || chunk_ + 1 < plan_.chunks)))
      return;
    const int64_t window = kStateOnly ? batch_ * (plan_.chunks - 1) + chunk_ : batch_;
    const int64_t at = window * p_.d + first_channel_ + channel;
    float *states = kStateOnly ? args_.chunk_state : p_.last_state;
    MIMAMBA_UNROLL
    for (int r = 0; r < R; ++r)
      if (lane * R + r < p_.n)
        states[at * p_.n + lane * R + r] = m.state[r];
    if (kStateOnly && lane == 0)
      args_.chunk_time[at] = m.time;
  }

  Block &block_;
  const ScanProblem &p_;
  const ScanPlan &plan_;
  const ScanArgs &args_;
  typename Block::template Private<Mine> mine_;
  Vec2 *const pair_;          // [step][channel]: dt and u
  float *const share_;        // [step][thread]: a lane's share of y
  float *const b_, *const c_; // [step][state]
  int64_t batch_, group_, chunk_, first_channel_, begin_, end_;
  int count_;
};

} // namespace mimamba

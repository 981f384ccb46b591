// The host's side of device_math.h, for tests: the same names, and a block whose threads run in turn.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace mimamba {

inline float bits_to_float(uint32_t b) {
  float f;
  std::memcpy(&f, &b, sizeof f);
  return f;
}

inline uint32_t float_to_bits(float f) {
  uint32_t b;
  std::memcpy(&b, &f, sizeof b);
  return b;
}

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fu, mantissa = h & 0x3ffu;
  if (exponent == 31)
    return bits_to_float(sign | 0x7f800000u | (mantissa << 13));
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : bits_to_float(((exponent + 112) << 23) | (mantissa << 13));
  return sign ? -magnitude : magnitude;
}

inline uint16_t float_to_half(float f) {
  const uint32_t bits = float_to_bits(f), magnitude = bits & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  if (magnitude > 0x7f800000u)
    return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) // 65520 and above round to infinity
    return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) // below 2^-14: steps of 2^-24, ties to even by nearbyint
    return static_cast<uint16_t>(
        sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(bits_to_float(magnitude), 24))));
  const uint32_t nearest = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((nearest - 0x38000000u) >> 13));
}

inline float exp2_fast(float x) { return std::exp2(x); }
inline float exp_exact(float x) { return std::exp(x); }
inline float log1p_exact(float x) { return std::log1p(x); }
inline float erf_exact(float x) { return std::erf(x); }
inline float sqrt_exact(float x) { return std::sqrt(x); }
inline void sincos_pi(float x, float *sine, float *cosine) {
  const double angle = 3.14159265358979323846 * static_cast<double>(x);
  *sine = static_cast<float>(std::sin(angle));
  *cosine = static_cast<float>(std::cos(angle));
}

// In which order the threads of an emulated block run between two barriers. A body without races gives the
// same bits in any of them; that is how the tests look for races.
enum class Order : int32_t { kForward = 0, kBackward = 1, kScattered = 2 };

class HostBlock {
public:
  template <class T> struct Private {
    explicit Private(const HostBlock &block) : all(static_cast<size_t>(block.threads())) {}
    std::vector<T> all;
    T &operator[](int thread) { return all[static_cast<size_t>(thread)]; }
  };

  HostBlock(int64_t index, int64_t blocks, int threads, int64_t shared_bytes, Order order)
      : index_(index), blocks_(blocks), threads_(threads), order_(order),
        memory_(static_cast<size_t>(ceil_div(shared_bytes, 16) + 1), poison()) {}

  int threads() const { return threads_; }
  int64_t index() const { return index_; }
  int64_t blocks() const { return blocks_; }
  float *shared() { return memory_.data()->v; }

  template <class F> void each(F &&f) const {
    for (int i = 0; i < threads_; ++i)
      f(thread(i));
  }

  // Whether the body stayed inside the shared memory it asked for.
  bool intact() const { return std::memcmp(&memory_.back(), &kPoison, sizeof kPoison) == 0; }

private:
  int thread(int i) const {
    if (order_ == Order::kForward)
      return i;
    if (order_ == Order::kBackward)
      return threads_ - 1 - i;
    return static_cast<int>((static_cast<int64_t>(i) * 37 + 11) % threads_); // 37 shares no factor with 32 k
  }

  // Not zero, as memory of a real block is not.
  static constexpr uint32_t kPoison[4] = {0x7fc0dead, 0x7fc0dead, 0x7fc0dead, 0x7fc0dead};
  static Vec4 poison() {
    Vec4 value;
    std::memcpy(&value, kPoison, sizeof value);
    return value;
  }

  int64_t index_, blocks_;
  int threads_;
  Order order_;
  std::vector<Vec4> memory_;
};

} // namespace mimamba

// Vectors of one instruction set, by the vector extension of GCC and Clang. A file that includes this is
// compiled once for each set, with MIMAMBA_TARGET as the name of its namespace. It includes no header of the
// standard library that holds inline functions: the linker would keep one copy of each for all sets, and a
// CPU without AVX-512 would meet the one that was compiled for it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace mimamba::MIMAMBA_TARGET {

#if defined(__AVX512F__)
#define MIMAMBA_LANES 16
#elif defined(__AVX2__)
#define MIMAMBA_LANES 8
#else
#define MIMAMBA_LANES 4
#endif
constexpr int kLanes = MIMAMBA_LANES;

// Before a loop over registers: one that stays a loop keeps them in memory.
#if defined(__clang__)
#define MIMAMBA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MIMAMBA_UNROLL _Pragma("GCC unroll 16")
#endif

// Vector registers: what a loop may hold in them.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

typedef float Vec __attribute__((vector_size(4 * MIMAMBA_LANES)));
typedef int32_t VecI __attribute__((vector_size(4 * MIMAMBA_LANES)));
typedef uint32_t VecU __attribute__((vector_size(4 * MIMAMBA_LANES)));
typedef uint16_t VecH __attribute__((vector_size(2 * MIMAMBA_LANES)));
// As many doubles as fill a register.
typedef double VecD __attribute__((vector_size(4 * MIMAMBA_LANES)));
constexpr int kLanesD = kLanes / 2;

template <class V, class T> inline V load(const T *from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class V, class T> inline void store(T *to, V v) { __builtin_memcpy(to, &v, sizeof v); }

inline Vec all(float x) { return x - Vec{}; }
inline VecU bits(Vec v) { return (VecU)v; }
inline Vec abs(Vec v) { return (Vec)(bits(v) & 0x7fffffffu); }
inline float sum(Vec v) {
  float total = 0.0f;
  for (int i = 0; i < kLanes; ++i)
    total += v[i];
  return total;
}

// Between `low` and `high`. NaN stays NaN: x86 answers with the second of two numbers where one is NaN.
inline Vec clamped(Vec t, float low, float high) {
#if defined(__AVX512F__)
  return (Vec)_mm512_min_ps((__m512)all(high), _mm512_max_ps((__m512)all(low), (__m512)t));
#elif defined(__AVX2__)
  return (Vec)_mm256_min_ps((__m256)all(high), _mm256_max_ps((__m256)all(low), (__m256)t));
#elif defined(__SSE__)
  return (Vec)_mm_min_ps((__m128)all(high), _mm_max_ps((__m128)all(low), (__m128)t));
#elif defined(__aarch64__)
  return (Vec)vminq_f32((float32x4_t)all(high), vmaxq_f32((float32x4_t)all(low), (float32x4_t)t));
#else
  t = t < all(low) ? all(low) : t;
  return t > all(high) ? all(high) : t;
#endif
}

// 2^t, 1.1e-7 of it; below 2^-125 it may be 0. NaN stays NaN.
inline Vec exp2(Vec t) {
#if defined(__AVX512DQ__)
  const Vec f = (Vec)_mm512_reduce_ps((__m512)t, 0x08); // t less the nearest integer; 0 of an infinity
#else
  t = clamped(t, -126.0f, 128.0f);
  // The sum's last bits are the nearest integer plus 126: the exponent field of half of its power.
  const Vec shift = all(12582912.0f + 126.0f), sum = t + shift, f = t - (sum - shift);
#endif
  // Minimax in relative error over [-1/2, 1/2], exactly 1 at 0: a decay of a slow state is not off by a
  // constant.
  Vec p = all(1.32685e-3f);
  p = p * f + 9.67146e-3f;
  p = p * f + 5.550718e-2f;
  p = p * f + 0.24022243f;
  p = p * f + 0.69314699f;
  p = p * f + 1.0f;
#if defined(__AVX512DQ__)
  return (Vec)_mm512_scalef_ps((__m512)p, (__m512)(t - f));
#else
  return (p + p) * (Vec)(bits(sum) << 23);
#endif
}

constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

inline Vec exp(Vec x) { return exp2(x * kLog2e); }

// log(1 + exp(x)), as max(x, 0) + log1p(e), e = exp(-|x|), with log1p(e) = 2 atanh(e / (2 + e)).
inline Vec softplus(Vec x) {
  const Vec e = exp(-abs(x)), s = e / (e + 2.0f), z = s * s;
  Vec p = all(0.14012235f);
  p = p * z + 0.13999569f;
  p = p * z + 0.2001085f;
  p = p * z + 0.33333207f;
  p = p * z + 1.0f;
  return (x > Vec{} ? x : Vec{}) + (s + s) * p;
}

inline Vec silu(Vec z) { return z / (exp(-z) + 1.0f); }

// x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt(2)) / 2, with erfc as a power of two: 4e-8 at most.
inline Vec gelu(Vec x) {
  const Vec h = abs(x);
  Vec q = all(-4.251230166e-06f);
  q = q * h + 1.248998797e-05f;
  q = q * h + 5.771338474e-04f;
  q = q * h - 7.673704531e-03f;
  q = q * h + 5.295184255e-02f;
  q = q * h + 0.4590421319f;
  q = q * h + 1.151127338f;
  const Vec tail = h * 0.5f * exp2(-q * h);
  return (x > Vec{} ? x : Vec{}) - (h > all(6.0f) ? Vec{} : tail);
}

// --- Storage types: float, and two of 16 bits
struct F32 {
  typedef float Stored;
  static Vec widen(const float *from) { return load<Vec>(from); }
  static void narrow(float *to, Vec v) { store(to, v); }
};

struct BF16 {
  typedef uint16_t Stored;
  static Vec widen(const uint16_t *from) {
    return (Vec)(__builtin_convertvector(load<VecH>(from), VecU) << 16);
  }
  static void narrow(uint16_t *to, Vec v) {
    const VecU b = bits(v);
    const VecU rounded = (b + (((b >> 16) & 1u) + 0x7fffu)) >> 16;
    const VecU quiet = (b >> 16) | 0x40u;
    store(to, __builtin_convertvector(v != v ? quiet : rounded, VecH));
  }
};

struct F16 {
  typedef uint16_t Stored;
  static Vec widen(const uint16_t *from) {
#if defined(__AVX512F__)
    return (Vec)_mm512_cvtph_ps(load<__m256i>(from));
#elif defined(__F16C__)
    return (Vec)_mm256_cvtph_ps(load<__m128i>(from));
#else
    const VecU h = __builtin_convertvector(load<VecH>(from), VecU), magnitude = (h & 0x7fffu) << 13;
    // The exponent's bias differs by 112; subnormals come out right, too.
    const Vec scaled = (Vec)magnitude * 0x1p112f;
    const VecU special = magnitude | 0x7f800000u;
    const VecU value = magnitude >= 0x0f800000u ? special : bits(scaled);
    return (Vec)(value | ((h & 0x8000u) << 16));
#endif
  }
  static void narrow(uint16_t *to, Vec v) {
#if defined(__AVX512F__)
    store(to, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    store(to, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
    const VecU b = bits(v), magnitude = b & 0x7fffffffu;
    const VecU normal = (magnitude + (((magnitude >> 13) & 1u) + 0xc8000fffu)) >> 13;
    const VecU subnormal = bits((Vec)magnitude + 0.5f) - 0x3f000000u; // rounded by the addition
    VecU h = magnitude < 0x38800000u ? subnormal : normal;
    h = magnitude >= 0x477ff000u ? VecU{} + 0x7c00u : h;
    h = magnitude > 0x7f800000u ? VecU{} + 0x7e00u : h;
    store(to, __builtin_convertvector(h | ((b >> 16) & 0x8000u), VecH));
#endif
  }
};

// `count` values, at most a vector of them; lanes past it are 0, and nothing past it is read or written.
template <class T> inline Vec widen(const typename T::Stored *from, int64_t count) {
  if (count >= kLanes)
    return T::widen(from);
  typename T::Stored part[kLanes] = {};
  for (int64_t i = 0; i < count; ++i)
    part[i] = from[i];
  return T::widen(part);
}
template <class T> inline void narrow(typename T::Stored *to, Vec v, int64_t count) {
  if (count >= kLanes)
    return T::narrow(to, v);
  typename T::Stored part[kLanes];
  T::narrow(part, v);
  for (int64_t i = 0; i < count; ++i)
    to[i] = part[i];
}

} // namespace mimamba::MIMAMBA_TARGET

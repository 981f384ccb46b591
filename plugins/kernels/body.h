// What kernel bodies are written in: the block they run in, conversions, the three storage types.
//
// A kernel's body is a template over a Block. nvcc compiles it with DeviceBlock, where each(f) runs f for the
// calling thread and then synchronises. A plain C++ compiler compiles the same lines with HostBlock
// (host_shim.h), where each(f) runs f for every thread of the block in turn. So everything but the launch
// itself, the memory system and the few functions of device_math.h is tested on a machine without a GPU.
//
// Two rules follow for a body: a thread reads what another one wrote only in a later each(), and what a
// thread keeps from one each() to the next lives in a Block::Private.
#pragma once

#include "common.h"

#if defined(__CUDACC__)
#define MIMAMBA_DEVICE __device__ __forceinline__
#define MIMAMBA_UNROLL _Pragma("unroll")
#define MIMAMBA_UNROLL_4 _Pragma("unroll 4")
#else
#define MIMAMBA_DEVICE inline
#define MIMAMBA_UNROLL
#define MIMAMBA_UNROLL_4
#endif

namespace mimamba {

// 16 bytes that move in one instruction.
struct alignas(16) Vec4 {
  float v[4];
};

struct alignas(8) Vec2 {
  float x, y;
};

} // namespace mimamba

#if defined(__CUDACC__)
#include "device_math.h"
#else
#include "host_shim.h"
#endif

namespace mimamba {

// The three types of a tensor T. Storage is read and written through these only; arithmetic is fp32.
struct Float32 {
  static MIMAMBA_DEVICE float load(const void *p, int64_t i) { return static_cast<const float *>(p)[i]; }
  static MIMAMBA_DEVICE void store(void *p, int64_t i, float x) { static_cast<float *>(p)[i] = x; }
};

struct Float16 {
  static MIMAMBA_DEVICE float load(const void *p, int64_t i) {
    return half_to_float(static_cast<const uint16_t *>(p)[i]);
  }
  static MIMAMBA_DEVICE void store(void *p, int64_t i, float x) {
    static_cast<uint16_t *>(p)[i] = float_to_half(x);
  }
};

// In integers: sm_75 has no instruction for it, and two more additions per element cost nothing here.
struct BFloat16 {
  static MIMAMBA_DEVICE float load(const void *p, int64_t i) {
    return bits_to_float(static_cast<uint32_t>(static_cast<const uint16_t *>(p)[i]) << 16);
  }
  static MIMAMBA_DEVICE void store(void *p, int64_t i, float x) {
    const uint32_t bits = float_to_bits(x);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    const uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    static_cast<uint16_t *>(p)[i] = static_cast<uint16_t>(nan ? (bits >> 16) | 0x40u : nearest);
  }
};

// Calls f with the storage type. A branch that all threads take alike, once around a whole loop of loads:
// a third of the kernels to compile, ship and test, against a kernel per type.
template <class F> MIMAMBA_DEVICE void with_type(Dtype type, F &&f) {
  if (type == Dtype::kFloat32)
    f(Float32{});
  else if (type == Dtype::kFloat16)
    f(Float16{});
  else
    f(BFloat16{});
}

} // namespace mimamba

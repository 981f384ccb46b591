// Included before a kernel's source: the CUDA library's functions are as wrong as the programming guide
// allows, up or down by a hash of the argument. What nvcc makes of them here is closer than that; another
// toolkit's may be further off.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace worst_case {

__device__ inline float off(float y, int ulps, float argument) {
  const unsigned bits = __float_as_uint(y);
  if ((bits & 0x7fffffffu) < 0x03000000u || (bits & 0x7fffffffu) > 0x7e000000u)
    return y;
  const bool up = __float_as_uint(argument) * 2654435761u >> 20 & 1;
  return __uint_as_float(up ? bits + ulps : bits - ulps);
}

__device__ inline float erf(float x) { return off(erff(x), 2, x); }
__device__ inline float exp(float x) { return off(expf(x), 1, x); }
__device__ inline float log1p(float x) { return off(log1pf(x), 1, x); }
__device__ inline void sincospi(float x, float *sine, float *cosine) {
  sincospif(x, sine, cosine);
  *sine = off(*sine, 1, x);
  *cosine = off(*cosine, 1, -x);
}

} // namespace worst_case

#define erff worst_case::erf
#define expf worst_case::exp
#define log1pf worst_case::log1p
#define sincospif worst_case::sincospi

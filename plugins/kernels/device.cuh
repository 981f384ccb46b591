// What the kernels share on the device: the storage types, a few instructions, the launch.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.h"

namespace mimamba {

// Tensors of type T are stored as float, __half or __nv_bfloat16; all arithmetic is fp32.
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ __half from_float<__half>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

constexpr float kLog2E = 1.4426950408889634f;

// 2^x in one special-function instruction, within 2 ulp; results under 2^-126 are 0. exp2f() adds scaling for
// those.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Calls f(T{}) with the storage type of a problem that check() has accepted.
template <class F> Status with_type(Dtype type, F &&f) {
  if (type == Dtype::kFloat32)
    return f(float{});
  if (type == Dtype::kFloat16)
    return f(__half{});
  return f(__nv_bfloat16{});
}

// Starts a kernel and reports what the launch itself says; what goes wrong later the stream's owner sees.
template <class... Args>
Status launch(void (*kernel)(Args...), const Device &device, dim3 grid, int threads, int64_t shared_bytes,
              cudaStream_t stream, const Args &...args) {
  cudaError_t error = cudaSuccess;
  // The limit of the device, not the size of this launch: two threads that launch different sizes then set
  // the same number. No allocation, no synchronisation, allowed while a stream is captured.
  if (shared_bytes + kStaticShared > 48 * 1024)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(device.shared_bytes - kStaticShared));
  if (error == cudaSuccess)
    kernel<<<grid, static_cast<unsigned>(threads), static_cast<size_t>(shared_bytes), stream>>>(args...);
  // Also takes a failed attribute off the thread's last error, which the next good launch would report as its
  // own.
  const cudaError_t launched = cudaGetLastError();
  error = error == cudaSuccess ? launched : error;
  return error == cudaSuccess ? kDone : Status{Code::kCudaError, cudaGetErrorString(error)};
}

} // namespace mimamba

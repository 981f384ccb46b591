// The device's side of what host_shim.h is on the host: block, conversions, functions.
// PTX instead of cuda_fp16.h: two conversions are all that is needed, and that header costs more compile time
// than a kernel here.
#pragma once

namespace mimamba {

MIMAMBA_DEVICE float half_to_float(uint16_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}

MIMAMBA_DEVICE uint16_t float_to_half(float f) {
  uint16_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}

MIMAMBA_DEVICE float bits_to_float(uint32_t b) { return __uint_as_float(b); }
MIMAMBA_DEVICE uint32_t float_to_bits(float f) { return __float_as_uint(f); }

// One special-function instruction, 2 ulp; exp2f would add scaling for results below 2^-126, which decays
// do not need: there the state is gone.
MIMAMBA_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

MIMAMBA_DEVICE float exp_exact(float x) { return expf(x); }
MIMAMBA_DEVICE float log1p_exact(float x) { return log1pf(x); }
MIMAMBA_DEVICE float erf_exact(float x) { return erff(x); }
MIMAMBA_DEVICE float sqrt_exact(float x) { return sqrtf(x); }
MIMAMBA_DEVICE void sincos_pi(float x, float *sine, float *cosine) { sincospif(x, sine, cosine); }

class DeviceBlock {
public:
  template <class T> struct Private {
    MIMAMBA_DEVICE explicit Private(const DeviceBlock &) {}
    T mine;
    MIMAMBA_DEVICE T &operator[](int) { return mine; }
  };

  explicit MIMAMBA_DEVICE DeviceBlock(float *shared) : shared_(shared) {}
  MIMAMBA_DEVICE int threads() const { return static_cast<int>(blockDim.x); }
  MIMAMBA_DEVICE int64_t index() const { return blockIdx.x; }
  MIMAMBA_DEVICE int64_t blocks() const { return gridDim.x; }
  MIMAMBA_DEVICE float *shared() const { return shared_; }

  // Runs f(thread) for each thread of the block; all are through before the next each() begins.
  template <class F> MIMAMBA_DEVICE void each(F &&f) const {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

private:
  float *shared_;
};

// Starts a kernel and reports what the launch itself says; what goes wrong later the stream's owner sees.
template <class Args>
Status start(void (*kernel)(Args), const Args &args, int64_t blocks, int threads, int64_t shared_bytes,
             cudaStream_t stream) {
  if (shared_bytes > 48 * 1024) {
    // Sets a number in the context: no allocation, no synchronisation, allowed while a stream is captured.
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shared_bytes));
    if (error != cudaSuccess) {
      cudaGetLastError(); // or the next good launch would report it as its own
      return {Code::kCudaError, cudaGetErrorString(error)};
    }
  }
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), static_cast<size_t>(shared_bytes),
           stream>>>(args);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? kDone : Status{Code::kCudaError, cudaGetErrorString(error)};
}

} // namespace mimamba

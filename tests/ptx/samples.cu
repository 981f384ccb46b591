// Small kernels that are right, and small kernels that are wrong in one way each, for tests of the simulator.
#include <cstdint>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace {

struct Given {
  const float *in;
  float *out;
  int n;
};

// --- right

__global__ void functions(Given g) { // eight results of each argument
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= g.n)
    return;
  const float x = g.in[i];
  float sine, cosine, approximate;
  sincospif(x, &sine, &cosine);
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(approximate) : "f"(x));
  const float all[8] = {erff(x), expf(x),     log1pf(fabsf(x)),    sine,
                        cosine,  approximate, __fdividef(1.0f, x), sqrtf(fabsf(x))};
  for (int k = 0; k < 8; ++k)
    g.out[8 * i + k] = all[k];
}

__global__ void to_halves(Given g) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < g.n) {
    reinterpret_cast<__half *>(g.out)[i] = __float2half_rn(g.in[i]);
    reinterpret_cast<__nv_bfloat16 *>(g.out)[g.n + i] = __float2bfloat16_rn(g.in[i]);
  }
}

__global__ void from_halves(Given g) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < g.n) {
    g.out[i] = __half2float(reinterpret_cast<const __half *>(g.in)[i]);
    g.out[g.n + i] = __bfloat162float(reinterpret_cast<const __nv_bfloat16 *>(g.in)[i]);
  }
}

__global__ void integers(Given g) { // 64 bits, shifts, remainders
  const int i = threadIdx.x;
  const auto a = static_cast<int64_t>(g.in[i] * 1e6f),
             b = static_cast<int64_t>(g.in[(i + 1) % g.n] * 1e3f) | 1;
  g.out[4 * i] = static_cast<float>(a / b);
  g.out[4 * i + 1] = static_cast<float>(a % b);
  g.out[4 * i + 2] = static_cast<float>(static_cast<int>(a) >> 3);
  g.out[4 * i + 3] = static_cast<float>(__popcll(a) + __clz(static_cast<int>(b)));
}

__global__ void warp_sums(Given g) { // of the lanes below and of all, in four ways
  const float x = g.in[threadIdx.x];
  float all = x, below = x;
  for (int step = 16; step; step /= 2)
    all += __shfl_xor_sync(~0u, all, step);
  for (int step = 1; step < 32; step *= 2) {
    const float other = __shfl_up_sync(~0u, below, step);
    if (threadIdx.x % 32 >= step)
      below += other;
  }
  const float last = __shfl_sync(~0u, below, 31), pair = __shfl_down_sync(~0u, x, 1, 2);
  const unsigned positive = __ballot_sync(~0u, x > 0.0f);
  float *out = g.out + 5 * threadIdx.x;
  out[0] = all, out[1] = below, out[2] = last, out[3] = pair;
  out[4] = static_cast<float>(__popc(positive)) + (__any_sync(~0u, x > 100.0f) ? 1000.0f : 0.0f);
}

__global__ void parts_of_a_warp(Given g) { // each half of the lanes shuffles among its own
  const bool even = threadIdx.x % 2 == 0;
  float x = g.in[threadIdx.x];
  if (even)
    x += __shfl_xor_sync(0x55555555u, x, 2);
  else
    x *= __shfl_xor_sync(0xaaaaaaaau, x, 2);
  g.out[threadIdx.x] = x;
}

__global__ void by_warp(Given g) { // shared memory of a warp, ordered by __syncwarp alone
  __shared__ float s[128];
  const int i = threadIdx.x, turned = i / 32 * 32 + (i + 1) % 32;
  s[i] = g.in[i];
  __syncwarp();
  const float next = s[turned];
  __syncwarp();
  s[i] = next;
  __syncwarp();
  g.out[i] = s[turned];
}

__global__ void chosen(Given g) { // a jump table, local memory, a vote of the block, atomics
  __shared__ int count;
  if (threadIdx.x == 0)
    count = 0;
  const int any = __syncthreads_or(g.in[threadIdx.x] > 1e9f);
  float local[8];
  for (int k = 0; k < 8; ++k)
    local[k] = g.in[(threadIdx.x + k) % g.n];
  float x = 0.0f;
  switch (threadIdx.x % 8) {
  case 0:
    x = local[1] * 2;
    break;
  case 1:
    x = local[2] - 1;
    break;
  case 2:
    x = sqrtf(fabsf(local[3]));
    break;
  case 3:
    x = local[threadIdx.x / 32];
    break;
  case 4:
    x = -local[5];
    break;
  case 5:
    x = local[6] + local[(threadIdx.x / 16) % 8];
    break;
  default:
    x = 7.0f;
  }
  if (x > 0.0f)
    atomicAdd(&count, 1);
  __syncthreads();
  g.out[threadIdx.x] = any ? -1.0f : x;
  if (threadIdx.x == 0)
    g.out[g.n] = static_cast<float>(count);
}

__device__ void copy_async(float *to, const float *from) {
  asm volatile(
      "cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(to))),
      "l"(from));
}

template <bool wait> __global__ void copies(Given g) {
  __shared__ float s[2][128];
  const int i = threadIdx.x;
  for (int part = 0; part < 2; ++part) {
    copy_async(&s[part][i], g.in + part * 128 + i);
    asm volatile("cp.async.commit_group;");
  }
  if (wait)
    asm volatile("cp.async.wait_group 1;" ::: "memory");
  __syncthreads();
  g.out[i] = s[0][(i + 1) % 128];
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  g.out[128 + i] = s[1][(i + 1) % 128];
}

// --- wrong, in one way each

__global__ void race_in_shared(Given g) {
  __shared__ float s[128];
  s[threadIdx.x] = g.in[threadIdx.x];
  g.out[threadIdx.x] = s[(threadIdx.x + 32) % 128];
}
__global__ void race_of_lanes(Given g) { // a shuffle orders no memory
  __shared__ float s[128];
  s[threadIdx.x] = g.in[threadIdx.x];
  const float x = __shfl_xor_sync(~0u, g.in[threadIdx.x], 1);
  g.out[threadIdx.x] = x + s[threadIdx.x ^ 1];
}
__global__ void race_of_blocks(Given g) {
  g.out[threadIdx.x] = g.in[threadIdx.x] + static_cast<float>(blockIdx.x);
}
__global__ void race_of_write_and_read(Given g) {
  const float x = g.out[(threadIdx.x + 64) % 128];
  g.out[threadIdx.x] = x + g.in[threadIdx.x];
}
__global__ void warp_barrier_for_a_block(Given g) {
  __shared__ float s[128];
  s[threadIdx.x] = g.in[threadIdx.x];
  __syncwarp();
  g.out[threadIdx.x] = s[127 - threadIdx.x];
}
__global__ void divergent_barrier(Given g) {
  if (threadIdx.x < 64)
    __syncthreads();
  g.out[threadIdx.x] = g.in[threadIdx.x];
}
__global__ void early_exit(Given g) {
  if (threadIdx.x == 5)
    return;
  __syncthreads();
  g.out[threadIdx.x] = g.in[threadIdx.x];
}
__global__ void part_of_a_warp_at_a_barrier(Given g) {
  if (threadIdx.x % 2)
    __syncthreads();
  else
    __syncthreads();
  g.out[threadIdx.x] = g.in[threadIdx.x];
}
__global__ void past_the_end(Given g) { g.out[threadIdx.x + 1] = g.in[threadIdx.x]; }
__global__ void before_the_start(Given g) { g.out[threadIdx.x] = g.in[static_cast<int>(threadIdx.x) - 1]; }
__global__ void past_shared(Given g) {
  extern __shared__ float s[];
  s[threadIdx.x + 1] = g.in[threadIdx.x];
  __syncthreads();
  g.out[threadIdx.x] = s[threadIdx.x + 1];
}
__global__ void misaligned(Given g) {
  if (threadIdx.x < 16)
    *reinterpret_cast<float4 *>(g.out + 4 * threadIdx.x) =
        *reinterpret_cast<const float4 *>(g.in + 4 * threadIdx.x + 1);
}
__global__ void unwritten_global(Given g) { g.out[threadIdx.x] += g.in[threadIdx.x]; }
__global__ void unwritten_shared(Given g) {
  __shared__ float s[256];
  s[2 * threadIdx.x] = g.in[threadIdx.x];
  __syncthreads();
  g.out[threadIdx.x] = s[2 * threadIdx.x + 1];
}
__global__ void unwritten_register(Given g) {
  float x;
  asm volatile("{ .reg .f32 never; add.f32 %0, never, %1; }" : "=f"(x) : "f"(g.in[threadIdx.x]));
  g.out[threadIdx.x] = x;
}
__global__ void shuffle_from_elsewhere(Given g) { // from lanes that take no part
  float x = g.in[threadIdx.x];
  if (threadIdx.x % 32 < 16)
    x += __shfl_down_sync(0xffffu, x, 8);
  g.out[threadIdx.x] = x;
}
__global__ void shuffle_of_some(Given g) { // the mask names lanes that go another way
  float x = g.in[threadIdx.x];
  if (threadIdx.x % 32 < 16)
    x += __shfl_xor_sync(~0u, x, 8);
  g.out[threadIdx.x] = x;
}
__global__ void shuffle_that_waits(Given g) { // for lanes that wait for it at another shuffle
  float x = g.in[threadIdx.x];
  if (threadIdx.x % 32 < 16)
    x += __shfl_xor_sync(~0u, x, 8);
  else
    x -= __shfl_xor_sync(~0u, x, 4);
  g.out[threadIdx.x] = x;
}
__global__ void shuffle_from_the_dead(Given g) {
  if (threadIdx.x % 32 == 9)
    return;
  g.out[threadIdx.x] = __shfl_xor_sync(~0u, g.in[threadIdx.x], 8);
}
__global__ void forever(Given g) {
  while (g.in[threadIdx.x] < 1e30f)
    __syncthreads();
  g.out[threadIdx.x] = 0.0f;
}
__global__ void written_constant(Given g) {
  float x;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(x) : "l"(g.out + threadIdx.x));
  g.out[threadIdx.x] = x + 1.0f;
}

struct Sample {
  const char *name;
  void (*kernel)(Given);
  int blocks, shared;
};
const Sample kSamples[] = {
#define SAMPLE(name) {#name, name, 1, 0}
    SAMPLE(to_halves),
    SAMPLE(from_halves),
    SAMPLE(functions),
    SAMPLE(integers),
    SAMPLE(warp_sums),
    SAMPLE(parts_of_a_warp),
    SAMPLE(by_warp),
    SAMPLE(chosen),
    {"copies", copies<true>, 1, 0},
    {"copies_not_waited_for", copies<false>, 1, 0},
    SAMPLE(race_in_shared),
    SAMPLE(race_of_lanes),
    {"race_of_blocks", race_of_blocks, 2, 0},
    SAMPLE(race_of_write_and_read),
    SAMPLE(warp_barrier_for_a_block),
    SAMPLE(divergent_barrier),
    SAMPLE(early_exit),
    SAMPLE(part_of_a_warp_at_a_barrier),
    SAMPLE(past_the_end),
    SAMPLE(before_the_start),
    {"past_shared", past_shared, 1, 512},
    SAMPLE(misaligned),
    SAMPLE(unwritten_global),
    SAMPLE(unwritten_shared),
    SAMPLE(unwritten_register),
    SAMPLE(shuffle_from_elsewhere),
    SAMPLE(shuffle_of_some),
    SAMPLE(shuffle_that_waits),
    SAMPLE(shuffle_from_the_dead),
    SAMPLE(forever),
    SAMPLE(written_constant),
    {"no_blocks", by_warp, 0, 0},
    {"too_much_shared", past_shared, 1, 60000},
};

} // namespace

// Runs a kernel with 128 threads a block, in blocks enough for n where its work is not of one block. The
// runtime's error; -1: no such kernel.
extern "C" int sample(const char *name, const float *in, float *out, int n) {
  for (const Sample &one : kSamples) {
    if (std::strcmp(one.name, name) != 0)
      continue;
    const int blocks = one.blocks == 1 && n > 256 ? (n + 127) / 128 : one.blocks;
    one.kernel<<<blocks, 128, one.shared>>>(Given{in, out, n});
    const cudaError_t error = cudaGetLastError();
    return static_cast<int>(error == cudaSuccess ? cudaDeviceSynchronize() : error);
  }
  return -1;
}

// MultiScaleTemporalBlock, first kernel: amplitudes of the allowed bins, averaged over channels.
//
// A plain sum over the window for each bin, not an FFT: any length, any band, the same bits always. Sample t
// and sample l - t meet the same cosine and opposite sines, so their sum and difference are staged as a pair.
#pragma once

#include "mstb_common.cuh"

namespace mimamba {

struct Wave {
  float cosine, sine;
};

// The wave of a bin at sample t. `turn` is 2^64 / l: the fraction of a turn comes out of the multiplication
// as what is left below 2^64, so long windows lose no accuracy.
__device__ inline Wave wave_at(int bin, int t, uint64_t turn) {
  const uint64_t fraction = static_cast<uint64_t>(bin) * static_cast<uint64_t>(t) * turn;
  Wave wave;
  sincospif(static_cast<float>(static_cast<int32_t>(fraction >> 32)) * 0x1p-31f, &wave.sine, &wave.cosine);
  return wave;
}

__device__ inline Wave operator*(Wave a, Wave b) {
  return {a.cosine * b.cosine - a.sine * b.sine, a.cosine * b.sine + a.sine * b.cosine};
}

__global__ void __launch_bounds__(kSpectrumThreads, 4) spectrum_kernel(const MstbArgs args) {
  constexpr int kColumns = kSpectrumBins / 2; // a thread has two bins of one slice of the samples
  constexpr int kLoads = kSpectrumChunk / kSpectrumThreads;
  __shared__ float4 sums[kSpectrumChunk], differences[kSpectrumChunk];
  __shared__ float4 slices[kSpectrumSlices][kSpectrumBins][2]; // real and imaginary parts of four channels

  const MstbProblem &p = args.problem;
  const int thread = threadIdx.x, column = thread % kColumns, slice = thread / kColumns;
  const int l = static_cast<int>(p.l), c = static_cast<int>(p.c), pairs = l / 2;
  const float scale = 1.0f / static_cast<float>(c);
  for (int64_t window = blockIdx.y; window < p.b; window += gridDim.y)
    for (int tile = blockIdx.x; tile < args.plan.bin_tiles; tile += gridDim.x) {
      const Signal x = signal_of(p, window);
      const int first = tile * kSpectrumBins, bin = static_cast<int>(p.min_bin) + first + column;
      float total = 0.0f;
      for (int channel = 0; channel < c; channel += 4) {
        const float4 origin = x.load(0, channel);
        float4 early[kLoads], late[kLoads];
        const auto load = [&](int from) {
#pragma unroll
          for (int i = 0; i < kLoads; ++i)
            if (from + i * kSpectrumThreads <= pairs) {
              const int t = min(from + i * kSpectrumThreads + thread, pairs);
              early[i] = x.load(t, channel);
              late[i] = x.load(l - t, channel);
            }
        };
        load(1);
        const Wave step[2] = {wave_at(bin, 1, args.turn), wave_at(bin + kColumns, 1, args.turn)};
        float4 real[2] = {}, imaginary[2] = {};
        for (int from = 1; from <= pairs; from += kSpectrumChunk) {
          const int steps = (min(kSpectrumChunk, pairs + 1 - from) + kSpectrumSlices - 1) / kSpectrumSlices;
          const int begin = slice * steps;
          Wave wave[2] = {wave_at(bin, from + begin, args.turn),
                          wave_at(bin + kColumns, from + begin, args.turn)};
#pragma unroll
          for (int i = 0; i < kLoads; ++i) {
            // The first sample comes off: bins above 0 do not see it, and a channel that does not move gives
            // exact zeros instead of rounding noise that would choose the periods.
            const int at = thread + i * kSpectrumThreads, t = from + at;
            const float4 a = t <= pairs ? early[i] - origin : float4{};
            const float4 b = t <= pairs && 2 * t < l ? late[i] - origin : float4{};
            sums[at] = a + b;
            differences[at] = a - b;
          }
          __syncthreads();
          if (from + kSpectrumChunk <= pairs)
            load(from + kSpectrumChunk); // on its way while this chunk is summed
#pragma unroll 4
          for (int i = begin; i < begin + steps; ++i) {
            const float4 even = sums[i], odd = differences[i];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
              real[j] = multiply_add(even, wave[j].cosine, real[j]);
              imaginary[j] = multiply_add(odd, wave[j].sine, imaginary[j]);
              wave[j] = wave[j] * step[j];
            }
          }
          __syncthreads();
        }
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          slices[slice][column + j * kColumns][0] = real[j];
          slices[slice][column + j * kColumns][1] = imaginary[j];
        }
        __syncthreads();
        // Eight threads have a bin: four channels, real and imaginary part.
        float part = 0.0f;
#pragma unroll
        for (int i = 0; i < kSpectrumSlices; ++i)
          part += reinterpret_cast<const float *>(slices[i])[thread];
        const float other = __shfl_xor_sync(~0u, part, 4);
        float size = sqrtf(part * part + other * other);
        size += __shfl_xor_sync(~0u, size, 1);
        total += size + __shfl_xor_sync(~0u, size, 2);
      }
      if (thread % 8 == 0 && first + thread / 8 < args.plan.bins)
        args.amplitude[window * args.plan.bins + first + thread / 8] = total * scale;
    }
}

} // namespace mimamba

#include "training.h"

#include "kernels.h"
#include "tensors.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace mimamba {
namespace {

constexpr int64_t kWorthThreads = 1 << 17; // steps times channels times states: some 50 us of one core
constexpr int64_t kLots = 16;              // of windows, each with sums of its own

// Calls `work(i, scratch)` for i below `total`, each thread with its own scratch.
template <class Work> void for_each(const MimambaTraining &t, int64_t total, size_t bytes, const Work &work) {
  const int64_t size = t.b * t.l * t.d * t.n;
  const int64_t threads = size < kWorthThreads ? 1 : std::max<int64_t>(1, std::min(t.threads, total));
  std::vector<Scratch> scratch;
  for (int64_t i = 0; i < threads; ++i)
    scratch.emplace_back(bytes);
  std::atomic<int64_t> next{0};
  const auto run = [&](float *own) {
    for (int64_t i = next++; i < total; i = next++)
      work(i, own);
  };
  std::vector<std::thread> others;
  try {
    others.reserve(static_cast<size_t>(threads - 1));
    for (int64_t i = 1; i < threads; ++i)
      others.emplace_back(run, scratch[static_cast<size_t>(i)].floats());
  } catch (const std::exception &) { // those that there are do it all
  }
  run(scratch[0].floats());
  for (std::thread &other : others)
    other.join();
}

Scratch packed(const MimambaTraining &t) {
  Scratch rates(kernels().rates_size(t.d, t.g, t.n) * sizeof(float));
  kernels().pack_rates(t.A, t.d, t.g, t.n, rates.floats());
  return rates;
}

void forward(const MimambaTraining &t) {
  const Kernels &k = kernels();
  const Scratch rates = packed(t);
  Scan scan{};
  scan.u = t.u, scan.delta = t.delta, scan.B = t.B, scan.C = t.C, scan.z = t.z;
  scan.rates = rates.floats(), scan.D = t.D, scan.delta_bias = t.delta_bias, scan.y = t.y;
  scan.b = t.b, scan.l = t.l, scan.d = t.d, scan.g = t.g, scan.n = t.n, scan.state_batch = 1;
  scan.type = kF32, scan.delta_softplus = true, scan.reverse = t.reverse != 0, scan.zero_state = true;
  const int64_t parts = k.parts(t.d, t.g);
  for_each(t, t.b * parts, k.scan_scratch(t.n),
           [&](int64_t i, float *scratch) { k.scan(scan, i / parts, i % parts, scratch); });
}

void gradients(const MimambaTraining &t) {
  const Kernels &k = kernels();
  const Scratch rates = packed(t);
  ScanGradients scan{};
  scan.grad_y = t.grad_y, scan.u = t.u, scan.delta = t.delta, scan.B = t.B, scan.C = t.C, scan.z = t.z;
  scan.rates = rates.floats(), scan.D = t.D, scan.delta_bias = t.delta_bias;
  scan.grad_u = t.grad_u, scan.grad_delta = t.grad_delta, scan.grad_z = t.grad_z;
  scan.grad_B = t.grad_B, scan.grad_C = t.grad_C;
  scan.b = t.b, scan.l = t.l, scan.d = t.d, scan.g = t.g, scan.n = t.n, scan.reverse = t.reverse != 0;

  const int64_t lots = std::min(t.b, kLots);
  const size_t size = k.gradient_sums(t.d, t.g, t.n);
  const Scratch held(static_cast<size_t>(lots * t.g) * size * sizeof(float));
  float *const sums = held.floats();
  std::fill(sums, sums + static_cast<size_t>(lots * t.g) * size, 0.0f);
  for_each(t, lots * t.g, k.gradient_scratch(t.l, t.d, t.g, t.n), [&](int64_t i, float *scratch) {
    for (int64_t batch = i / t.g; batch < t.b; batch += lots)
      k.scan_gradients(scan, batch, i % t.g, sums + static_cast<size_t>(i) * size, scratch);
  });
  for (size_t i = static_cast<size_t>(t.g) * size; i < static_cast<size_t>(lots * t.g) * size; ++i)
    sums[i % (static_cast<size_t>(t.g) * size)] += sums[i];

  const int64_t lanes = k.lanes, width = t.d / t.g, vectors = (width + lanes - 1) / lanes;
  for (int64_t channel = 0; channel < t.d; ++channel) {
    const int64_t group = channel / width, i = channel % width;
    const float *of_rates = sums + static_cast<size_t>(group) * size,
                *of_D = of_rates + vectors * t.n * lanes;
    for (int64_t s = 0; s < t.n; ++s)
      t.grad_A[channel * t.n + s] = of_rates[(i / lanes * t.n + s) * lanes + i % lanes];
    t.grad_D[channel] = of_D[i];
    t.grad_delta_bias[channel] = of_D[vectors * lanes + i];
  }
}

int done(void (*work)(const MimambaTraining &), const MimambaTraining *t) {
  try {
    work(*t);
  } catch (const std::bad_alloc &) {
    return 1;
  }
  return 0;
}

} // namespace
} // namespace mimamba

#define MIMAMBA_EXPORT __attribute__((visibility("default")))

extern "C" {

MIMAMBA_EXPORT int mimamba_train_scan(const MimambaTraining *t) { return mimamba::done(mimamba::forward, t); }

MIMAMBA_EXPORT int mimamba_scan_gradients(const MimambaTraining *t) {
  return mimamba::done(mimamba::gradients, t);
}
}

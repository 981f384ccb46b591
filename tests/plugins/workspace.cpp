// What a face asks TensorRT for and what its launches then use, over random shapes and devices. The launchers
// are stand-ins: they plan as the real ones do and compare.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "core.h"

using namespace mimamba;

namespace {

int64_t promised = 0, told = 0, failures = 0, cases = 0;

void expect(bool holds, const char *what) {
  ++cases;
  if (!holds && ++failures <= 10)
    std::printf("does not hold: %s\n", what);
}

std::mt19937_64 source_of_chance(7);

int64_t pick(int64_t low, int64_t high) { // low >= 1, small ones as often as large ones
  const double lower = std::log(static_cast<double>(low)), upper = std::log(static_cast<double>(high + 1));
  const double value = std::exp(std::uniform_real_distribution<double>(lower, upper)(source_of_chance));
  return std::clamp(static_cast<int64_t>(value), low, high);
}

int64_t grown(int64_t size, int64_t by) { return size + pick(1, by + 1) - 1; }

// The op at a shape, in the workspace that was made for a larger one.
template <class Op>
void check_op(const Op &op, const Sizes &small, const Sizes &large, const Device &device) {
  if (!op.check(small).ok() || !op.check(large).ok())
    return;
  float any = 0.0f;
  const void *inputs[kMaxInputs];
  void *outputs[kMaxOutputs] = {&any, &any};
  std::fill_n(inputs, kMaxInputs, &any);
  promised = op.workspace(large);
  const Status status =
      op.enqueue(small, Dtype::kFloat32, device, inputs, outputs, reinterpret_cast<void *>(16), nullptr);
  expect(status.ok(), status.message);
  expect(told <= promised, "a launch is told it has no more than TensorRT was asked for");
}

} // namespace

namespace mimamba {

Status launch_scan(const ScanProblem &, const Device &, cudaStream_t) { return kDone; }

Status launch_mstb(const MstbProblem &p, const Device &device, void *workspace, int64_t bytes, cudaStream_t) {
  told = bytes;
  MstbPlan plan;
  MIMAMBA_TRY(prepare_mstb(p, device, workspace, bytes, &plan));
  const MstbPlan fastest = plan_mstb(p, device);
  expect(plan.workspace_bytes <= bytes, "the block stays within what it is told");
  if (device.multiprocessors <= 160) {
    expect(plan.groups == fastest.groups, "the fastest plan of the block fits");
    expect(plan.conv_blocks >= lesser(fastest.conv_blocks, 40), "there is room for images of 40 blocks");
  }
  return kDone;
}

} // namespace mimamba

int main() {
  for (int i = 0; i < 40000; ++i) {
    Device device;
    device.multiprocessors = static_cast<int32_t>(pick(1, 400));
    device.shared_bytes = pick(64 * 1024, 227 * 1024);
    Sizes small, large;
    for (const char axis : {'b', 'l', 'c', 'f', 'k'})
      small[axis] = 1;
    small['b'] = pick(1, 80);
    small['l'] = i % 2 ? pick(2, 4096) : pick(1, 70000);
    small['c'] = pick(1, 128);
    small['f'] = pick(1, 300);
    small['k'] = 2 * pick(1, 8) - 1;
    large = small;
    large['b'] = grown(small['b'], 64);
    large['l'] = grown(small['l'], 4096);
    const int32_t top_k = static_cast<int32_t>(pick(1, 8)), first = static_cast<int32_t>(pick(1, 9));
    const int32_t last = i % 3 ? 0 : first + static_cast<int32_t>(pick(8, 100));
    check_op(MstbOp{top_k, first, last, 0, 1.0f}, small, large, device);
  }
  std::printf("%lld cases, %lld failures\n", static_cast<long long>(cases), static_cast<long long>(failures));
  return failures || cases < 100000 ? 1 : 0;
}

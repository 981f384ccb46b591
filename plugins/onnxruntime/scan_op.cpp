// SelectiveScan: checks what it is given and cuts the work by window and channels.
#include "kernels.h"
#include "ops.h"
#include "tensors.h"

#include <algorithm>

namespace mimamba {
namespace {

constexpr const char *kName = "SelectiveScan";
constexpr int64_t kMostStates = 256;
// Steps times channels times states below which other threads are not worth waking: some 0.1 ms of one core.
constexpr int64_t kWorthThreads = 1 << 20;

enum Input { kU, kDelta, kA, kB, kC, kD, kBias, kState, kZ, kInputs };

class ScanKernel {
public:
  ScanKernel(const ort::Api &api, const ort::KernelInfo *info, int type) : api_(api), type_(type) {
    has_z_ = flag(info, "has_z");
    softplus_ = flag(info, "delta_softplus");
    reverse_ = flag(info, "reverse");
    last_state_ = flag(info, "return_last_state");
    const ort::Value *value = nullptr;
    check(api_.constant_input(info, kState, &value));
    if (value) {
      const Tensor state = view(api_, value);
      if (state.type == ort::kFloat) {
        int64_t count = 1;
        for (const int64_t size : state.dims)
          count *= size;
        zero_state_ = std::all_of(state.floats(), state.floats() + count, [](float x) { return x == 0.0f; });
      }
    }
    check(api_.constant_input(info, kA, &value));
    if (value)
      constant_rates_ = view(api_, value);
  }

  ort::Status *compute(ort::KernelContext *context) {
    return guarded(api_, [&] { run(context); });
  }

private:
  void run(ort::KernelContext *context) {
    Tensor t[kInputs];
    for (size_t i = 0; i < kInputs; ++i)
      t[i] = input(api_, context, i);
    expect(kName, "u", t[kU], type_, {-1, -1, -1});
    const int64_t b = t[kU].dims[0], l = t[kU].dims[1], d = t[kU].dims[2];
    expect(kName, "A", t[kA], ort::kFloat, {d, -1});
    const int64_t n = t[kA].dims[1];
    expect(kName, "B", t[kB], type_, {b, l, -1, n});
    const int64_t g = t[kB].dims[2];
    if (l < 1 || d < 1 || n < 1 || n > kMostStates || g < 1 || d % g)
      throw Refusal(std::string(kName) + ": l " + std::to_string(l) + ", d " + std::to_string(d) + ", n " +
                    std::to_string(n) + ", groups " + std::to_string(g) +
                    "; expected l and d at least 1, n 1 to 256, groups that divide d");
    expect(kName, "delta", t[kDelta], type_, {b, l, d});
    expect(kName, "C", t[kC], type_, {b, l, g, n});
    expect(kName, "D", t[kD], ort::kFloat, {d});
    expect(kName, "delta_bias", t[kBias], ort::kFloat, {d});
    const bool shared = t[kState].dims.size() == 3 && t[kState].dims[0] == 1;
    expect(kName, "initial_state", t[kState], ort::kFloat, {shared ? 1 : b, d, n});
    if (has_z_)
      expect(kName, "z", t[kZ], type_, {b, l, d});
    else if (t[kZ])
      throw Refusal(std::string(kName) + ": input z is given, but attribute has_z is 0");

    Scan scan;
    scan.u = t[kU].data, scan.delta = t[kDelta].data, scan.B = t[kB].data, scan.C = t[kC].data;
    scan.z = has_z_ ? t[kZ].data : nullptr;
    scan.D = t[kD].floats(), scan.delta_bias = t[kBias].floats(), scan.initial_state = t[kState].floats();
    scan.b = b, scan.l = l, scan.d = d, scan.g = g, scan.n = n;
    scan.state_batch = t[kState].dims[0];
    scan.type = static_cast<Type>(type_);
    scan.delta_softplus = softplus_, scan.reverse = reverse_, scan.zero_state = zero_state_;
    scan.y = output(api_, context, 0, {b, l, d});
    scan.last_state = last_state_ ? static_cast<float *>(output(api_, context, 1, {b, d, n})) : nullptr;
    if (b == 0)
      return;

    const std::shared_ptr<const Rates> rates = rates_of(t[kA], d, g, n);
    scan.rates = rates->data.floats();
    const int64_t parts = kernels_.parts(d, g);
    const size_t bytes = kernels_.scan_scratch(n);
    for_each(api_, context, b * parts, b * l * d * n >= kWorthThreads,
             [&](int64_t i) { kernels_.scan(scan, i / parts, i % parts, Scratch(bytes).floats()); });
  }

  struct Rates {
    Rates(size_t floats, int64_t g) : data(floats * sizeof(float)), groups(g) {}
    Scratch data;
    int64_t groups;
  };

  bool flag(const ort::KernelInfo *info, const char *name) {
    return attribute(api_, info, kName, name, 0, 1) != 0;
  }

  // A as the kernels read it. A constant one is laid out once: its groups are known at the first call, and
  // are those of the file at every other.
  std::shared_ptr<const Rates> rates_of(const Tensor &A, int64_t d, int64_t g, int64_t n) {
    const bool constant = constant_rates_ && constant_rates_.dims == A.dims;
    if (constant) {
      const std::shared_ptr<const Rates> held = std::atomic_load(&held_);
      if (held && held->groups == g)
        return held;
    }
    const auto rates = std::make_shared<const Rates>(kernels_.rates_size(d, g, n), g);
    kernels_.pack_rates(A.floats(), d, g, n, rates->data.floats());
    if (constant)
      std::atomic_store(&held_, std::shared_ptr<const Rates>(rates));
    return rates;
  }

  const ort::Api api_;
  const Kernels &kernels_ = kernels();
  int type_;
  bool has_z_, softplus_, reverse_, last_state_, zero_state_ = false;
  Tensor constant_rates_;
  std::shared_ptr<const Rates> held_;
};

} // namespace

TypedOp scan_op(int type) {
  TypedOp op;
  op.type = type;
  op.name = [](const ort::CustomOp *) { return kName; };
  op.inputs = [](const ort::CustomOp *) -> size_t { return kInputs; };
  op.outputs = [](const ort::CustomOp *) -> size_t { return 2; };
  op.input_type = [](const ort::CustomOp *self, size_t i) -> int {
    return i == kA || (i >= kD && i <= kState) ? static_cast<int>(ort::kFloat) : type_of(self);
  };
  op.output_type = [](const ort::CustomOp *self, size_t i) -> int {
    return i == 1 ? static_cast<int>(ort::kFloat) : type_of(self);
  };
  op.first_opset = [](const ort::CustomOp *) { return kScanVersion; };
  op.last_opset = op.first_opset;
  set_common<ScanKernel>(&op);
  op.input_presence = [](const ort::CustomOp *, size_t i) -> int {
    return i == kZ ? ort::kOptional : ort::kRequired;
  };
  op.output_presence = [](const ort::CustomOp *, size_t i) -> int {
    return i == 1 ? ort::kOptional : ort::kRequired;
  };
  return op;
}

} // namespace mimamba

// SelectiveScan on the CPU: cuts the work by window and channels.
#include "kernels.h"
#include "nodes.h"

#include <algorithm>

namespace mimamba {
namespace {

// Steps times channels times states below which other threads are not worth waking: some 0.1 ms of one core.
constexpr int64_t kWorthThreads = 1 << 20;

class ScanKernel {
public:
  ScanKernel(const ort::Api &api, const ort::KernelInfo *info, int type) : api_(api), node_(api, info, type) {
    const ort::Value *value = nullptr;
    check(api_.constant_input(info, Node::kState, &value));
    if (value) {
      const Tensor state = view(api_, value);
      if (state.type == ort::kFloat) {
        int64_t count = 1;
        for (const int64_t size : state.dims)
          count *= size;
        zero_state_ = std::all_of(state.floats(), state.floats() + count, [](float x) { return x == 0.0f; });
      }
    }
    check(api_.constant_input(info, Node::kA, &value));
    if (value)
      constant_rates_ = view(api_, value);
  }

  ort::Status *compute(ort::KernelContext *context) {
    return guarded(api_, [&] { run(context); });
  }

private:
  using Node = ScanNode;

  void run(ort::KernelContext *context) {
    const Node::Given given = node_.given(context);
    const Tensor *t = given.t;
    const int64_t b = given.b, l = given.l, d = given.d, g = given.g, n = given.n;
    Scan scan;
    scan.u = t[Node::kU].data, scan.delta = t[Node::kDelta].data;
    scan.B = t[Node::kB].data, scan.C = t[Node::kC].data;
    scan.z = node_.has_z ? t[Node::kZ].data : nullptr;
    scan.D = t[Node::kD].floats(), scan.delta_bias = t[Node::kBias].floats();
    scan.initial_state = t[Node::kState].floats();
    scan.b = b, scan.l = l, scan.d = d, scan.g = g, scan.n = n;
    scan.state_batch = t[Node::kState].dims[0];
    scan.type = static_cast<Type>(node_.type);
    scan.delta_softplus = node_.softplus, scan.reverse = node_.reverse, scan.zero_state = zero_state_;
    scan.y = output(api_, context, 0, {b, l, d});
    scan.last_state = node_.last_state ? static_cast<float *>(output(api_, context, 1, {b, d, n})) : nullptr;
    if (b == 0)
      return;

    const std::shared_ptr<const Rates> rates = rates_of(t[Node::kA], d, g, n);
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
  const Node node_;
  bool zero_state_ = false;
  Tensor constant_rates_;
  std::shared_ptr<const Rates> held_;
};

} // namespace

TypedOp scan_op(int type) { return with_kernel<ScanKernel>(describe_scan(type)); }

} // namespace mimamba

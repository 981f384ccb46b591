// MultiScaleTemporalBlock on the CPU: chooses the periods, folds, and adds up.
#include "kernels.h"
#include "nodes.h"

#include <algorithm>
#include <cmath>

namespace mimamba {
namespace {

// Multiplications of the dense convolutions below which other threads are not worth waking: some 0.2 ms of
// one core.
constexpr int64_t kWorthThreads = 1 << 24;

using Node = MstbNode;

// Cosines and sines of the bins of one window length.
struct Angles {
  int64_t l, padded;
  std::vector<double> values;

  explicit Angles(int64_t length, int lanes)
      : l(length), padded((length / 2 + 1 + lanes - 1) / lanes * lanes) {
    values.resize(static_cast<size_t>(2 * padded));
    for (int64_t bin = 0; bin <= l / 2; ++bin) {
      const double angle = 2.0 * 3.14159265358979323846 * static_cast<double>(bin) / static_cast<double>(l);
      values[static_cast<size_t>(bin)] = std::cos(angle);
      values[static_cast<size_t>(padded + bin)] = std::sin(angle);
    }
  }
};

// Kernels and biases as floats, tap by tap, hidden channels side by side and filled up with zeros.
struct Weights {
  int64_t f, c, k;
  std::vector<float> w1, b1, w2, b2;

  Weights(const Kernels &kernels, const Tensor *t)
      : f(t[Node::kW1].dims[0]), c(t[Node::kW1].dims[1]), k(t[Node::kW1].dims[2]) {
    const int64_t padded = kernels.padded(f), taps = k * k, count = f * c * taps;
    std::vector<float> first(static_cast<size_t>(count)), second(first.size());
    const Type type = static_cast<Type>(t[Node::kW1].type);
    kernels.widen(type, t[Node::kW1].data, first.data(), count);
    kernels.widen(type, t[Node::kW2].data, second.data(), count);
    w1.resize(static_cast<size_t>(taps * c * padded));
    w2.resize(w1.size());
    for (int64_t hidden = 0; hidden < f; ++hidden)
      for (int64_t channel = 0; channel < c; ++channel)
        for (int64_t tap = 0; tap < taps; ++tap) {
          const size_t to = static_cast<size_t>((tap * c + channel) * padded + hidden);
          w1[to] = first[static_cast<size_t>((hidden * c + channel) * taps + tap)];
          w2[to] = second[static_cast<size_t>((channel * f + hidden) * taps + tap)];
        }
    b1.resize(static_cast<size_t>(padded));
    std::copy_n(t[Node::kB1].floats(), f, b1.begin());
    b2.assign(t[Node::kB2].floats(), t[Node::kB2].floats() + c);
  }
};

// One window's fold by a period, and its share of the answer.
struct Chosen {
  int64_t window, period;
  float weight;
};

class MstbKernel {
public:
  MstbKernel(const ort::Api &api, const ort::KernelInfo *info, int type) : api_(api), node_(api, info, type) {
    for (size_t i = Node::kW1; i < Node::kInputs; ++i) {
      const ort::Value *value = nullptr;
      check(api_.constant_input(info, i, &value));
      constant_ = constant_ && value;
    }
  }

  ort::Status *compute(ort::KernelContext *context) {
    return guarded(api_, [&] { run(context); });
  }

private:
  void run(ort::KernelContext *context) {
    const Node::Given given = node_.given(context);
    const Tensor *t = given.t;
    const int64_t b = given.b, l = given.l, c = given.c, f = given.f, k = given.k;
    void *y = output(api_, context, 0, t[Node::kX].dims);
    if (b == 0)
      return;
    const std::shared_ptr<const Weights> weights = weights_of(t);
    const std::shared_ptr<const Angles> angles = angles_of(l);
    std::vector<Chosen> chosen(static_cast<size_t>(b * node_.top_k));
    const bool parallel = b * node_.top_k * l * c * f * k * k >= kWorthThreads;
    for_each(api_, context, b, parallel, [&](int64_t window) {
      choose(*angles, t[Node::kX].floats() + window * l * c, l, c, given.last, window,
             &chosen[static_cast<size_t>(window * node_.top_k)]);
    });
    chosen.erase(
        std::remove_if(chosen.begin(), chosen.end(), [](const Chosen &one) { return one.period == 0; }),
        chosen.end());

    const int64_t size = l * c;
    std::vector<float> branches(chosen.size() * static_cast<size_t>(size));
    for_each(api_, context, static_cast<int64_t>(chosen.size()), parallel, [&](int64_t i) {
      Branch branch;
      branch.x = t[Node::kX].floats() + chosen[static_cast<size_t>(i)].window * size;
      branch.out = branches.data() + i * size;
      branch.l = l, branch.c = c, branch.f = f, branch.k = k;
      branch.period = chosen[static_cast<size_t>(i)].period;
      branch.w1 = weights->w1.data(), branch.b1 = weights->b1.data();
      branch.w2 = weights->w2.data(), branch.b2 = weights->b2.data();
      kernels_.branch(branch, Scratch(kernels_.branch_scratch(branch)).floats());
    });

    std::vector<float> sums(t[Node::kX].floats(), t[Node::kX].floats() + b * size);
    for (size_t i = 0; i < chosen.size(); ++i) {
      float *sum = sums.data() + chosen[i].window * size;
      const float *branch = branches.data() + static_cast<int64_t>(i) * size;
      for (int64_t j = 0; j < size; ++j)
        sum[j] += chosen[i].weight * branch[j];
    }
    kernels_.narrow(static_cast<Type>(node_.type), sums.data(), y, b * size);
  }

  // Fills in top_k periods, largest amplitude first, ties: lower bin first. A period that was chosen
  // before is 0 here, and its weight added there.
  void choose(const Angles &angles, const float *x, int64_t l, int64_t c, int64_t last, int64_t window,
              Chosen *out) const {
    std::vector<double> amplitude(static_cast<size_t>(angles.padded));
    kernels_.spectrum({x, angles.values.data(), amplitude.data(), l, c, angles.padded});
    std::vector<int64_t> bins;
    for (int64_t i = node_.min_bin; i <= last; ++i)
      bins.push_back(i);
    const auto at = [&](int64_t bin) { return amplitude[static_cast<size_t>(bin)]; };
    // NaN is less than all numbers, or there would be no order.
    std::partial_sort(bins.begin(), bins.begin() + node_.top_k, bins.end(), [&](int64_t a, int64_t b) {
      const double first = std::isnan(at(a)) ? -1.0 : at(a), second = std::isnan(at(b)) ? -1.0 : at(b);
      return first != second ? first > second : a < b;
    });
    bins.resize(static_cast<size_t>(node_.top_k));

    std::vector<double> share(bins.size());
    double largest = node_.scale * at(bins[0]), total = 0.0;
    for (const int64_t bin : bins)
      largest = std::max(largest, node_.scale * at(bin));
    for (size_t i = 0; i < bins.size(); ++i) {
      share[i] = node_.softmax ? std::exp(node_.scale * at(bins[i]) - largest) : at(bins[i]);
      total += share[i];
    }
    for (size_t i = 0; i < bins.size(); ++i) {
      const int64_t period = (l + (node_.round_down ? 0 : bins[i] - 1)) / bins[i];
      const double weight = total == 0.0 ? 1.0 / static_cast<double>(node_.top_k) : share[i] / total;
      Chosen *const same =
          std::find_if(out, out + i, [&](const Chosen &one) { return one.period == period; });
      out[i] = {window, same == out + i ? period : 0, 0.0f};
      same->weight += static_cast<float>(weight);
    }
  }

  // Laid out once where all are constant.
  std::shared_ptr<const Weights> weights_of(const Tensor *t) {
    std::shared_ptr<const Weights> weights = constant_ ? std::atomic_load(&weights_) : nullptr;
    if (!weights) {
      weights = std::make_shared<const Weights>(kernels_, t);
      if (constant_)
        std::atomic_store(&weights_, weights);
    }
    return weights;
  }

  std::shared_ptr<const Angles> angles_of(int64_t l) {
    std::shared_ptr<const Angles> angles = std::atomic_load(&angles_);
    if (!angles || angles->l != l) {
      angles = std::make_shared<const Angles>(l, kernels_.lanes);
      std::atomic_store(&angles_, angles);
    }
    return angles;
  }

  const ort::Api api_;
  const Kernels &kernels_ = kernels();
  const Node node_;
  bool constant_ = true;
  std::shared_ptr<const Weights> weights_;
  std::shared_ptr<const Angles> angles_;
};

} // namespace

TypedOp mstb_op(int type) { return with_kernel<MstbKernel>(describe_mstb(type)); }

} // namespace mimamba

// MultiScaleTemporalBlock: checks what it is given, chooses the periods, folds, and adds up.
#include "kernels.h"
#include "ops.h"
#include "tensors.h"

#include <algorithm>
#include <cmath>

namespace mimamba {
namespace {

constexpr const char *kName = "MultiScaleTemporalBlock";
constexpr int64_t kMostPeriods = 8, kLargestKernel = 15;
// Multiplications of the dense convolutions below which other threads are not worth waking: some 0.2 ms of
// one core.
constexpr int64_t kWorthThreads = 1 << 24;

enum Input { kX, kW1, kB1, kW2, kB2, kInputs };

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

  Weights(const Kernels &kernels, const Tensor *t) : f(t[kW1].dims[0]), c(t[kW1].dims[1]), k(t[kW1].dims[2]) {
    const int64_t padded = kernels.padded(f), taps = k * k, count = f * c * taps;
    std::vector<float> first(static_cast<size_t>(count)), second(first.size());
    const Type type = static_cast<Type>(t[kW1].type);
    kernels.widen(type, t[kW1].data, first.data(), count);
    kernels.widen(type, t[kW2].data, second.data(), count);
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
    std::copy_n(t[kB1].floats(), f, b1.begin());
    b2.assign(t[kB2].floats(), t[kB2].floats() + c);
  }
};

// One window's fold by a period, and its share of the answer.
struct Chosen {
  int64_t window, period;
  float weight;
};

class MstbKernel {
public:
  MstbKernel(const ort::Api &api, const ort::KernelInfo *info, int type) : api_(api), type_(type) {
    constexpr int64_t most = int64_t{1} << 40;
    top_k_ = attribute(api_, info, kName, "top_k", 1, kMostPeriods);
    min_bin_ = attribute(api_, info, kName, "min_bin", 1, most);
    max_bin_ = attribute(api_, info, kName, "max_bin", 0, most);
    softmax_ = attribute(api_, info, kName, "weighting", 0, 1) == 1;
    check(api_.attribute(info, "amplitude_scale", &scale_));
    for (size_t i = kW1; i < kInputs; ++i) {
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
    Tensor t[kInputs];
    for (size_t i = 0; i < kInputs; ++i)
      t[i] = input(api_, context, i);
    expect(kName, "x", t[kX], ort::kFloat, {-1, -1, -1});
    const int64_t b = t[kX].dims[0], l = t[kX].dims[1], c = t[kX].dims[2];
    expect(kName, "w1", t[kW1], type_, {-1, c, -1, -1});
    const int64_t f = t[kW1].dims[0], k = t[kW1].dims[2];
    if (l < 1 || c < 1 || f < 1 || k % 2 == 0 || k > kLargestKernel || t[kW1].dims[3] != k)
      throw Refusal(std::string(kName) + ": x is " + shown(t[kX].dims) + " and w1 " + shown(t[kW1].dims) +
                    ", expected (b, l, c) and (f, c, k, k), all at least 1, k odd and at most 15");
    expect(kName, "b1", t[kB1], ort::kFloat, {f});
    expect(kName, "w2", t[kW2], type_, {c, f, k, k});
    expect(kName, "b2", t[kB2], ort::kFloat, {c});
    const int64_t last = max_bin_ ? max_bin_ : l / 2;
    if (min_bin_ > last || last > l / 2 || top_k_ > last - min_bin_ + 1)
      throw Refusal(std::string(kName) + ": top_k " + std::to_string(top_k_) + " of the bins " +
                    std::to_string(min_bin_) + " to " + std::to_string(last) + " of a window of " +
                    std::to_string(l) +
                    " samples; expected min_bin <= max_bin <= l / 2, and top_k bins at most");

    void *y = output(api_, context, 0, t[kX].dims);
    if (b == 0)
      return;
    const std::shared_ptr<const Weights> weights = weights_of(t);
    const std::shared_ptr<const Angles> angles = angles_of(l);
    std::vector<Chosen> chosen(static_cast<size_t>(b * top_k_));
    const bool parallel = b * top_k_ * l * c * f * k * k >= kWorthThreads;
    for_each(api_, context, b, parallel, [&](int64_t window) {
      choose(*angles, t[kX].floats() + window * l * c, l, c, last, window,
             &chosen[static_cast<size_t>(window * top_k_)]);
    });
    chosen.erase(
        std::remove_if(chosen.begin(), chosen.end(), [](const Chosen &one) { return one.period == 0; }),
        chosen.end());

    const int64_t size = l * c;
    std::vector<float> branches(chosen.size() * static_cast<size_t>(size));
    for_each(api_, context, static_cast<int64_t>(chosen.size()), parallel, [&](int64_t i) {
      Branch branch;
      branch.x = t[kX].floats() + chosen[static_cast<size_t>(i)].window * size;
      branch.out = branches.data() + i * size;
      branch.l = l, branch.c = c, branch.f = f, branch.k = k;
      branch.period = chosen[static_cast<size_t>(i)].period;
      branch.w1 = weights->w1.data(), branch.b1 = weights->b1.data();
      branch.w2 = weights->w2.data(), branch.b2 = weights->b2.data();
      kernels_.branch(branch, Scratch(kernels_.branch_scratch(branch)).floats());
    });

    std::vector<float> sums(t[kX].floats(), t[kX].floats() + b * size);
    for (size_t i = 0; i < chosen.size(); ++i) {
      float *sum = sums.data() + chosen[i].window * size;
      const float *branch = branches.data() + static_cast<int64_t>(i) * size;
      for (int64_t j = 0; j < size; ++j)
        sum[j] += chosen[i].weight * branch[j];
    }
    kernels_.narrow(static_cast<Type>(type_), sums.data(), y, b * size);
  }

  // Fills in top_k_ periods, largest amplitude first, ties: lower bin first. A period that was chosen before
  // is 0 here, and its weight added there.
  void choose(const Angles &angles, const float *x, int64_t l, int64_t c, int64_t last, int64_t window,
              Chosen *out) const {
    std::vector<double> amplitude(static_cast<size_t>(angles.padded));
    kernels_.spectrum({x, angles.values.data(), amplitude.data(), l, c, angles.padded});
    std::vector<int64_t> bins;
    for (int64_t i = min_bin_; i <= last; ++i)
      bins.push_back(i);
    const auto at = [&](int64_t bin) { return amplitude[static_cast<size_t>(bin)]; };
    // NaN is less than all numbers, or there would be no order.
    std::partial_sort(bins.begin(), bins.begin() + top_k_, bins.end(), [&](int64_t a, int64_t b) {
      const double first = std::isnan(at(a)) ? -1.0 : at(a), second = std::isnan(at(b)) ? -1.0 : at(b);
      return first != second ? first > second : a < b;
    });
    bins.resize(static_cast<size_t>(top_k_));

    std::vector<double> share(bins.size());
    double largest = scale_ * at(bins[0]), total = 0.0;
    for (const int64_t bin : bins)
      largest = std::max(largest, scale_ * at(bin));
    for (size_t i = 0; i < bins.size(); ++i) {
      share[i] = softmax_ ? std::exp(scale_ * at(bins[i]) - largest) : at(bins[i]);
      total += share[i];
    }
    for (size_t i = 0; i < bins.size(); ++i) {
      const int64_t period = (l + bins[i] - 1) / bins[i];
      const double weight = total == 0.0 ? 1.0 / static_cast<double>(top_k_) : share[i] / total;
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
  int type_;
  int64_t top_k_, min_bin_, max_bin_;
  bool softmax_, constant_ = true;
  float scale_ = 1.0f;
  std::shared_ptr<const Weights> weights_;
  std::shared_ptr<const Angles> angles_;
};

} // namespace

TypedOp mstb_op(int type) {
  TypedOp op;
  op.type = type;
  op.name = [](const ort::CustomOp *) { return kName; };
  op.inputs = [](const ort::CustomOp *) -> size_t { return kInputs; };
  op.outputs = [](const ort::CustomOp *) -> size_t { return 1; };
  op.input_type = [](const ort::CustomOp *self, size_t i) -> int {
    return i == kW1 || i == kW2 ? type_of(self) : static_cast<int>(ort::kFloat);
  };
  op.output_type = [](const ort::CustomOp *self, size_t) { return type_of(self); };
  op.first_opset = [](const ort::CustomOp *) { return kMstbVersion; };
  op.last_opset = op.first_opset;
  set_common<MstbKernel>(&op);
  return op;
}

} // namespace mimamba

// Drives the custom ops as ONNX Runtime would, without ONNX Runtime: under sanitizers, and where there is
// none (an emulated CPU). Tensors lie in memory of exactly their size, parallel_for starts threads, one
// kernel runs in two threads at once; inputs are missing or of sizes that contradict each other.
//   mimamba_ort_driver CASES SEED     exit 0 if all that fits was computed right and all else refused
#include "ops.h"
#include "reference.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <thread>

namespace {

using namespace mimamba;

// What the opaque pointers of the interface point to here.
struct HostTensor {
  int type;
  std::vector<int64_t> dims;
  std::vector<char> bytes;

  HostTensor(int element, std::vector<int64_t> sizes) : type(element), dims(std::move(sizes)) {
    size_t count = element == ort::kFloat ? 4 : 2;
    for (const int64_t size : dims)
      count *= static_cast<size_t>(size);
    bytes.resize(count);
  }
};
struct Call {
  std::vector<HostTensor *> inputs;
  std::map<size_t, std::unique_ptr<HostTensor>> outputs;
  size_t output_count;
};
struct Node {
  std::map<std::string, double> attributes;
  std::vector<HostTensor *> constants;
};

ort::Status *said(int, const char *text) { return reinterpret_cast<ort::Status *>(new std::string(text)); }

// The places of the table that the library uses, by the numbers of ort_abi.h.
std::vector<void *> table() {
  std::vector<void *> at(300, nullptr);
  const auto set = [&](size_t place, auto function) { at[place] = reinterpret_cast<void *>(+function); };
  set(0, said);
  set(85, [](const Node *n, const char *name, float *out) -> ort::Status * {
    if (!n->attributes.count(name))
      return said(1, "no such attribute");
    *out = static_cast<float>(n->attributes.at(name));
    return nullptr;
  });
  set(86, [](const Node *n, const char *name, int64_t *out) -> ort::Status * {
    if (!n->attributes.count(name))
      return said(1, "no such attribute");
    *out = static_cast<int64_t>(n->attributes.at(name));
    return nullptr;
  });
  set(249, [](const Node *n, size_t i, int *constant, const HostTensor **out) -> ort::Status * {
    *out = i < n->constants.size() ? n->constants[i] : nullptr;
    *constant = *out != nullptr;
    return nullptr;
  });
  set(88, [](const Call *c, size_t *out) -> ort::Status * { return *out = c->inputs.size(), nullptr; });
  set(89, [](const Call *c, size_t *out) -> ort::Status * { return *out = c->output_count, nullptr; });
  set(90, [](const Call *c, size_t i, const HostTensor **out) -> ort::Status * {
    return *out = c->inputs[i], nullptr;
  });
  set(91, [](Call *c, size_t i, const int64_t *dims, size_t rank, HostTensor **out) -> ort::Status * {
    auto &made = c->outputs[i];
    made = std::make_unique<HostTensor>(i              ? int{ort::kFloat}
                                        : c->inputs[0] ? c->inputs[1]->type
                                                       : 0,
                                        std::vector<int64_t>(dims, dims + rank));
    return *out = made.get(), nullptr;
  });
  set(274, [](const Call *, void (*work)(void *, size_t), size_t total, size_t, void *data) -> ort::Status * {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < 3; ++i)
      threads.emplace_back([=] {
        for (size_t one = i; one < total; one += 3)
          work(data, one);
      });
    for (auto &thread : threads)
      thread.join();
    return nullptr;
  });
  set(51, [](HostTensor *t, void **out) -> ort::Status * { return *out = t->bytes.data(), nullptr; });
  set(65, [](const HostTensor *t, const HostTensor **out) -> ort::Status * { return *out = t, nullptr; });
  set(60, [](const HostTensor *t, int *out) -> ort::Status * { return *out = t->type, nullptr; });
  set(61, [](const HostTensor *t, size_t *out) -> ort::Status * { return *out = t->dims.size(), nullptr; });
  set(62, [](const HostTensor *t, int64_t *out, size_t rank) -> ort::Status * {
    return std::copy_n(t->dims.begin(), rank, out), nullptr;
  });
  set(99, [](const HostTensor *) {});
  return at;
}

int number(harness::Type type) {
  return type == harness::Type::kFloat32   ? int{ort::kFloat}
         : type == harness::Type::kFloat16 ? int{ort::kFloat16}
                                           : int{ort::kBFloat16};
}

// A node, what it is given and what it must answer.
struct Case {
  TypedOp op;
  harness::Type type;
  Node node;
  std::vector<std::unique_ptr<HostTensor>> tensors;
  std::vector<double> y, last_state;
  int64_t steps; // that depend on each other
  bool judged = true;

  void take(const std::vector<harness::Array> &arrays) {
    for (const harness::Array &array : arrays) {
      tensors.push_back(std::make_unique<HostTensor>(number(array.desc.type), array.desc.dims));
      const std::vector<uint8_t> bytes = harness::store(array.v, array.desc.type);
      std::copy(bytes.begin(), bytes.end(), tensors.back()->bytes.begin());
    }
  }
};

class Cases {
public:
  explicit Cases(unsigned seed) : random_(seed), table_(table()) {}

  // Whether one case went as it should.
  bool one() {
    Case made = pick({0, 1}) ? scan() : block();
    const bool spoil = pick({0, 1, 2}) == 0;
    if (spoil)
      change(made.tensors[static_cast<size_t>(pick({0, 1, 2, 3, 4}))]);
    return run(made, spoil);
  }

private:
  int pick(const std::vector<int> &among) { return among[random_() % among.size()]; }
  harness::Type type() { return harness::kTypes[random_() % 3]; }

  Case scan() {
    const int64_t b = pick({1, 2, 3}), g = pick({1, 1, 3}), l = pick({1, 2, 17, 90});
    const int64_t d = g * pick({1, 5, 33, 130}), n = pick({1, 5, 16});
    const harness::ScanFlags flags{pick({0, 1}) == 1, pick({0, 1}) == 1, pick({0, 1}) == 1,
                                   pick({0, 1}) == 1};
    const harness::Type storage = type();
    harness::ScanCase given =
        harness::make_scan(random_, {b, l, d, g, n, pick({0, 1}) ? 1 : b}, flags, storage);
    const harness::ScanResult wanted = harness::scan(given);
    given.in[3].desc.dims = given.in[4].desc.dims = {b, l, g, n};
    Case made{scan_op(number(storage)), storage, {}, {}, wanted.y, wanted.last_state, l};
    made.node.attributes = {{"has_z", flags.has_z},
                            {"delta_softplus", flags.delta_softplus},
                            {"reverse", flags.reverse},
                            {"return_last_state", flags.return_last_state}};
    made.take(given.in);
    return made;
  }

  Case block() {
    const int64_t b = pick({1, 2, 3}), l = pick({2, 7, 33, 130}), c = pick({1, 4, 5}), f = pick({1, 8, 33});
    const int64_t top_k = std::min<int64_t>(l / 2, pick({1, 3, 8})), k = pick({1, 3, 11}),
                  weighting = pick({0, 1});
    const harness::MstbFlags flags{top_k, 1, 0, weighting, 1.0f};
    const harness::Type storage = type();
    const harness::MstbCase given = harness::make_mstb(random_, {b, l, c, f, k}, flags, storage);
    const harness::MstbResult wanted = harness::mstb(given);
    Case made{mstb_op(number(storage)), storage, {}, {}, wanted.y, {}, 1};
    made.judged = wanted.gap > 1e-9; // a spectrum of float64 on both sides
    made.node.attributes = {{"top_k", static_cast<double>(top_k)},
                            {"min_bin", 1},
                            {"max_bin", 0},
                            {"weighting", static_cast<double>(weighting)},
                            {"amplitude_scale", 1.0}};
    made.take(given.in);
    return made;
  }

  // Leaves a tensor out, or gives it another shape.
  void change(std::unique_ptr<HostTensor> &t) {
    std::vector<int64_t> dims = t->dims;
    switch (pick({0, 1, 2, 3})) {
    case 0:
      t.reset();
      return;
    case 1:
      dims.pop_back();
      break;
    case 2:
      dims.push_back(1);
      break;
    default:
      dims[random_() % dims.size()] += 1;
    }
    t = std::make_unique<HostTensor>(t->type, dims);
  }

  bool run(Case &made, bool spoilt) {
    std::vector<HostTensor *> inputs;
    for (const auto &one : made.tensors)
      inputs.push_back(one.get());
    if (pick({0, 1}))
      made.node.constants = inputs;
    void *kernel = nullptr;
    ort::Status *refused =
        made.op.create(&made.op, table_.data(), reinterpret_cast<ort::KernelInfo *>(&made.node), &kernel);
    std::vector<Call> calls(static_cast<size_t>(refused ? 0 : pick({1, 2})));
    std::vector<ort::Status *> ends(calls.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < calls.size(); ++i) {
      calls[i].inputs = inputs, calls[i].output_count = made.last_state.empty() ? 1 : 2;
      threads.emplace_back(
          [&, i] { ends[i] = made.op.compute(kernel, reinterpret_cast<ort::KernelContext *>(&calls[i])); });
    }
    for (auto &thread : threads)
      thread.join();
    if (kernel)
      made.op.destroy(kernel);
    ends.push_back(refused);
    bool good = true;
    for (size_t i = 0; i < ends.size(); ++i) {
      const std::unique_ptr<std::string> words(reinterpret_cast<std::string *>(ends[i]));
      if (words && !spoilt)
        good = false, std::printf("refused, but it fits: %s\n", words->c_str());
      else if (!words && !spoilt && made.judged && i < calls.size())
        good = right(made, calls[i]) && good;
    }
    return good;
  }

  static bool right(const Case &made, const Call &call) {
    const double allowed = harness::arithmetic(made.steps);
    double worst = 0.0;
    for (const auto &output : call.outputs) {
      const bool y = output.first == 0;
      const std::vector<uint8_t> bytes(output.second->bytes.begin(), output.second->bytes.end());
      const harness::Type type = y ? made.type : harness::Type::kFloat32;
      worst = std::max(worst, harness::error_share(harness::load(bytes, type), y ? made.y : made.last_state,
                                                   type, allowed));
    }
    if (worst > 1.0 || call.outputs.empty())
      std::printf("%s: %g of what is allowed\n", made.op.name(&made.op), worst);
    return worst <= 1.0 && !call.outputs.empty();
  }

  std::mt19937_64 random_;
  std::vector<void *> table_;
};

} // namespace

int main(int argc, char **argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 100;
  Cases cases(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 0);
  int failed = 0;
  for (int i = 0; i < count; ++i)
    failed += !cases.one();
  std::printf("%d cases, %d failed, %s\n", count, failed, kernels().name);
  return failed != 0;
}

// Drives the custom ops for the CPU as ONNX Runtime would, without ONNX Runtime: under sanitizers, and where
// there is none (an emulated CPU). Tensors lie in memory of exactly their size, parallel_for starts threads,
// one kernel runs in two threads at once; inputs are missing or of sizes that contradict each other.
//   mimamba_ort_driver CASES SEED     exit 0 if all that fits was computed right and all else refused
#include "cases.h"
#include "training.h"

#include <cmath>
#include <cstdio>
#include <numeric>
#include <thread>

namespace {

using namespace fake;

class HostMemory {
public:
  explicit HostMemory(size_t bytes) : bytes_(bytes) {}
  void *data() { return bytes_.data(); }
  void write(const std::vector<uint8_t> &from) { std::copy(from.begin(), from.end(), bytes_.begin()); }
  std::vector<uint8_t> read() const { return bytes_; }

private:
  std::vector<uint8_t> bytes_;
};
using Tensor = HostTensor<HostMemory>;

Table with_threads() {
  Table at = table<HostMemory>();
  at.set(274,
         [](const void *, void (*work)(void *, size_t), size_t total, size_t, void *data) -> ort::Status * {
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
  return at;
}

bool right(const Case &made, const Call<HostMemory> &call) {
  const double allowed = harness::arithmetic(made.steps);
  double worst = 0.0;
  for (const auto &output : call.outputs) {
    const harness::Type type = output.first == 0 ? made.type : harness::Type::kFloat32;
    const std::vector<double> got = harness::load(output.second->memory.read(), type);
    worst = std::max(worst, harness::error_share(got, made.wanted(output.first), type, allowed,
                                                 output.first ? made.state_term : made.y_term));
  }
  if (worst > 1.0 || call.outputs.empty())
    std::printf("%s: %g of what is allowed\n", made.is_scan ? "scan" : "block", worst);
  return worst <= 1.0 && !call.outputs.empty();
}

// Whether one case went as it should.
bool one(Cases &cases, const Table &table) {
  const Case made = cases.one();
  std::vector<std::unique_ptr<Tensor>> tensors;
  for (const harness::Array &array : made.in)
    tensors.push_back(std::make_unique<Tensor>(array));
  const bool spoilt = cases.pick({0, 1, 2}) == 0;
  if (spoilt)
    cases.change(tensors[static_cast<size_t>(cases.pick({0, 1, 2, 3, 4}))]);

  std::vector<Tensor *> inputs;
  for (const auto &tensor : tensors)
    inputs.push_back(tensor.get());
  Node<HostMemory> node{made.attributes, {}};
  if (cases.pick({0, 1}))
    node.constants = inputs;
  const TypedOp op = (made.is_scan ? scan_op : mstb_op)(number(made.type));
  void *kernel = nullptr;
  ort::Status *refused = op.create(&op, table.data(), reinterpret_cast<ort::KernelInfo *>(&node), &kernel);
  std::vector<Call<HostMemory>> calls(static_cast<size_t>(refused ? 0 : cases.pick({1, 2})));
  std::vector<ort::Status *> ends(calls.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < calls.size(); ++i) {
    calls[i].inputs = inputs, calls[i].output_count = made.last_state.empty() ? 1 : 2;
    calls[i].output_type = number(made.type);
    threads.emplace_back(
        [&, i] { ends[i] = op.compute(kernel, reinterpret_cast<ort::KernelContext *>(&calls[i])); });
  }
  for (auto &thread : threads)
    thread.join();
  if (kernel)
    op.destroy(kernel);
  ends.push_back(refused);
  bool good = true;
  for (size_t i = 0; i < ends.size(); ++i) {
    const std::unique_ptr<std::string> said = words(ends[i]);
    if (said && !spoilt)
      good = false, std::printf("refused, but it fits: %s\n", said->c_str());
    // A spectrum of float64 on both sides.
    else if (!said && !spoilt && made.gap > 1e-9 && i < calls.size())
      good = right(made, calls[i]) && good;
  }
  return good;
}

double product(const std::vector<double> &a, const std::vector<double> &b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Whether the gradients of a scan, along a direction by chance, are what the reference changes by.
bool trains(Cases &cases) {
  const harness::ScanCase given = cases.training();
  constexpr size_t kState = 7;
  std::vector<std::vector<float>> in, grad;
  std::vector<std::vector<double>> along;
  for (const harness::Array &array : given.in) {
    in.emplace_back(array.v.begin(), array.v.end());
    grad.emplace_back(array.v.size());
    along.push_back(cases.normal(array.v.size()));
  }
  std::fill(along[kState].begin(), along[kState].end(), 0.0);
  const std::vector<double> weights = cases.normal(in[0].size());
  const std::vector<float> grad_y(weights.begin(), weights.end());
  std::vector<float> y(in[0].size());
  const MimambaTraining training = {in[0].data(),
                                    in[1].data(),
                                    in[2].data(),
                                    in[3].data(),
                                    in[4].data(),
                                    in[5].data(),
                                    in[6].data(),
                                    in[8].data(),
                                    y.data(),
                                    grad_y.data(),
                                    grad[0].data(),
                                    grad[1].data(),
                                    grad[2].data(),
                                    grad[3].data(),
                                    grad[4].data(),
                                    grad[5].data(),
                                    grad[6].data(),
                                    grad[8].data(),
                                    given.b,
                                    given.l,
                                    given.d,
                                    given.g,
                                    given.n,
                                    3,
                                    given.flags.reverse};
  if (mimamba_train_scan(&training) || mimamba_scan_gradients(&training))
    return false;

  constexpr double kStep = 1e-5;
  double wanted = 0.0, got = 0.0, size = 0.0;
  for (const double side : {kStep, -kStep}) {
    harness::ScanCase moved = given;
    for (size_t i = 0; i < moved.in.size(); ++i)
      for (size_t j = 0; j < moved.in[i].v.size(); ++j)
        moved.in[i].v[j] += side * along[i][j];
    wanted += product(harness::scan(moved).y, weights) / (2 * side);
  }
  for (size_t i = 0; i < in.size(); ++i) {
    const std::vector<double> of_one(grad[i].begin(), grad[i].end());
    got += product(of_one, along[i]);
    size += product(of_one, of_one);
  }
  const harness::ScanResult reference = harness::scan(given);
  const double forward = harness::error_share({y.begin(), y.end()}, reference.y, harness::Type::kFloat32,
                                              harness::arithmetic(given.l), reference.y_term);
  const double off = std::abs(got - wanted) / std::sqrt(size);
  if (!(off <= 1e-5 && forward <= 1.0))
    std::printf("training: gradients off by %g, values by %g of what is allowed\n", off, forward);
  return off <= 1e-5 && forward <= 1.0;
}

} // namespace

int main(int argc, char **argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 100;
  const Table table = with_threads();
  Cases cases(
      argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 0,
      {{1, 2, 17, 90}, {1, 5, 33, 130}, {1, 5, 16}, {2, 7, 33, 130}, {1, 4, 5}, {1, 8, 33}, {1, 3, 11}});
  int failed = 0;
  for (int i = 0; i < count; ++i)
    failed += !one(cases, table) + (i % 4 == 0 && !trains(cases));
  std::printf("%d cases, %d failed, %s\n", count, failed, kernels().name);
  return failed != 0;
}

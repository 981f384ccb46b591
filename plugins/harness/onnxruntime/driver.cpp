// Drives the custom ops for the CPU as ONNX Runtime would, without ONNX Runtime: under sanitizers, and where
// there is none (an emulated CPU). Tensors lie in memory of exactly their size, parallel_for starts threads,
// one kernel runs in two threads at once; inputs are missing or of sizes that contradict each other.
//   mimamba_ort_driver CASES SEED     exit 0 if all that fits was computed right and all else refused
#include "cases.h"

#include <cstdio>
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

} // namespace

int main(int argc, char **argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 100;
  const Table table = with_threads();
  Cases cases(
      argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 0,
      {{1, 2, 17, 90}, {1, 5, 33, 130}, {1, 5, 16}, {2, 7, 33, 130}, {1, 4, 5}, {1, 8, 33}, {1, 3, 11}});
  int failed = 0;
  for (int i = 0; i < count; ++i)
    failed += !one(cases, table);
  std::printf("%d cases, %d failed, %s\n", count, failed, kernels().name);
  return failed != 0;
}

// Drives the custom ops for the CUDA provider as ONNX Runtime would, without ONNX Runtime: on a device, on
// the simulated one, or with the float64 reference in the kernels' place (MIMAMBA_HOST_KERNELS), under
// sanitizers. Tensors and workspace lie between canaries. Each node that fits runs twice on a stream of its
// own: at once, then captured in a CUDA graph, where what waits, allocates or leaves the stream fails.
//   mimamba_ort_cuda_driver [--small | --full] [--seed NUMBER] [--no-poison]
#include "../kernels/mstb_plan.h"
#include "cases.h"
#include "memory.h"
#include "options.h"

#ifndef MIMAMBA_HOST_KERNELS
#include "../kernels/kernels.h"
#endif

#include <mutex>
#include <thread>

namespace {

using namespace fake;
using harness::Buffer;
using Tensor = HostTensor<Buffer>;

harness::Checks *checks = nullptr;
std::mutex checking;

// From any thread.
void expect_that(bool holds, const char *what) {
  const std::lock_guard<std::mutex> lock(checking);
  checks->expect(holds, what);
}

// A call, its stream, and what was lent to it.
struct CudaCall : Call<Buffer> {
  enum Fault { kNone, kNoStream, kNoMemory, kMisaligned };

  std::unique_ptr<harness::Stream> own = std::make_unique<harness::Stream>();
  Fault fault = kNone;
  std::vector<std::unique_ptr<Buffer>> scratch; // blocks stay, as in an arena: a second run gets them again
  std::vector<size_t> asked;                    // bytes
  size_t held = 0;                              // blocks that were not given back

  void *stream() const {
#ifdef MIMAMBA_HOST_KERNELS
    return own.get();
#else
    return own->get();
#endif
  }
};

// The allocator that a kernel holds; it counts what is given back for the call of this thread.
struct Allocator {
  int number = 0, released = 0;
};
thread_local CudaCall *running = nullptr;
Allocator allocator;
const char memory_info = 0;

ort::Status *lend(CudaCall *call, const void *info, size_t bytes, void **out) {
  expect_that(info == &memory_info, "workspace is asked for where the allocator's memory is");
  expect_that(call->fault != CudaCall::kNoStream, "no workspace is asked for without a stream");
  if (call->fault == CudaCall::kNoMemory)
    throw std::runtime_error("the arena is full"); // as ONNX Runtime does
  const bool shifted = call->fault == CudaCall::kMisaligned;
  if (call->scratch.size() <= call->held)
    call->scratch.push_back(std::make_unique<Buffer>(bytes, shifted ? 8 : 0));
  call->asked.push_back(bytes);
  *out = call->scratch[call->held++]->data();
  return nullptr;
}

ort::Status *give_back(const Allocator *from, void *memory) {
  expect_that(from == &allocator && running && running->held,
              "what was lent is given back, to its allocator");
  if (running && running->held)
    expect_that(running->scratch[--running->held]->data() == memory, "what was lent is given back");
  return nullptr;
}

Table with_device() {
  Table at = table<Buffer>();
  at.set(193, [](const CudaCall *call, void **out) -> ort::Status * {
    return *out = call->fault == CudaCall::kNoStream ? nullptr : call->stream(), nullptr;
  });
  at.set(278, [](const void *, int type, Allocator **out) -> ort::Status * {
    expect_that(type == 0, "the default memory of the provider");
    return *out = &allocator, nullptr;
  });
  at.set(77,
         [](const Allocator *, const char **out) -> ort::Status * { return *out = &memory_info, nullptr; });
  at.set(72, [](const char *, int *out) -> ort::Status * { return *out = allocator.number, nullptr; });
  at.set(277, lend);
  at.set(76, give_back);
  at.set(132, [](Allocator *one) { ++one->released; });
  return at;
}

Device this_device() {
  Device device;
#ifndef MIMAMBA_HOST_KERNELS
  expect_that(query_device(0, &device).ok(), "the device answers");
#endif
  return device;
}

// Bytes of workspace that a node has a right to.
std::vector<size_t> workspace_of(const Case &made) {
  if (made.is_scan)
    return {};
  const harness::Dims &x = made.in[0].desc.dims, &w1 = made.in[1].desc.dims;
  MstbProblem p{};
  p.b = x[0], p.l = x[1], p.c = x[2], p.f = w1[0], p.k = w1[2];
  p.top_k = static_cast<int64_t>(made.attributes.at("top_k")), p.min_bin = 1;
  p.period_rule = static_cast<int32_t>(made.attributes.at("period_rule"));
  int64_t bytes = 0;
  expect_that(mstb_workspace(p, this_device(), &bytes).ok(), "the problem has a plan");
  return {static_cast<size_t>(bytes)};
}

void judge(const Case &made, const CudaCall &call) {
  double worst = 0.0;
  for (const auto &output : call.outputs) {
    const bool y = output.first == 0;
    const harness::Type type = y ? made.type : harness::Type::kFloat32;
    const std::vector<double> got = harness::load(output.second->memory.read(), type);
    worst = std::max(worst, harness::error_share(got, made.wanted(output.first), type,
                                                 harness::arithmetic(made.steps),
                                                 y ? made.y_term : made.state_term));
    expect_that(output.second->memory.intact(), "nothing is written round an output");
  }
  for (const auto &block : call.scratch)
    expect_that(block->intact(), "nothing is written round the workspace");
  // The spectrum is float32: closer amplitudes may be told apart otherwise.
  if (made.gap > 1e-5) {
    expect_that(worst <= 1.0, made.is_scan ? "a scan is right" : "a block is right");
    const std::lock_guard<std::mutex> lock(checking);
    checks->error(worst);
  }
  expect_that(call.outputs.size() == (made.last_state.empty() ? 1 : 2), "all outputs are there");
}

class Kernel {
public:
  Kernel(const Case &made, const Table &table, const std::vector<Tensor *> &inputs)
      : op_((made.is_scan ? cuda_scan_op : cuda_mstb_op)(number(made.type))) {
    Node<Buffer> node{made.attributes, inputs};
    allocator.released = 0;
    refused_ = words(op_.create(&op_, table.data(), reinterpret_cast<ort::KernelInfo *>(&node), &kernel_));
  }
  ~Kernel() {
    if (kernel_)
      op_.destroy(kernel_);
    expect_that(allocator.released == 1, "the allocator is released once");
  }
  Kernel(const Kernel &) = delete;
  Kernel &operator=(const Kernel &) = delete;

  bool made() const { return kernel_ != nullptr; }
  // What the kernel said; null where it ran. What was lent must be back when it returns.
  std::unique_ptr<std::string> run(CudaCall &call) const {
    running = &call;
    auto said = words(op_.compute(kernel_, reinterpret_cast<ort::KernelContext *>(&call)));
    running = nullptr;
    expect_that(call.held == 0, "the workspace is given back when a call returns");
    return said;
  }

private:
  TypedOp op_;
  void *kernel_ = nullptr;
  std::unique_ptr<std::string> refused_;
};

class Driver {
public:
  explicit Driver(uint64_t seed)
      : cases_(seed, {{1, 2, 17, 40},
                      {1, 5, 33},
                      {1, 3, 5, 16, 20},
                      {2, 7, 33, 64},
                      {1, 4, 5},
                      {1, 8, 13},
                      {1, 3, 5}}) {}

  void one() {
    const Case made = cases_.one();
    tensors_.clear();
    for (const harness::Array &array : made.in)
      tensors_.push_back(std::make_unique<Tensor>(array));
    const int way = cases_.pick({0, 0, 0, 1, 2, 3});
    way == 0 ? fits(made) : way == 1 ? spoilt(made) : way == 2 ? null(made) : denied(made);
  }

private:
  std::vector<Tensor *> inputs() const {
    std::vector<Tensor *> held;
    for (const auto &tensor : tensors_)
      held.push_back(tensor.get());
    return held;
  }
  CudaCall call_of(const Case &made) const {
    CudaCall call;
    call.inputs = inputs();
    call.output_count = made.last_state.empty() ? 1 : 2;
    call.output_type = number(made.type);
    return call;
  }

  // In one thread or in two at once, each with a stream; then from a graph.
  void fits(const Case &made) {
    const Kernel kernel(made, table_, inputs());
    expect_that(kernel.made(), "a kernel is made");
    std::vector<CudaCall> calls;
    for (int i = cases_.pick({1, 2}); i > 0; --i)
      calls.push_back(call_of(made));
    std::vector<std::thread> threads;
    for (CudaCall &call : calls)
      threads.emplace_back([&] {
        const auto said = kernel.run(call);
        expect_that(!said, said ? said->c_str() : "what fits runs");
        call.own->wait();
      });
    for (std::thread &thread : threads)
      thread.join();
    for (const CudaCall &call : calls) {
      expect_that(call.asked == workspace_of(made), "the workspace is what the plan asks for");
      judge(made, call);
    }
#ifndef MIMAMBA_HOST_KERNELS
    CudaCall &again = calls[0];
    for (auto &output : again.outputs)
      output.second->memory.poison();
    for (auto &block : again.scratch)
      block->poison();
    const harness::Graph graph(*again.own, [&] { expect_that(!kernel.run(again), "it runs in a capture"); });
    expect_that(graph.nodes() == (made.is_scan ? 1 : 3),
                "all kernels are on the stream, and nothing else is");
    graph.replay();
    again.own->wait();
    judge(made, again);
#endif
  }

  // A tensor left out, or with another shape or type. It may fit even so, as another size of groups does.
  void spoilt(const Case &made) {
    auto &tensor = tensors_[static_cast<size_t>(cases_.pick({0, 1, 2, 3, 4}))];
    if (cases_.pick({0, 1, 2}))
      cases_.change(tensor);
    else
      tensor = std::make_unique<Tensor>(7, tensor->dims); // int64
    if (tensor)                                           // the simulated device tells what nothing wrote
      tensor->memory.write(std::vector<uint8_t>(tensor->memory.bytes()));
    run_alone(made, CudaCall::kNone);
  }

  // Memory that is missing where it must not.
  void null(const Case &made) {
    tensors_[static_cast<size_t>(cases_.pick({0, 1, 2, 3, 4}))]->null = true;
    expect_that(run_alone(made, CudaCall::kNone), "null pointers are refused");
  }

  // No stream, or no workspace as it must be.
  void denied(const Case &made) {
    const auto fault = made.is_scan ? CudaCall::kNoStream
                                    : static_cast<CudaCall::Fault>(cases_.pick(
                                          {CudaCall::kNoStream, CudaCall::kNoMemory, CudaCall::kMisaligned}));
    expect_that(run_alone(made, fault), "a call that gets no stream or no workspace says so");
  }

  // Whether the kernel refused.
  bool run_alone(const Case &made, CudaCall::Fault fault) {
    const Kernel kernel(made, table_, inputs());
    if (!kernel.made())
      return true;
    CudaCall call = call_of(made);
    call.fault = fault;
    const bool refused = kernel.run(call) != nullptr;
    call.own->wait();
    for (const auto &output : call.outputs)
      expect_that(output.second->memory.intact(), "nothing is written round an output");
    return refused;
  }

  const Table table_ = with_device();
  Cases cases_;
  std::vector<std::unique_ptr<Tensor>> tensors_;
};

} // namespace

int main(int count, char **words) {
  const auto body = [](harness::Checks &all, const char *) {
    checks = &all;
    all.group("ops for ONNX Runtime's CUDA provider");
    Driver driver(all.random()());
    const harness::Extent extent = all.extent();
    for (int left = extent == harness::Extent::kFull    ? 2000
                    : extent == harness::Extent::kSmall ? 250
                                                        : 500;
         left > 0; --left)
      driver.one();
  };
  return harness::run_main(count, words, "mimamba_ort_cuda_driver", nullptr, body);
}

// The ops on a CUDA device, by the launchers of ../kernels: on ONNX Runtime's own stream, in memory of its
// own allocator. A call enqueues work and returns: it allocates nothing itself and waits for nothing, so that
// it may be captured in a CUDA graph.
#include "../kernels/kernels.h"
#include "nodes.h"

namespace mimamba {
namespace {

constexpr const char *kProvider = "CUDAExecutionProvider";

void require(const Status &status) {
  if (status.code == Code::kBadArgument)
    throw Refusal(status.message);
  if (!status.ok())
    throw std::runtime_error(std::string("mimamba, CUDA: ") + status.message);
}

Dtype dtype_of(int type) {
  return type == ort::kFloat ? Dtype::kFloat32 : type == ort::kFloat16 ? Dtype::kFloat16 : Dtype::kBFloat16;
}

// The allocator of a kernel's provider.
class Allocator {
public:
  Allocator(const ort::Api &api, const ort::KernelInfo *info) : api_(api) {
    check(api_.allocator(info, &allocator_));
  }
  ~Allocator() { api_.release(allocator_); }
  Allocator(const Allocator &) = delete;
  Allocator &operator=(const Allocator &) = delete;

  const ort::MemoryInfo *memory() const {
    const ort::MemoryInfo *info = nullptr;
    check(api_.memory_info(allocator_, &info));
    return info;
  }
  void free(void *memory) const {
    if (ort::Status *status = api_.free(allocator_, memory))
      api_.release(status);
  }

private:
  const ort::Api api_;
  ort::Allocator *allocator_ = nullptr;
};

// Where a kernel works: facts of the device, asked once, and what ONNX Runtime lends a call.
class Place {
public:
  Place(const ort::Api &api, const ort::KernelInfo *info)
      : api_(api), allocator_(api, info), memory_(allocator_.memory()) {
#ifdef MIMAMBA_HOST_KERNELS
    device_ = Device{};
#else
    int number = 0;
    check(api_.device_number(memory_, &number));
    require(query_device(number, &device_));
#endif
  }

  const Device &device() const { return device_; }

  cudaStream_t stream(const ort::KernelContext *context) const {
    void *stream = nullptr;
    check(api_.stream(context, &stream));
    if (!stream)
      throw std::runtime_error("mimamba, CUDA: ONNX Runtime has no stream for this call");
    return static_cast<cudaStream_t>(stream);
  }

  // Calls `work(memory)` with so many bytes of the device, for what it enqueues on the call's stream.
  template <class Work>
  void with_workspace(const ort::KernelContext *context, int64_t bytes, Work &&work) const {
    void *memory = nullptr;
    check(api_.scratch(context, memory_, static_cast<size_t>(bytes), &memory));
    const auto give_back = [this](void *held) { allocator_.free(held); };
    const std::unique_ptr<void, decltype(give_back)> owner(memory, give_back);
    if (!memory || reinterpret_cast<uintptr_t>(memory) % 16 != 0)
      throw std::runtime_error("mimamba, CUDA: ONNX Runtime gave no workspace that is aligned to 16 bytes");
    work(memory);
  }

private:
  const ort::Api api_;
  const Allocator allocator_;
  const ort::MemoryInfo *const memory_; // belongs to the allocator
  Device device_;
};

class CudaScan {
public:
  CudaScan(const ort::Api &api, const ort::KernelInfo *info, int type)
      : node_(api, info, type), place_(api, info) {}

  ort::Status *compute(ort::KernelContext *context) {
    return guarded(node_.api, [&] { run(context); });
  }

private:
  using Node = ScanNode;

  void run(ort::KernelContext *context) const {
    const Node::Given given = node_.given(context);
    const Tensor *t = given.t;
    ScanProblem p{};
    p.u = t[Node::kU].data, p.delta = t[Node::kDelta].data, p.B = t[Node::kB].data, p.C = t[Node::kC].data;
    p.z = node_.has_z ? t[Node::kZ].data : nullptr;
    p.A = t[Node::kA].floats(), p.D = t[Node::kD].floats(), p.delta_bias = t[Node::kBias].floats();
    p.initial_state = t[Node::kState].floats();
    p.b = given.b, p.l = given.l, p.d = given.d, p.g = given.g, p.n = given.n;
    p.state_batch = t[Node::kState].dims[0];
    p.type = dtype_of(node_.type);
    p.delta_softplus = node_.softplus, p.reverse = node_.reverse;
    p.y = output(node_.api, context, 0, {p.b, p.l, p.d});
    if (node_.last_state)
      p.last_state = static_cast<float *>(output(node_.api, context, 1, {p.b, p.d, p.n}));
    if (p.b == 0)
      return;
    if (node_.has_z && !p.z) // would quietly mean "no gate"
      throw Refusal("SelectiveScan: a null pointer for z");
    require(launch_scan(p, place_.device(), place_.stream(context)));
  }

  const Node node_;
  const Place place_;
};

class CudaMstb {
public:
  CudaMstb(const ort::Api &api, const ort::KernelInfo *info, int type)
      : node_(api, info, type), place_(api, info) {}

  ort::Status *compute(ort::KernelContext *context) {
    return guarded(node_.api, [&] { run(context); });
  }

private:
  using Node = MstbNode;

  void run(ort::KernelContext *context) const {
    const Node::Given given = node_.given(context);
    const Tensor *t = given.t;
    MstbProblem p{};
    p.x = t[Node::kX].floats(), p.w1 = t[Node::kW1].data, p.b1 = t[Node::kB1].floats();
    p.w2 = t[Node::kW2].data, p.b2 = t[Node::kB2].floats();
    p.b = given.b, p.l = given.l, p.c = given.c, p.f = given.f, p.k = given.k;
    p.type = dtype_of(node_.type);
    p.top_k = node_.top_k, p.min_bin = node_.min_bin, p.max_bin = node_.max_bin;
    p.weighting = node_.softmax, p.amplitude_scale = node_.scale, p.period_rule = node_.round_down;
    p.y = output(node_.api, context, 0, t[Node::kX].dims);
    if (p.b == 0)
      return;
    int64_t bytes = 0;
    require(mstb_workspace(p, place_.device(), &bytes));
    const cudaStream_t stream = place_.stream(context);
    place_.with_workspace(context, bytes, [&](void *workspace) {
      require(launch_mstb(p, place_.device(), workspace, bytes, stream));
    });
  }

  const Node node_;
  const Place place_;
};

} // namespace

TypedOp cuda_scan_op(int type) { return with_kernel<CudaScan>(describe_scan(type), kProvider); }
TypedOp cuda_mstb_op(int type) { return with_kernel<CudaMstb>(describe_mstb(type), kProvider); }

} // namespace mimamba

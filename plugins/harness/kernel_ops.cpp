#include "kernel_ops.h"

namespace harness {
namespace {

mimamba::Dtype dtype(Type type) {
  return type == Type::kFloat32   ? mimamba::Dtype::kFloat32
         : type == Type::kFloat16 ? mimamba::Dtype::kFloat16
                                  : mimamba::Dtype::kBFloat16;
}

const float *floats(const void *pointer) { return static_cast<const float *>(pointer); }

class Scan final : public Op {
public:
  Scan(const mimamba::Device &device, const ScanFlags &flags, const Forced &forced)
      : device_(device), flags_(flags), forced_(forced) {}

  int64_t workspace(const Call &call) override {
    int64_t bytes = 0;
    return mimamba::scan_workspace(problem(call), device_, &bytes).ok() ? bytes : -1;
  }
  bool run(const Call &call) override {
    return mimamba::launch_scan(problem(call), device_, call.workspace, call.workspace_bytes, call.stream)
        .ok();
  }

private:
  mimamba::ScanProblem problem(const Call &call) const {
    mimamba::ScanProblem p{};
    const auto &in = call.inputs;
    p.u = in[0], p.delta = in[1], p.A = floats(in[2]), p.B = in[3], p.C = in[4], p.D = floats(in[5]);
    p.delta_bias = floats(in[6]), p.initial_state = floats(in[7]), p.z = flags_.has_z ? in[8] : nullptr;
    p.y = call.outputs[0];
    p.last_state = flags_.return_last_state ? static_cast<float *>(call.outputs[1]) : nullptr;
    p.b = call.in[0].dims[0], p.l = call.in[0].dims[1], p.d = call.in[0].dims[2];
    p.g = call.in[3].dims[2], p.n = call.in[3].dims[3], p.state_batch = call.in[7].dims[0];
    p.type = dtype(call.in[0].type);
    p.delta_softplus = flags_.delta_softplus, p.reverse = flags_.reverse;
    p.chunks = forced_.chunks;
    return p;
  }

  mimamba::Device device_;
  ScanFlags flags_;
  Forced forced_;
};

class Mstb final : public Op {
public:
  Mstb(const mimamba::Device &device, const MstbFlags &flags, const Forced &forced)
      : device_(device), flags_(flags), forced_(forced) {}

  int64_t workspace(const Call &call) override {
    int64_t bytes = 0;
    return mimamba::mstb_workspace(problem(call), device_, &bytes).ok() ? bytes : -1;
  }
  bool run(const Call &call) override {
    return mimamba::launch_mstb(problem(call), device_, call.workspace, call.workspace_bytes, call.stream)
        .ok();
  }

private:
  mimamba::MstbProblem problem(const Call &call) const {
    mimamba::MstbProblem p{};
    const auto &in = call.inputs;
    p.x = floats(in[0]), p.w1 = in[1], p.b1 = floats(in[2]), p.w2 = in[3], p.b2 = floats(in[4]);
    p.y = call.outputs[0];
    p.b = call.in[0].dims[0], p.l = call.in[0].dims[1], p.c = call.in[0].dims[2];
    p.f = call.in[1].dims[0], p.k = call.in[1].dims[3];
    p.type = dtype(call.in[1].type);
    p.top_k = flags_.top_k, p.min_bin = flags_.min_bin, p.max_bin = flags_.max_bin;
    p.weighting = static_cast<int32_t>(flags_.weighting), p.amplitude_scale = flags_.amplitude_scale;
    p.groups = forced_.groups, p.images_in_workspace = forced_.images_in_workspace;
    return p;
  }

  mimamba::Device device_;
  MstbFlags flags_;
  Forced forced_;
};

} // namespace

std::unique_ptr<Op> KernelOps::scan(const ScanFlags &flags, const Call &) {
  return std::make_unique<Scan>(device_, flags, forced_);
}

std::unique_ptr<Op> KernelOps::mstb(const MstbFlags &flags, const Call &) {
  return std::make_unique<Mstb>(device_, flags, forced_);
}

} // namespace harness

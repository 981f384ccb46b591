#include "kernel_ops.h"

#include <utility>

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
  Scan(const mimamba::Device &device, const ScanFlags &flags, int64_t groups, const Forced &forced)
      : device_(device), flags_(flags), groups_(groups), forced_(forced) {}

  int64_t workspace(const Call &call) override { return mimamba::check(problem(call)).ok() ? 0 : -1; }
  bool run(const Call &call) override {
    status_ = mimamba::launch_scan(problem(call), device_, call.stream);
    return status_.ok();
  }
  std::string reason() override { return std::string(": ") + status_.message; }

private:
  mimamba::ScanProblem problem(const Call &call) const {
    mimamba::ScanProblem p{};
    const auto &in = call.inputs;
    const auto part = [&](size_t i, int64_t offset) {
      return static_cast<const char *>(in[i]) + offset * static_cast<int64_t>(size_of(call.in[i].type));
    };
    p.u = in[0], p.delta = in[1], p.A = floats(in[2]), p.D = floats(in[5]);
    p.B = part(3, flags_.B_offset), p.C = part(4, flags_.C_offset);
    p.delta_bias = floats(in[6]), p.initial_state = floats(in[7]);
    p.z = flags_.has_z ? part(8, flags_.z_offset) : nullptr;
    p.B_row = call.in[3].dims[2], p.C_row = call.in[4].dims[2];
    p.z_row = flags_.has_z ? call.in[8].dims[2] : 0;
    p.y = call.outputs[0];
    p.last_state = flags_.return_last_state ? static_cast<float *>(call.outputs[1]) : nullptr;
    p.b = call.in[0].dims[0], p.l = call.in[0].dims[1], p.d = call.in[0].dims[2];
    p.g = groups_, p.n = call.in[2].dims[1], p.state_batch = call.in[7].dims[0];
    p.type = dtype(call.in[0].type);
    p.delta_softplus = flags_.delta_softplus, p.reverse = flags_.reverse;
    p.segments = forced_.segments;
    return p;
  }

  mimamba::Device device_;
  ScanFlags flags_;
  int64_t groups_;
  Forced forced_;
  mimamba::Status status_ = mimamba::kDone;
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
    status_ = mimamba::launch_mstb(problem(call), device_, call.workspace, call.workspace_bytes, call.stream);
    return status_.ok();
  }
  std::string reason() override { return std::string(": ") + status_.message; }

private:
  mimamba::MstbProblem problem(const Call &call) const {
    mimamba::MstbProblem p{};
    const auto &in = call.inputs;
    p.x = floats(in[0]), p.w1 = in[1], p.b1 = floats(in[2]), p.w2 = in[3], p.b2 = floats(in[4]);
    p.y = call.outputs[0];
    p.b = call.in[0].dims[0], p.l = call.in[0].dims[1], p.c = call.in[0].dims[2];
    if (flags_.channel_first)
      std::swap(p.l, p.c);
    p.channel_first = flags_.channel_first, p.period_rule = flags_.round_down;
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
  mimamba::Status status_ = mimamba::kDone;
};

} // namespace

std::unique_ptr<Op> KernelOps::scan(const ScanFlags &flags, int64_t groups, const Call &) {
  return std::make_unique<Scan>(device_, flags, groups, forced_);
}

std::unique_ptr<Op> KernelOps::mstb(const MstbFlags &flags, const Call &) {
  return std::make_unique<Mstb>(device_, flags, forced_);
}

} // namespace harness

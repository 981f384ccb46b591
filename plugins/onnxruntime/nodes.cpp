#include "nodes.h"

namespace mimamba {
namespace {

constexpr const char *kScan = "SelectiveScan";
constexpr const char *kMstb = "MultiScaleTemporalBlock";
constexpr int64_t kMostStates = 256, kMostPeriods = 8, kLargestKernel = 15;

} // namespace

ScanNode::ScanNode(const ort::Api &table, const ort::KernelInfo *info, int element)
    : api(table), type(element) {
  const auto flag = [&](const char *name) { return attribute(api, info, kScan, name, 0, 1) != 0; };
  has_z = flag("has_z");
  softplus = flag("delta_softplus");
  reverse = flag("reverse");
  last_state = flag("return_last_state");
}

ScanNode::Given ScanNode::given(const ort::KernelContext *context) const {
  Given given;
  Tensor *t = given.t;
  for (size_t i = 0; i < kInputs; ++i)
    t[i] = input(api, context, i);
  expect(kScan, "u", t[kU], type, {-1, -1, -1});
  const int64_t b = given.b = t[kU].dims[0], l = given.l = t[kU].dims[1], d = given.d = t[kU].dims[2];
  expect(kScan, "A", t[kA], ort::kFloat, {d, -1});
  const int64_t n = given.n = t[kA].dims[1];
  expect(kScan, "B", t[kB], type, {b, l, -1, n});
  const int64_t g = given.g = t[kB].dims[2];
  if (l < 1 || d < 1 || n < 1 || n > kMostStates || g < 1 || d % g)
    throw Refusal(std::string(kScan) + ": l " + std::to_string(l) + ", d " + std::to_string(d) + ", n " +
                  std::to_string(n) + ", groups " + std::to_string(g) +
                  "; expected l and d at least 1, n 1 to 256, groups that divide d");
  expect(kScan, "delta", t[kDelta], type, {b, l, d});
  expect(kScan, "C", t[kC], type, {b, l, g, n});
  expect(kScan, "D", t[kD], ort::kFloat, {d});
  expect(kScan, "delta_bias", t[kBias], ort::kFloat, {d});
  const bool shared = t[kState].dims.size() == 3 && t[kState].dims[0] == 1;
  expect(kScan, "initial_state", t[kState], ort::kFloat, {shared ? 1 : b, d, n});
  if (has_z)
    expect(kScan, "z", t[kZ], type, {b, l, d});
  else if (t[kZ])
    throw Refusal(std::string(kScan) + ": input z is given, but attribute has_z is 0");
  return given;
}

MstbNode::MstbNode(const ort::Api &table, const ort::KernelInfo *info, int element)
    : api(table), type(element) {
  constexpr int64_t most = int64_t{1} << 40;
  top_k = attribute(api, info, kMstb, "top_k", 1, kMostPeriods);
  min_bin = attribute(api, info, kMstb, "min_bin", 1, most);
  max_bin = attribute(api, info, kMstb, "max_bin", 0, most);
  softmax = attribute(api, info, kMstb, "weighting", 0, 1) == 1;
  check(api.attribute(info, "amplitude_scale", &scale));
  round_down = attribute(api, info, kMstb, "period_rule", 0, 1, 0) == 1;
}

MstbNode::Given MstbNode::given(const ort::KernelContext *context) const {
  Given given;
  Tensor *t = given.t;
  for (size_t i = 0; i < kInputs; ++i)
    t[i] = input(api, context, i);
  expect(kMstb, "x", t[kX], ort::kFloat, {-1, -1, -1});
  const int64_t l = given.l = t[kX].dims[1], c = given.c = t[kX].dims[2];
  given.b = t[kX].dims[0];
  expect(kMstb, "w1", t[kW1], type, {-1, c, -1, -1});
  const int64_t f = given.f = t[kW1].dims[0], k = given.k = t[kW1].dims[2];
  if (l < 1 || c < 1 || f < 1 || k % 2 == 0 || k > kLargestKernel || t[kW1].dims[3] != k)
    throw Refusal(std::string(kMstb) + ": x is " + shown(t[kX].dims) + " and w1 " + shown(t[kW1].dims) +
                  ", expected (b, l, c) and (f, c, k, k), all at least 1, k odd and at most 15");
  expect(kMstb, "b1", t[kB1], ort::kFloat, {f});
  expect(kMstb, "w2", t[kW2], type, {c, f, k, k});
  expect(kMstb, "b2", t[kB2], ort::kFloat, {c});
  const int64_t last = given.last = max_bin ? max_bin : l / 2;
  if (min_bin > last || last > l / 2 || top_k > last - min_bin + 1)
    throw Refusal(std::string(kMstb) + ": top_k " + std::to_string(top_k) + " of the bins " +
                  std::to_string(min_bin) + " to " + std::to_string(last) + " of a window of " +
                  std::to_string(l) +
                  " samples; expected min_bin <= max_bin <= l / 2, and top_k bins at most");
  return given;
}

TypedOp describe_scan(int type) {
  using Node = ScanNode;
  TypedOp op;
  op.type = type;
  op.name = [](const ort::CustomOp *) { return kScan; };
  op.inputs = [](const ort::CustomOp *) -> size_t { return Node::kInputs; };
  op.outputs = [](const ort::CustomOp *) -> size_t { return 2; };
  op.input_type = [](const ort::CustomOp *self, size_t i) -> int {
    return i == Node::kA || (i >= Node::kD && i <= Node::kState) ? static_cast<int>(ort::kFloat)
                                                                 : type_of(self);
  };
  op.output_type = [](const ort::CustomOp *self, size_t i) -> int {
    return i == 1 ? static_cast<int>(ort::kFloat) : type_of(self);
  };
  op.input_presence = [](const ort::CustomOp *, size_t i) -> int {
    return i == Node::kZ ? ort::kOptional : ort::kRequired;
  };
  op.output_presence = [](const ort::CustomOp *, size_t i) -> int {
    return i == 1 ? ort::kOptional : ort::kRequired;
  };
  op.first_opset = [](const ort::CustomOp *) { return kScanVersion; };
  op.last_opset = op.first_opset;
  return op;
}

TypedOp describe_mstb(int type) {
  using Node = MstbNode;
  TypedOp op;
  op.type = type;
  op.name = [](const ort::CustomOp *) { return kMstb; };
  op.inputs = [](const ort::CustomOp *) -> size_t { return Node::kInputs; };
  op.outputs = [](const ort::CustomOp *) -> size_t { return 1; };
  op.input_type = [](const ort::CustomOp *self, size_t i) -> int {
    return i == Node::kW1 || i == Node::kW2 ? type_of(self) : static_cast<int>(ort::kFloat);
  };
  op.output_type = [](const ort::CustomOp *self, size_t) { return type_of(self); };
  op.input_presence = [](const ort::CustomOp *, size_t) -> int { return ort::kRequired; };
  op.output_presence = op.input_presence;
  op.first_opset = [](const ort::CustomOp *) { return kMstbVersion; };
  op.last_opset = op.first_opset;
  return op;
}

} // namespace mimamba

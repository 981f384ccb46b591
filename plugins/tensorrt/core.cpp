#include "core.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <utility>

namespace mimamba {

Report::Report(const Status &status) : code(status.code) {
  std::snprintf(text, sizeof text, "%s", status.message);
}

Report bad(const char *format, ...) {
  Report report;
  report.code = Code::kBadArgument;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(report.text, sizeof report.text, format, arguments);
  va_end(arguments);
  return report;
}

Sizes::Sizes() {
  for (int64_t &size : of_)
    size = -1;
}

bool Sizes::known(const Signature &signature) const {
  for (int32_t i = 0; i < signature.input_count; ++i)
    for (const char *axis = signature.inputs[i].axes; *axis; ++axis)
      if ((*this)[*axis] < 0)
        return false;
  return true;
}

int32_t Signature::first_t() const {
  int32_t i = 0;
  while (!inputs[i].is_t)
    ++i;
  return i;
}

Report bind(const Signature &signature, const Shape *inputs, int32_t input_count, const Shape *outputs,
            int32_t output_count, Sizes *sizes) {
  if (input_count != signature.input_count)
    return bad("%s: got %d inputs, expected %d", signature.op, input_count, signature.input_count);
  if (output_count != signature.output_count)
    return bad("%s: got %d outputs, expected %d", signature.op, output_count, signature.output_count);
  for (int32_t i = 0; i < input_count + (outputs ? output_count : 0); ++i) {
    const Tensor &tensor = signature.tensor(i);
    const Shape &shape = i < input_count ? inputs[i] : outputs[i - input_count];
    const int32_t rank = static_cast<int32_t>(std::strlen(tensor.axes));
    if (shape.rank != rank)
      return bad("%s: %s has %d axes, expected %d (%s)", signature.op, tensor.name, shape.rank, rank,
                 tensor.axes);
    for (int32_t a = 0; a < rank; ++a) {
      int64_t &size = (*sizes)[tensor.axes[a]];
      if (shape.d[a] < 0 || size == shape.d[a])
        continue;
      if (size >= 0)
        return bad("%s: axis %d of %s (%s) has size %lld, but %c is %lld elsewhere", signature.op, a,
                   tensor.name, tensor.axes, static_cast<long long>(shape.d[a]), tensor.axes[a],
                   static_cast<long long>(size));
      size = shape.d[a];
    }
  }
  return {};
}

Axis source(const Signature &signature, int32_t output, int32_t axis) {
  const char letter = signature.outputs[output].axes[axis];
  for (int32_t i = 0;; ++i) // every letter of an output is one of an input
    if (const char *found = std::strchr(signature.inputs[i].axes, letter))
      return {i, static_cast<int32_t>(found - signature.inputs[i].axes)};
}

bool supports(const Signature &signature, int32_t position, const Format *formats, int32_t input_count,
              int32_t output_count) {
  if (input_count != signature.input_count || output_count != signature.output_count || position < 0 ||
      position >= input_count + output_count)
    return false;
  const Format &here = formats[position];
  if (!here.linear || !here.type)
    return false;
  if (!signature.tensor(position).is_t)
    return here.type == Dtype::kFloat32;
  return here.type == formats[signature.first_t()].type;
}

namespace {
// The shared memory that every device supported can give a block (sm_75), and a number of multiprocessors
// that few exceed; those then work with fewer groups.
constexpr int64_t kLeastShared = 64 * 1024, kMultiprocessors = 160;
} // namespace

Status query_current_device(Device *device) {
#ifdef MIMAMBA_HOST_KERNELS
  *device = Device{};
  device->shared_bytes = kLeastShared;
  return kDone;
#else
  int number = 0;
  const cudaError_t error = cudaGetDevice(&number);
  return error == cudaSuccess ? query_device(number, device)
                              : Status{Code::kCudaError, cudaGetErrorString(error)};
#endif
}

namespace {

// TensorRT tells enqueue neither how much workspace there is nor for which shapes it was sized, and the
// engine may run on a device with more multiprocessors than the one that built it. So what is asked for, and
// what a launch is then told it has, is one function of the shapes alone that never falls where a size grows:
// at any shape up to the largest, a launch is told no more than TensorRT provides.

// Blocks whose images do not fit in shared memory loop over their work, so what they have is bounded too: two
// on each multiprocessor of a Thor. A larger device has shared memory for windows of several thousand
// samples.
constexpr int64_t kImageBlocks = 40;

int64_t workspace_of(const MstbProblem &p) {
  Device least;
  least.shared_bytes = kLeastShared;
  const int64_t fours = ceil_div(p.f, 4), pairs = p.b * p.top_k;
  const MstbPlan plan = plan_mstb_groups(p, least, 1, INT64_MAX);
  // most_groups() for each of the pairs.
  const int64_t parts = lesser(pairs * fours, pairs + kGroupsPerMultiprocessor * kMultiprocessors);
  const int64_t images =
      plan.images_in_workspace ? lesser(pairs * fours, kImageBlocks) * plan.image_bytes() : 0;
  return (round_up(p.b * plan.bins, 4) + parts * p.l * plan.fours * 4) * static_cast<int64_t>(sizeof(float)) +
         images;
}

Report check_flag(const char *op, const char *name, int32_t value) {
  return value == 0 || value == 1 ? Report() : bad("%s: %s is %d, expected 0 or 1", op, name, value);
}

int64_t size_of(Dtype type) { return type == Dtype::kFloat32 ? 4 : 2; }

// i, o and w: the widths of the tensors that B, C and z are parts of.
constexpr Tensor kScanInputs[] = {
    {"u", "bld", true}, {"delta", "bld", true}, {"A", "dn", false},         {"B", "bli", true},
    {"C", "blo", true}, {"D", "d", false},      {"delta_bias", "d", false}, {"initial_state", "sdn", false},
    {"z", "blw", true}};
constexpr Tensor kScanOutputs[] = {{"y", "bld", true}, {"last_state", "bdn", false}};

constexpr Tensor kMstbInputs[] = {
    {"x", "blc", false}, {"w1", "fckk", true}, {"b1", "f", false}, {"w2", "cfkk", true}, {"b2", "c", false}};
constexpr Tensor kMstbOutputs[] = {{"y", "blc", true}};
constexpr Tensor kMstbInputsChannelFirst[] = {
    {"x", "bcl", false}, {"w1", "fckk", true}, {"b1", "f", false}, {"w2", "cfkk", true}, {"b2", "c", false}};
constexpr Tensor kMstbOutputsChannelFirst[] = {{"y", "bcl", true}};

ScanProblem problem_of(const ScanOp &op, const Sizes &sizes) {
  ScanProblem p{};
  p.b = sizes['b'];
  p.l = sizes['l'];
  p.d = sizes['d'];
  p.g = op.groups;
  p.n = sizes['n'];
  p.state_batch = sizes['s'];
  p.B_row = sizes['i'];
  p.C_row = sizes['o'];
  p.z_row = op.has_z ? sizes['w'] : 0;
  p.delta_softplus = op.delta_softplus != 0;
  p.reverse = op.reverse != 0;
  return p;
}

MstbProblem problem_of(const MstbOp &op, const Sizes &sizes) {
  MstbProblem p{};
  p.b = sizes['b'];
  p.l = sizes['l'];
  p.c = sizes['c'];
  p.f = sizes['f'];
  p.k = sizes['k'];
  p.top_k = op.top_k;
  p.min_bin = op.min_bin;
  p.max_bin = op.max_bin;
  p.weighting = op.weighting;
  p.amplitude_scale = op.amplitude_scale;
  p.period_rule = op.period_rule;
  p.channel_first = op.channel_first != 0;
  return p;
}

const float *floats(const void *pointer) { return static_cast<const float *>(pointer); }

} // namespace

Report ScanOp::check() const {
  const std::pair<const char *, int32_t> flags[] = {{"has_z", has_z},
                                                    {"delta_softplus", delta_softplus},
                                                    {"reverse", reverse},
                                                    {"return_last_state", return_last_state}};
  for (const auto &[name, value] : flags)
    if (const Report report = check_flag(kName, name, value); !report.ok())
      return report;
  if (groups < 1)
    return bad("%s: groups is %d, expected at least 1", kName, groups);
  const std::pair<const char *, int32_t> offsets[] = {
      {"B_offset", B_offset}, {"C_offset", C_offset}, {"z_offset", z_offset}};
  for (const auto &[name, value] : offsets)
    if (value < 0)
      return bad("%s: %s is %d, expected at least 0", kName, name, value);
  return has_z || z_offset == 0 ? Report() : bad("%s: z_offset is %d, but there is no z", kName, z_offset);
}

Signature ScanOp::signature() const {
  return {kName, kScanInputs, kScanOutputs, has_z ? 9 : 8, return_last_state ? 2 : 1};
}

Report ScanOp::check(const Sizes &sizes) const {
  const ScanProblem p = problem_of(*this, sizes);
  if (const Status status = mimamba::check(p); !status.ok())
    return status;
  const struct {
    const char *name, *what;
    int64_t row, offset, width;
  } parts[] = {{"B", "groups * n", p.B_row, B_offset, p.g * p.n},
               {"C", "groups * n", p.C_row, C_offset, p.g * p.n},
               {"z", "d", p.z_row, z_offset, has_z ? p.d : 0}};
  for (const auto &part : parts)
    if (part.row - part.offset < part.width)
      return bad("%s: rows of %s hold %lld numbers, expected at least %lld (%s_offset %lld and %s %lld)",
                 kName, part.name, static_cast<long long>(part.row),
                 static_cast<long long>(part.offset + part.width), part.name,
                 static_cast<long long>(part.offset), part.what, static_cast<long long>(part.width));
  return {};
}

int64_t ScanOp::workspace(const Sizes &) const { return 0; }

Status ScanOp::enqueue(const Sizes &sizes, Dtype type, const Device &device, const void *const *inputs,
                       void *const *outputs, void *, cudaStream_t stream) const {
  ScanProblem p = problem_of(*this, sizes);
  p.type = type;
  p.u = inputs[0];
  p.delta = inputs[1];
  p.A = floats(inputs[2]);
  const auto part = [&](const void *from, int32_t offset) -> const void * {
    return from ? static_cast<const char *>(from) + offset * size_of(type) : nullptr;
  };
  p.B = part(inputs[3], B_offset);
  p.C = part(inputs[4], C_offset);
  p.D = floats(inputs[5]);
  p.delta_bias = floats(inputs[6]);
  p.initial_state = floats(inputs[7]);
  p.z = has_z ? part(inputs[8], z_offset) : nullptr;
  p.y = outputs[0];
  p.last_state = return_last_state ? static_cast<float *>(outputs[1]) : nullptr;
  // A pointer that should be there and is not must not quietly mean "no gate" or "no state wanted".
  if ((has_z && !p.z) || (return_last_state && !p.last_state))
    return refuse("SelectiveScan: a null pointer for z or last_state");
  return launch_scan(p, device, stream);
}

Report MstbOp::check() const {
  if (top_k < 1 || top_k > kMaxTopK)
    return bad("%s: top_k is %d, expected 1 to %d", kName, top_k, kMaxTopK);
  if (min_bin < 1)
    return bad("%s: min_bin is %d, expected at least 1", kName, min_bin);
  if (max_bin != 0 && max_bin < min_bin)
    return bad("%s: max_bin is %d, expected 0 (half the window) or at least min_bin, %d", kName, max_bin,
               min_bin);
  if (!std::isfinite(amplitude_scale))
    return bad("%s: amplitude_scale is not finite", kName);
  const std::pair<const char *, int32_t> flags[] = {
      {"weighting", weighting}, {"period_rule", period_rule}, {"channel_first", channel_first}};
  for (const auto &[name, value] : flags)
    if (const Report report = check_flag(kName, name, value); !report.ok())
      return report;
  return {};
}

Signature MstbOp::signature() const {
  return {kName, channel_first ? kMstbInputsChannelFirst : kMstbInputs,
          channel_first ? kMstbOutputsChannelFirst : kMstbOutputs, 5, 1};
}

Report MstbOp::check(const Sizes &sizes) const { return mimamba::check(problem_of(*this, sizes)); }

int64_t MstbOp::workspace(const Sizes &sizes) const { return workspace_of(problem_of(*this, sizes)); }

Status MstbOp::enqueue(const Sizes &sizes, Dtype type, const Device &device, const void *const *inputs,
                       void *const *outputs, void *workspace, cudaStream_t stream) const {
  MstbProblem p = problem_of(*this, sizes);
  p.type = type;
  p.x = floats(inputs[0]);
  p.w1 = inputs[1];
  p.b1 = floats(inputs[2]);
  p.w2 = inputs[3];
  p.b2 = floats(inputs[4]);
  p.y = outputs[0];
  return launch_mstb(p, device, workspace, workspace_of(p), stream);
}

} // namespace mimamba

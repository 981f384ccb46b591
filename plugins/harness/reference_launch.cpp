// The launchers of kernels.h without a kernel: the float64 reference computes on host pointers, at once. In
// place of scan.cu and mstb.cu where a plugin is built without nvcc and driven under sanitizers
// (MIMAMBA_HOST_KERNELS). It shows that a plugin hands on what it was given: pointers, sizes, strides, flags,
// workspace. It says nothing of the kernels, and is never shipped.
#include <cstring>

#include "kernels.h"
#include "reference.h"

namespace mimamba {
namespace {

using harness::Array;
using harness::Dims;
using harness::Type;

constexpr Status kMisaligned{Code::kBadArgument, "the workspace is not 16-byte aligned"};

Type type_of(Dtype type) {
  return type == Dtype::kFloat32   ? Type::kFloat32
         : type == Dtype::kFloat16 ? Type::kFloat16
                                   : Type::kBFloat16;
}

// `rows` pieces of `width` elements, each `row` elements behind the one before; 0: no gap.
Array read(const void *from, Type type, const Dims &dims, int64_t row = 0, int64_t rows = 1) {
  const size_t size = harness::size_of(type), all = static_cast<size_t>(harness::volume(dims)) * size;
  const size_t width = all / static_cast<size_t>(rows);
  const size_t step = row ? static_cast<size_t>(row) * size : width;
  std::vector<uint8_t> bytes(all);
  for (size_t i = 0; i < static_cast<size_t>(rows); ++i)
    std::memcpy(&bytes[i * width], static_cast<const uint8_t *>(from) + i * step, width);
  return {{dims, type}, harness::load(bytes, type)};
}

Array floats(const void *from, const Dims &dims) { return read(from, Type::kFloat32, dims); }

void write(void *to, const std::vector<double> &values, Type type) {
  const std::vector<uint8_t> bytes = harness::store(values, type);
  std::memcpy(to, bytes.data(), bytes.size());
}

// All of what a launch is told it has: a plugin that tells it more than TensorRT provides is seen by the
// address sanitizer, and by the canaries behind.
void scribble(void *workspace, int64_t bytes) {
  if (workspace)
    std::memset(workspace, 0xff, static_cast<size_t>(bytes));
}

bool misaligned(const void *workspace) { return reinterpret_cast<uintptr_t>(workspace) % 16 != 0; }

// (b, rows, columns) -> (b, columns, rows).
std::vector<double> transposed(const std::vector<double> &from, int64_t b, int64_t rows, int64_t columns) {
  std::vector<double> to(from.size());
  for (int64_t i = 0; i < b; ++i)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        to[static_cast<size_t>((i * columns + c) * rows + r)] =
            from[static_cast<size_t>((i * rows + r) * columns + c)];
  return to;
}

} // namespace

Status launch_scan(const ScanProblem &p, const Device &, cudaStream_t) {
  MIMAMBA_TRY(check(p));
  if (p.b == 0)
    return kDone;
  if (!p.u || !p.delta || !p.A || !p.B || !p.C || !p.D || !p.delta_bias || !p.initial_state || !p.y)
    return refuse("selective_scan: a null pointer for a tensor other than z and last_state");
  const Type type = type_of(p.type);
  const int64_t steps = p.b * p.l;
  harness::ScanCase c{{p.z != nullptr, p.delta_softplus, p.reverse, p.last_state != nullptr},
                      type,
                      p.b,
                      p.l,
                      p.d,
                      p.g,
                      p.n,
                      {}};
  c.in = {read(p.u, type, {p.b, p.l, p.d}),
          read(p.delta, type, {p.b, p.l, p.d}),
          floats(p.A, {p.d, p.n}),
          read(p.B, type, {p.b, p.l, p.g * p.n}, p.B_row, steps),
          read(p.C, type, {p.b, p.l, p.g * p.n}, p.C_row, steps),
          floats(p.D, {p.d}),
          floats(p.delta_bias, {p.d}),
          floats(p.initial_state, {p.state_batch, p.d, p.n})};
  if (p.z)
    c.in.push_back(read(p.z, type, {p.b, p.l, p.d}, p.z_row, steps));
  const harness::ScanResult result = harness::scan(c);
  write(p.y, result.y, type);
  if (p.last_state)
    write(p.last_state, result.last_state, Type::kFloat32);
  return kDone;
}

Status launch_mstb(const MstbProblem &p, const Device &device, void *workspace, int64_t workspace_bytes,
                   cudaStream_t) {
  MstbPlan plan;
  MIMAMBA_TRY(prepare_mstb(p, device, workspace, workspace_bytes, &plan));
  if (p.b == 0)
    return kDone;
  if (misaligned(workspace))
    return kMisaligned;
  scribble(workspace, workspace_bytes);
  const Type type = type_of(p.type);
  harness::MstbCase c{
      {p.top_k, p.min_bin, p.max_bin, p.weighting, p.amplitude_scale, false, p.period_rule == 1},
      type,
      p.b,
      p.l,
      p.c,
      p.f,
      p.k,
      {}};
  c.in = {floats(p.x, {p.b, p.l, p.c}), read(p.w1, type, {p.f, p.c, p.k, p.k}), floats(p.b1, {p.f}),
          read(p.w2, type, {p.c, p.f, p.k, p.k}), floats(p.b2, {p.c})};
  if (p.channel_first)
    c.in[0].v = transposed(c.in[0].v, p.b, p.c, p.l);
  const std::vector<double> y = harness::mstb(c).y;
  write(p.y, p.channel_first ? transposed(y, p.b, p.l, p.c) : y, type);
  return kDone;
}

} // namespace mimamba

// A scan of more elements than 32 bits count. The reference follows a few channels only: they do not see each
// other.
#include "run.h"

namespace harness {

#ifndef MIMAMBA_HOST_KERNELS

namespace {

constexpr int64_t kB = 9, kL = 65536, kD = 4096, kN = 4;
constexpr Type kType = Type::kFloat16;

// Random halves all over, one piece after the other; its length shares no factor with a row's.
void fill(Buffer &buffer, const std::vector<uint8_t> &piece) {
  for (size_t at = 0; at < buffer.bytes(); at += piece.size())
    copy(static_cast<uint8_t *>(buffer.data()) + at, piece.data(),
         std::min(piece.size(), buffer.bytes() - at));
}

// What stands in channel d of window b.
std::vector<double> channel(const Buffer &buffer, int64_t b, int64_t d) {
  std::vector<uint8_t> bytes(static_cast<size_t>(kL) * 2);
  copy_column(bytes.data(), static_cast<const uint8_t *>(buffer.data()) + 2 * (b * kL * kD + d), 2, 2 * kD,
              kL);
  return load(bytes, kType);
}

} // namespace

void check_large(Checks &checks, Ops &ops) {
  checks.group("scan of 2.4e9 elements, a few channels of it");
  const size_t bytes = static_cast<size_t>(kB * kL * kD) * 2;
  if (free_memory() < 4 * bytes) {
    checks.pass_over("not run: it needs 20 GB of device memory");
    return;
  }
  const ScanFlags flags{false, true, false, true};
  ScanCase c = make_scan(checks.random(), {kB, kL, 1, 1, kN, 1}, flags, kType);
  const ScanCase wide = make_scan(checks.random(), {1, 1, kD, 1, kN, 1}, flags, kType);
  std::normal_distribution<double> normal;
  const auto piece = [&](double shift) {
    return store(make({1'000'003}, kType, [&] { return normal(checks.random()) + shift; }).v, kType);
  };

  Bench small({c.in[3], c.in[4], wide.in[2], wide.in[5], wide.in[6], wide.in[7]},
              {{{kB, kD, kN}, Type::kFloat32}});
  Buffer u(bytes), delta(bytes), y(bytes);
  fill(u, piece(0.0));
  fill(delta, piece(-1.0));
  Call call = small.call();
  const auto &given = call.inputs;
  call.inputs = {u.data(), delta.data(), given[2], given[0], given[1], given[3], given[4], given[5]};
  call.outputs = {y.data(), call.outputs[0]};
  const Desc full{{kB, kL, kD}, kType};
  call.in = {
      full,           full, wide.in[2].desc, c.in[3].desc, c.in[4].desc, wide.in[5].desc, wide.in[6].desc,
      wide.in[7].desc};
  call.out = {full, {{kB, kD, kN}, Type::kFloat32}};
  const std::unique_ptr<Op> op = ops.scan(flags, 1, call);
  if (!checks.expect(op != nullptr, "not made"))
    return;
  Buffer workspace(static_cast<size_t>(std::max<int64_t>(16, op->workspace(call))));
  call.workspace = workspace.data();
  call.workspace_bytes = op->workspace(call);
  checks.expect(op->run(call), "refused");
  small.stream().wait();
  checks.expect(u.intact() && delta.intact() && y.intact() && workspace.intact(), "written outside");

  const std::vector<double> last = small.values(0);
  for (const auto &[b, d] : {std::pair<int64_t, int64_t>{0, 0}, {3, 2047}, {7, 4095}, {8, 1}, {8, 4095}}) {
    ScanCase one{flags, kType, 1, kL, 1, 1, kN, {}};
    const auto take = [&](const Array &from, int64_t at, const Dims &dims) {
      const auto begin = from.v.begin() + at;
      one.in.push_back({{dims, from.desc.type}, {begin, begin + volume(dims)}});
    };
    for (const Buffer *buffer : {&u, &delta}) {
      Array array = c.in[0];
      array.desc.dims = {1, kL, 1};
      array.v = channel(*buffer, b, d);
      one.in.push_back(std::move(array));
    }
    take(wide.in[2], d * kN, {1, kN});
    take(c.in[3], b * kL * kN, {1, kL, kN});
    take(c.in[4], b * kL * kN, {1, kL, kN});
    take(wide.in[5], d, {1});
    take(wide.in[6], d, {1});
    take(wide.in[7], d * kN, {1, 1, kN});
    const ScanResult wanted = scan(one);
    const std::string where = "window " + std::to_string(b) + " channel " + std::to_string(d);
    const double share = error_share(channel(y, b, d), wanted.y, kType, arithmetic(kL));
    checks.error(share);
    checks.expect(share <= 1.0, where);
    const auto begin = last.begin() + (b * kD + d) * kN;
    checks.expect(error_share({begin, begin + kN}, wanted.last_state, Type::kFloat32, arithmetic(kL)) <= 1.0,
                  where + ": state");
  }
}

#endif

} // namespace harness

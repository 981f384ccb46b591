// MultiScaleTemporalBlock's numbers.
#include "run.h"

namespace harness {
namespace {

// Float32 may choose other periods than float64 where amplitudes lie closer than this.
constexpr double kNearTie = 1e-5;

std::vector<Desc> outputs(const MstbCase &c) { return {{c.in[0].desc.dims, c.type}}; }

std::string describe(const MstbCase &c) {
  std::string text = std::string(name(c.type)) + " b " + std::to_string(c.b) + " l " + std::to_string(c.l) +
                     " c " + std::to_string(c.c) + " f " + std::to_string(c.f) + " k " + std::to_string(c.k);
  text += " top_k " + std::to_string(c.flags.top_k) + " bins " + std::to_string(c.flags.min_bin) + " to " +
          std::to_string(c.flags.max_bin) + " weighting " + std::to_string(c.flags.weighting);
  return text + (c.flags.channel_first ? " channel first" : "") + (c.flags.round_down ? " rounded down" : "");
}

// New inputs until no window has a near-tie; those passed over are counted.
std::pair<MstbCase, MstbResult> draw(Checks &checks, const MstbSizes &sizes, const MstbFlags &flags,
                                     Type type) {
  while (true) {
    MstbCase c = make_mstb(checks.random(), sizes, flags, type);
    MstbResult result = mstb(c);
    if (result.gap >= kNearTie)
      return {std::move(c), std::move(result)};
    checks.near_tie();
  }
}

void check_drawn(Checks &checks, Ops &ops, const MstbCase &c, const MstbResult &result, size_t shift = 0) {
  Bench bench(c.in, outputs(c), shift);
  const std::unique_ptr<Op> op = ops.mstb(c.flags, bench.call());
  if (!checks.expect(op != nullptr, describe(c) + ": not made"))
    return;
  bench.give_workspace(op->workspace(bench.call()));
  check_run(checks, *op, bench, c.in, {{result.y}, {result.y_term}}, describe(c));
}

void check_case(Checks &checks, Ops &ops, const MstbSizes &sizes, const MstbFlags &flags, Type type,
                size_t shift = 0) {
  const auto [c, result] = draw(checks, sizes, flags, type);
  check_drawn(checks, ops, c, result, shift);
}

// The flags differ from case to case.
MstbFlags flags_of(std::mt19937_64 &random, int64_t l) {
  const auto below = [&](int64_t end) { return static_cast<int64_t>(random() % static_cast<uint64_t>(end)); };
  MstbFlags flags{1 + below(std::min<int64_t>(3, l / 2)), 1, 0, below(2), 0.25f};
  const int64_t spare = l / 2 - flags.top_k; // bins of the band beyond the top_k it needs
  flags.min_bin = 1 + (below(2) ? below(spare + 1) : 0);
  if (below(2))
    flags.max_bin = flags.min_bin + flags.top_k - 1 + below(spare - flags.min_bin + 2);
  flags.round_down = below(2) != 0;
  return flags;
}

void check_sizes(Checks &checks, Ops &ops, Type type) {
  checks.group(std::string("mstb numbers, ") + name(type));
  std::vector<int64_t> ls{2, 7, 129}, cs{1, 4, 5}, fs{1, 6, 32}, ks{1, 3, 11};
  if (checks.extent() == Extent::kSmall) {
    ls = {2, 33};
    cs = {4};
    fs = {6};
    ks = {3};
  } else if (checks.extent() == Extent::kFull) {
    ls = {2, 3, 7, 33, 128, 129, 700};
    ks = {1, 3, 11, 15};
  }
  for (int64_t l : ls)
    for (int64_t c : cs)
      for (int64_t f : fs)
        for (int64_t k : ks) {
          const int64_t b = checks.random()() % 2 ? 1 : 3;
          // The largest are few where the host runs every thread in turn.
          const int64_t cost = l * c * f * k * k * b;
          if (checks.extent() == Extent::kDefault && cost > 1'000'000 && checks.random()() % 4)
            continue;
          check_case(checks, ops, {cost > 40'000'000 ? 1 : b, l, c, f, k}, flags_of(checks.random(), l),
                     type);
        }
}

// Windows whose images leave little shared memory, or none, for anything else.
void check_long(Checks &checks, Ops &ops) {
  checks.group("mstb, long windows");
  int turn = 0;
  for (const int64_t l : {1536, 2100, 4096})
    for (const int64_t k : {3, 11, 15})
      check_case(checks, ops, {1 + turn % 2, l, 4, turn % 2 ? 6 : 32, k}, flags_of(checks.random(), l),
                 kTypes[turn++ % 3]);
}

// As a convolution before the block leaves its windows, and as one behind it takes them.
void check_channel_first(Checks &checks, Ops &ops) {
  checks.group("mstb, channel-first windows");
  for (const Type type : kTypes)
    for (const int64_t l : {2, 65, 200})
      for (const int64_t c : {1, 4, 7}) {
        MstbFlags flags = flags_of(checks.random(), l);
        flags.channel_first = true;
        check_case(checks, ops, {1 + c % 3, l, c, 6, 3}, flags, type);
      }
}

void check_choice(Checks &checks, Ops &ops) {
  checks.group("mstb, every top_k, bands, both weightings");
  for (int64_t top_k = 1; top_k <= 8; ++top_k)
    for (int64_t weighting : {0, 1}) {
      check_case(checks, ops, {2, 40, 3, 4, 3}, {top_k, 1, 0, weighting, 0.25f}, Type::kFloat32);
      check_case(checks, ops, {1, 65, 4, 5, 5}, {top_k, 3, 3 + top_k, weighting, -0.1f}, Type::kFloat32);
    }
  // As many bins as are to be chosen: nothing is left to choose.
  check_case(checks, ops, {2, 33, 4, 6, 3}, {3, 9, 11, 0, 1.0f}, Type::kFloat32);
}

// Every period that rounding down gives, and with it every size of the padding.
void check_round_down(Checks &checks, Ops &ops) {
  checks.group("mstb, periods rounded down");
  for (const int64_t l : {7, 31, 127})
    for (int64_t bin = 1; bin <= l / 2; bin += checks.extent() == Extent::kFull ? 1 : 1 + l / 20)
      check_case(checks, ops, {1, l, 4, 5, 3}, {1, bin, bin, 0, 1.0f, false, true}, Type::kFloat32);
}

// A window that does not move: all amplitudes are 0, the lowest bins of the band, equal weights.
void check_still(Checks &checks, Ops &ops) {
  checks.group("mstb, channels that do not move");
  for (int64_t weighting : {0, 1}) {
    MstbCase c = make_mstb(checks.random(), {2, 33, 4, 6, 3}, {3, 2, 0, weighting, 1.0f}, Type::kFloat32);
    for (size_t i = 0; i < c.in[0].v.size(); ++i)
      c.in[0].v[i] = c.in[0].v[i % 4];
    const MstbResult result = mstb(c);
    Bench bench(c.in, outputs(c));
    const std::unique_ptr<Op> op = ops.mstb(c.flags, bench.call());
    if (!checks.expect(op != nullptr, "not made"))
      return;
    bench.give_workspace(op->workspace(bench.call()));
    check_run(checks, *op, bench, c.in, {{result.y}, {result.y_term}}, describe(c));
  }
}

void check_edges(Checks &checks, Ops &ops) {
  checks.group("mstb, workspace and alignment edges");
  for (const Type type : kTypes)
    check_case(checks, ops, {2, 37, 5, 6, 3}, {2, 1, 0, 0, 1.0f}, type, 1);
  const auto [c, result] = draw(checks, {2, 64, 4, 8, 3}, {2, 1, 0, 0, 1.0f}, Type::kFloat32);
  Bench bench(c.in, outputs(c));
  const std::unique_ptr<Op> op = ops.mstb(c.flags, bench.call());
  if (!checks.expect(op != nullptr, "not made"))
    return;
  checks.expect(op->workspace(bench.call()) > 0, "no workspace is asked for");
  bench.give_workspace(0);
  checks.expect(!bench.run(*op), "runs without a workspace");
  checks.expect(bench.untouched(), "wrote something without a workspace");
  if (ops.knows_workspace()) {
    bench.give_workspace(16);
    checks.expect(!bench.run(*op), "runs with a workspace of 16 bytes");
    checks.expect(bench.untouched() && bench.intact(c.in), "wrote something with a workspace of 16 bytes");
  }
}

// A workspace asked for the largest shapes serves smaller ones.
void check_smaller(Checks &checks, Ops &ops) {
  checks.group("mstb, smaller shapes in the workspace of the largest");
  const bool small = checks.extent() == Extent::kSmall;
  const MstbSizes most{6, small ? 64 : 200, 4, 20, 3};
  const MstbFlags flags{2, 1, 0, 0, 1.0f};
  const MstbCase largest = make_mstb(checks.random(), most, flags, Type::kFloat32);
  Bench sizes(largest.in, outputs(largest));
  const std::unique_ptr<Op> op = ops.mstb(flags, sizes.call());
  if (!checks.expect(op != nullptr, "not made"))
    return;
  const int64_t bytes = op->workspace(sizes.call());
  for (int i = 0; i < (small ? 3 : 8); ++i) {
    MstbSizes s = most;
    s.b = i == 0 ? 1 : 1 + static_cast<int64_t>(checks.random()() % static_cast<uint64_t>(most.b));
    s.l = i == 0 ? most.l : 4 + static_cast<int64_t>(checks.random()() % static_cast<uint64_t>(most.l - 3));
    const auto [c, result] = draw(checks, s, flags, Type::kFloat32);
    Bench bench(c.in, outputs(c));
    bench.give_workspace(bytes);
    check_run(checks, *op, bench, c.in, {{result.y}, {result.y_term}}, describe(c));
  }
}

#ifndef MIMAMBA_HOST_KERNELS
void check_graph(Checks &checks, Ops &ops) {
  checks.group("mstb, captured in a CUDA graph and replayed on new inputs");
  for (const Type type : kTypes)
    for (const int64_t l : {33, 128, 700}) {
      if (l > 128 && checks.extent() != Extent::kFull)
        continue;
      const MstbSizes sizes{2, l, 4, 32, 11};
      const MstbFlags flags{3, 1, 0, 0, 1.0f};
      auto [c, result] = draw(checks, sizes, flags, type);
      Bench bench(c.in, outputs(c));
      const std::unique_ptr<Op> op = ops.mstb(flags, bench.call());
      if (!checks.expect(op != nullptr, describe(c) + ": not made"))
        return;
      bench.give_workspace(op->workspace(bench.call()));
      // Once before, as TensorRT asks of its users: shapes are told outside of the capture.
      checks.expect(bench.run(*op), describe(c) + ": refused");
      bool done = false;
      const Graph graph(bench.stream(), [&] { done = op->run(bench.call()); });
      checks.expect(done && graph.nodes() > 0, describe(c) + ": nothing was captured");
      for (int replay = 0; replay < 3; ++replay) {
        std::tie(c, result) = draw(checks, sizes, flags, type);
        bench.load(c.in);
        bench.poison();
        graph.replay();
        bench.stream().wait();
        const double share = error_share(bench.values(0), result.y, type, arithmetic(1), result.y_term);
        checks.error(share);
        checks.expect(share <= 1.0, describe(c) + ": replay " + std::to_string(replay));
        checks.expect(bench.intact(c.in), describe(c) + ": written outside");
      }
    }
}
#endif

} // namespace

void check_mstb_case(Checks &checks, Ops &ops, const MstbSizes &sizes, const MstbFlags &flags, Type type) {
  check_case(checks, ops, sizes, flags, type);
}

void check_mstb_ways(Checks &checks, const std::vector<std::unique_ptr<Ops>> &ways, const MstbSizes &sizes,
                     const MstbFlags &flags, Type type) {
  const auto [c, result] = draw(checks, sizes, flags, type);
  for (const std::unique_ptr<Ops> &ops : ways)
    check_drawn(checks, *ops, c, result);
}

void check_mstb(Checks &checks, Ops &ops) {
  for (const Type type : kTypes)
    check_sizes(checks, ops, type);
  if (checks.extent() == Extent::kFull)
    check_long(checks, ops);
  check_channel_first(checks, ops);
  check_choice(checks, ops);
  check_round_down(checks, ops);
  check_still(checks, ops);
  check_edges(checks, ops);
  check_smaller(checks, ops);
#ifndef MIMAMBA_HOST_KERNELS
  check_graph(checks, ops);
#endif
}

} // namespace harness

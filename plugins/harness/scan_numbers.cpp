// SelectiveScan's numbers.
#include "run.h"

namespace harness {
namespace {

std::vector<Desc> outputs(const ScanCase &c) {
  std::vector<Desc> out{{{c.b, c.l, c.d}, c.type}};
  if (c.flags.return_last_state)
    out.push_back({{c.b, c.d, c.n}, Type::kFloat32});
  return out;
}

Wanted wanted(const ScanCase &c) {
  ScanResult result = scan(c);
  Wanted all{{std::move(result.y)}, {result.y_term, result.state_term}};
  if (c.flags.return_last_state)
    all.values.push_back(std::move(result.last_state));
  return all;
}

std::string describe(const ScanCase &c) {
  std::string text = std::string(name(c.type)) + " b " + std::to_string(c.b) + " l " + std::to_string(c.l) +
                     " d " + std::to_string(c.d) + " n " + std::to_string(c.n) + " g " + std::to_string(c.g) +
                     " states " + std::to_string(c.in[7].desc.dims[0]);
  text += c.flags.has_z ? " z" : "";
  text += c.flags.delta_softplus ? " softplus" : "";
  text += c.flags.reverse ? " reverse" : "";
  for (const auto &[name, offset] : {std::pair{" B_offset ", c.flags.B_offset},
                                     {" C_offset ", c.flags.C_offset},
                                     {" z_offset ", c.flags.z_offset}})
    text += offset ? name + std::to_string(offset) : "";
  return text + (c.flags.return_last_state ? " last_state" : "");
}

void check_case(Checks &checks, Ops &ops, const ScanCase &c, size_t shift = 0) {
  Bench bench(c.in, outputs(c), shift);
  const std::unique_ptr<Op> op = ops.scan(c.flags, c.g, bench.call());
  if (!checks.expect(op != nullptr, describe(c) + ": not made"))
    return;
  bench.give_workspace(op->workspace(bench.call()));
  check_run(checks, *op, bench, c.in, wanted(c), describe(c), c.l);
}

ScanFlags flags_of(int bits) { return {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0}; }

void check_sizes(Checks &checks, Ops &ops, Type type) {
  checks.group(std::string("scan numbers, ") + name(type));
  std::vector<int64_t> ls{1, 2, 7, 129}, ds{1, 33}, ns{1, 5, 16, 64}, bs{1, 3};
  if (checks.extent() == Extent::kSmall) {
    ls = {1, 19};
    ds = {33};
    ns = {5, 16};
  } else if (checks.extent() == Extent::kFull) {
    ls = {1, 2, 4, 7, 14, 32, 62, 129, 256, 1024};
    ds = {1, 33, 128, 256};
    ns = {1, 2, 3, 5, 8, 16, 31, 64, 100, 256};
  }
  // The flags differ from case to case; 16 and the number of sizes have few factors in common.
  int turn = static_cast<int>(checks.random()() % 16);
  for (int64_t l : ls)
    for (int64_t d : ds)
      for (int64_t n : ns)
        for (int64_t b : bs) {
          turn = (turn + 5) % 16;
          const int64_t state_batch = turn % 3 == 0 ? 1 : b, g = d == 33 && turn % 4 == 1 ? 3 : 1;
          if (l * d * n * b > 500'000) // check_long() has the large ones
            continue;
          check_case(checks, ops,
                     make_scan(checks.random(), {b, l, d, g, n, state_batch}, flags_of(turn), type));
        }
}

void check_flags(Checks &checks, Ops &ops) {
  checks.group("scan, every flag with groups and both batches of initial_state");
  for (int bits = 0; bits < 16; ++bits)
    for (int64_t state_batch : {1, 3}) {
      const Type type = checks.random()() % 2 ? Type::kFloat32 : Type::kFloat16;
      check_case(checks, ops,
                 make_scan(checks.random(), {3, 35, 12, 4, 16, state_batch}, flags_of(bits), type));
    }
}

// Where the time axis is long: with few channels it is cut, with many it is not.
void check_long(Checks &checks, Ops &ops) {
  checks.group("scan, long");
  const bool full = checks.extent() == Extent::kFull;
  for (int bits : {10, 14, 11})
    for (int64_t n : {5, 16})
      check_case(
          checks, ops,
          make_scan(checks.random(), {1, full ? 20000 : 1100, 8, 1, n, 1}, flags_of(bits), Type::kFloat32));
  if (!full)
    return;
  int bits = 9;
  for (const Type type : kTypes)
    for (const int64_t l : {1024, 1536, 2100, 4096})
      for (const int64_t d : {24, 520})
        check_case(checks, ops,
                   make_scan(checks.random(), {d == 24 ? 3 : 1, l, d, d == 24 ? 2 : 1, 16, 1},
                             flags_of(bits++ % 16), type));
  // One of the widest states, in float16, long enough for every tile to be full.
  check_case(checks, ops, make_scan(checks.random(), {1, 2100, 40, 1, 256, 1}, flags_of(15), Type::kFloat16));
}

// B, C and z where a projection leaves them: in the rows of a wider tensor, at any offset.
void check_parts(Checks &checks, Ops &ops) {
  checks.group("scan, B, C and z as parts of wider rows");
  for (const Type type : kTypes)
    for (const int64_t l : {1, 37, 300})
      for (const int64_t n : {5, 16}) {
        const auto any = [&] { return static_cast<int64_t>(checks.random()() % 20); };
        ScanFlags flags = flags_of(3 + 4 * static_cast<int>(any() % 4));
        flags.B_offset = any(), flags.C_offset = any(), flags.z_offset = any();
        check_case(checks, ops, make_scan(checks.random(), {2, l, 36, l == 37 ? 3 : 1, n, 1}, flags, type));
      }
}

void check_handed_on(Checks &checks, Ops &ops) {
  checks.group("scan, 20 steps and then 30 give 50");
  for (const bool reverse : {false, true})
    for (const Type type : kTypes) {
      const ScanCase whole =
          make_scan(checks.random(), {2, 50, 33, 3, 16, 1}, {true, true, reverse, true}, type);
      const Wanted want = wanted(whole);
      std::vector<double> y(want.values[0].size()), state = whole.in[7].v;
      const int64_t parts[2][2] = {{reverse ? 30 : 0, reverse ? 50 : 20},
                                   {reverse ? 0 : 20, reverse ? 30 : 50}};
      for (const auto &part : parts) {
        ScanCase c = whole;
        c.l = part[1] - part[0];
        for (size_t i : {0, 1, 3, 4, 8}) {
          const Array &all = whole.in[i];
          const int64_t row = volume(all.desc.dims) / (whole.b * whole.l);
          c.in[i].desc.dims[1] = c.l;
          c.in[i].v.clear();
          for (int64_t b = 0; b < c.b; ++b)
            c.in[i].v.insert(c.in[i].v.end(), all.v.begin() + (b * whole.l + part[0]) * row,
                             all.v.begin() + (b * whole.l + part[1]) * row);
        }
        c.in[7].v = state;
        c.in[7].desc.dims[0] = static_cast<int64_t>(state.size()) / (c.d * c.n);
        Bench bench(c.in, outputs(c));
        const std::unique_ptr<Op> op = ops.scan(c.flags, c.g, bench.call());
        if (!checks.expect(op != nullptr, describe(c) + ": not made"))
          return;
        bench.give_workspace(op->workspace(bench.call()));
        checks.expect(bench.run(*op), describe(c) + ": refused");
        const std::vector<double> piece = bench.values(0);
        for (int64_t b = 0; b < c.b; ++b)
          for (int64_t i = 0; i < c.l * c.d; ++i)
            y[static_cast<size_t>((b * whole.l + part[0]) * c.d + i)] =
                piece[static_cast<size_t>(b * c.l * c.d + i)];
        state = bench.values(1);
      }
      const double y_share = error_share(y, want.values[0], type, arithmetic(whole.l), want.terms[0]);
      const double state_share =
          error_share(state, want.values[1], Type::kFloat32, arithmetic(whole.l), want.terms[1]);
      checks.error(std::max(y_share, state_share));
      checks.expect(y_share <= 1.0, describe(whole) + ": y of the parts");
      checks.expect(state_share <= 1.0, describe(whole) + ": state of the parts");
    }
}

void check_alignment(Checks &checks, Ops &ops) {
  checks.group("scan, tensors that start at an odd element");
  for (const Type type : kTypes)
    check_case(checks, ops, make_scan(checks.random(), {2, 37, 33, 1, 16, 2}, flags_of(15), type), 1);
}

#ifndef MIMAMBA_HOST_KERNELS
void check_graph(Checks &checks, Ops &ops) {
  checks.group("scan, captured in a CUDA graph and replayed on new inputs");
  for (const Type type : kTypes)
    for (const int64_t l : {4, 128, 1100}) {
      const auto fresh = [&] { return make_scan(checks.random(), {2, l, 33, 1, 16, 1}, flags_of(15), type); };
      ScanCase c = fresh();
      Bench bench(c.in, outputs(c));
      const std::unique_ptr<Op> op = ops.scan(c.flags, c.g, bench.call());
      if (!checks.expect(op != nullptr, describe(c) + ": not made"))
        return;
      bench.give_workspace(op->workspace(bench.call()));
      // Once before, as TensorRT asks of its users: shapes are told outside of the capture.
      checks.expect(bench.run(*op), describe(c) + ": refused");
      bool done = false;
      const Graph graph(bench.stream(), [&] { done = op->run(bench.call()); });
      checks.expect(done && graph.nodes() > 0, describe(c) + ": nothing was captured");
      for (int replay = 0; replay < 3; ++replay) {
        c = fresh();
        bench.load(c.in);
        bench.poison();
        graph.replay();
        bench.stream().wait();
        const Wanted want = wanted(c);
        for (size_t i = 0; i < want.values.size(); ++i) {
          const double share = error_share(bench.values(i), want.values[i], bench.call().out[i].type,
                                           arithmetic(c.l), want.terms[i]);
          checks.error(share);
          checks.expect(share <= 1.0, describe(c) + ": replay " + std::to_string(replay));
        }
        checks.expect(bench.intact(c.in), describe(c) + ": written outside");
      }
    }
}
#endif

} // namespace

void check_scan_case(Checks &checks, Ops &ops, const ScanSizes &sizes, const ScanFlags &flags, Type type) {
  check_case(checks, ops, make_scan(checks.random(), sizes, flags, type));
}

void check_scan(Checks &checks, Ops &ops) {
  for (const Type type : kTypes)
    check_sizes(checks, ops, type);
  check_flags(checks, ops);
  check_long(checks, ops);
  check_parts(checks, ops);
  check_handed_on(checks, ops);
  check_alignment(checks, ops);
#ifndef MIMAMBA_HOST_KERNELS
  check_graph(checks, ops);
  if (checks.extent() == Extent::kFull)
    check_large(checks, ops);
#endif
}

} // namespace harness

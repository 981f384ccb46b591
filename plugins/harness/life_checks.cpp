// A plugin's life: copies, what a plan keeps, workspace; and the ops through plugins that went that way.
#include "plugin.h"
#include "run.h"

namespace harness {
namespace {

class PluginOp final : public Op {
public:
  PluginOp(const Library &library, Plugin build, Plugin run)
      : library_(library), build_(std::move(build)), run_(std::move(run)) {}

  int64_t workspace(const Call &call) override {
    return static_cast<int64_t>(build_.workspace(call.in, call.out));
  }

  // As TensorRT does: told of shapes when they change, not at every call.
  bool run(const Call &call) override {
    std::vector<Dims> now;
    for (const Desc &desc : call.in)
      now.push_back(desc.dims);
    if (now != told_ && !run_.shape_change(call.in, call.out))
      return false;
    told_ = now;
    return run_.enqueue(call);
  }

  std::string reason() override {
    const std::vector<std::string> said = library_.messages();
    return said.empty() ? "" : ": " + said.back();
  }

private:
  const Library &library_;
  Plugin build_, run_;
  std::vector<Dims> told_;
};

class PluginOps final : public Ops {
public:
  explicit PluginOps(const Library &library) : library_(library) {}
  bool knows_workspace() const override { return false; }
  std::unique_ptr<Op> scan(const ScanFlags &flags, int64_t groups, const Call &largest) override {
    return make(kScan, fields(flags, groups), largest);
  }
  std::unique_ptr<Op> mstb(const MstbFlags &flags, const Call &largest) override {
    return make(kMstb, fields(flags), largest);
  }

private:
  std::unique_ptr<Op> make(const char *name, const Fields &fields, const Call &largest) {
    Plugin build = library_.create(name, &fields);
    if (!build || !build.configure(largest.in, largest.out, true))
      return nullptr;
    Plugin restored = library_.restore(name, build.serialised());
    if (!restored)
      return nullptr;
    Plugin run = restored.attach();
    if (!run)
      return nullptr;
    return std::make_unique<PluginOp>(library_, std::move(build), std::move(run));
  }

  const Library &library_;
};

std::vector<std::pair<const char *, Fields>> variants() {
  std::vector<std::pair<const char *, Fields>> all;
  for (int bits = 0; bits < 16; ++bits)
    all.emplace_back(kScan, fields({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0}, 1));
  for (const ScanFlags &flags : {ScanFlags{true, true, false, false, 7, 0, 0},
                                 {true, true, false, false, 0, 7, 0},
                                 {true, true, false, false, 0, 0, 7}})
    for (int64_t groups : {1, 2})
      all.emplace_back(kScan, fields(flags, groups));
  for (int64_t top_k : {1, 3, 8})
    for (int64_t weighting : {0, 1}) {
      all.emplace_back(kMstb, fields(MstbFlags{top_k, 1, 0, weighting, 1.0f}));
      all.emplace_back(kMstb, fields(MstbFlags{top_k, 2, 12, weighting, -0.37f}));
      all.emplace_back(kMstb, fields(MstbFlags{top_k, 2, 12, weighting, -0.37f, true, true}));
    }
  return all;
}

void check_round_trip(Checks &checks, const Library &library) {
  checks.group("what a plan keeps of a plugin");
  std::vector<std::pair<std::string, std::vector<uint8_t>>> seen;
  for (const auto &[name, fields] : variants()) {
    std::vector<uint8_t> bytes;
    {
      Plugin plugin = library.create(name, &fields);
      if (!checks.expect(static_cast<bool>(plugin), std::string(name) + ": not created"))
        continue;
      bytes = plugin.serialised();
    }
    Plugin restored = library.restore(name, bytes);
    if (!checks.expect(static_cast<bool>(restored), std::string(name) + ": not restored"))
      continue;
    checks.expect(restored.serialised() == bytes, std::string(name) + ": another after the round trip");
    Plugin copy = restored.clone(), attached = restored.attach();
    checks.expect(copy && copy.serialised() == bytes, std::string(name) + ": another after clone");
    checks.expect(attached && attached.serialised() == bytes, std::string(name) + ": another in a context");
    for (const auto &other : seen)
      checks.expect(other.first != name || other.second != bytes,
                    std::string(name) + ": two nodes that differ are kept alike");
    seen.emplace_back(name, bytes);
  }
}

// Copies answer and run after what they were copied from is gone, and do not share what they were told.
void check_copies(Checks &checks, const Library &library) {
  checks.group("copies outlive their originals");
  const ScanFlags flags{true, true, false, true};
  const Fields all = fields(flags, 1);
  for (const bool original_first : {true, false}) {
    auto original = std::make_unique<Plugin>(library.create(kScan, &all));
    auto copy = std::make_unique<Plugin>(original->clone());
    Plugin second = copy->clone();
    checks.expect(*copy && second && copy->raw() != original->raw() && second.raw() != copy->raw(),
                  "not copies");
    (original_first ? original : copy).reset();
    Plugin &left = original_first ? *copy : *original;
    checks.expect(left.outputs() == 2 && left.id() == second.id(), "what is left answers otherwise");
    (original_first ? copy : original).reset();
    checks.expect(second.outputs() == 2, "the copy of a copy answers otherwise");

    // Two contexts of one plugin, each with its own shapes, in turn.
    auto restored = std::make_unique<Plugin>(library.restore(kScan, second.serialised()));
    Plugin contexts[] = {restored->attach(), restored->attach()};
    restored.reset();
    for (int turn = 0; turn < 2; ++turn)
      for (int i = 0; i < 2; ++i) {
        const ScanCase c =
            make_scan(checks.random(), {1 + i, 5 + 3 * i, 4 + i, 1, 3, 1}, flags, Type::kFloat32);
        Bench bench(c.in, {{{c.b, c.l, c.d}, c.type}, {{c.b, c.d, c.n}, c.type}});
        bench.give_workspace(static_cast<int64_t>(second.workspace(bench.call().in, bench.call().out)));
        if (turn == 0)
          checks.expect(contexts[i].shape_change(bench.call().in, bench.call().out), "shapes refused");
        checks.expect(contexts[i].enqueue(bench.call()), "refused");
        bench.stream().wait();
        const ScanResult wanted = scan(c);
        const double share = error_share(bench.values(0), wanted.y, c.type, arithmetic(c.l), wanted.y_term);
        checks.error(share);
        checks.expect(share <= 1.0, "wrong numbers of a context");
      }
  }
}

// More room for larger shapes, and none where a shape needs none.
void check_workspace(Checks &checks, const Library &library) {
  checks.group("workspace grows with the shapes");
  const auto bytes = [&](const char *name, const Fields &fields, const std::vector<Array> &in,
                         const std::vector<Desc> &out) {
    Plugin plugin = library.create(name, &fields);
    std::vector<Desc> descs;
    for (const Array &array : in)
      descs.push_back(array.desc);
    plugin.configure(descs, out, true);
    return plugin.workspace(descs, out);
  };
  const MstbFlags flags{2, 1, 0, 0, 1.0f};
  for (const int64_t l : {16, 64, 128}) {
    size_t last = 0;
    for (const int64_t b : {1, 2, 3, 7, 8, 16}) {
      const MstbCase c = make_mstb(checks.random(), {b, l, 4, 8, 3}, flags, Type::kFloat32);
      const size_t now = bytes(kMstb, fields(flags), c.in, {{{b, l, 4}, c.type}});
      checks.expect(now >= last && now > 0,
                    "mstb: less for b " + std::to_string(b) + " l " + std::to_string(l));
      last = now;
    }
  }
  const ScanFlags plain{false, true, false, false};
  const ScanCase brief = make_scan(checks.random(), {1, 4, 8, 1, 16, 1}, plain, Type::kFloat32);
  checks.expect(bytes(kScan, fields(plain, 1), brief.in, {{{1, 4, 8}, brief.type}}) == 0,
                "a scan of 4 steps wants some");
  library.messages();
}

} // namespace

void check_lives(Checks &checks, const Library &library) {
  check_round_trip(checks, library);
  check_copies(checks, library);
  check_workspace(checks, library);
}

std::unique_ptr<Ops> plugin_ops(const Library &library) { return std::make_unique<PluginOps>(library); }

} // namespace harness

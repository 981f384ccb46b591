// Nodes by chance, with what the float64 reference answers to them.
#pragma once

#include "fake_runtime.h"
#include "reference.h"

namespace fake {

// Sizes to choose among.
struct Choices {
  std::vector<int> scan_l, d, n, l, c, f, k;
};

struct Case {
  bool is_scan;
  harness::Type type;
  std::map<std::string, double> attributes;
  std::vector<harness::Array> in;
  std::vector<double> y, last_state; // empty: not asked for
  double y_term, state_term;         // of what they are summed of, the largest
  int64_t steps;                     // that depend on each other
  double gap;                        // see harness::MstbResult; 1 for a scan

  std::vector<double> wanted(size_t output) const { return output ? last_state : y; }
};

class Cases {
public:
  Cases(uint64_t seed, Choices choices) : random_(seed), choices_(std::move(choices)) {}

  int pick(const std::vector<int> &among) { return among[random_() % among.size()]; }
  Case one() { return pick({0, 1}) ? scan() : block(); }

  Case scan() {
    const int64_t b = pick({1, 2, 3}), g = pick({1, 1, 3}), l = pick(choices_.scan_l);
    const int64_t d = g * pick(choices_.d), n = pick(choices_.n);
    const harness::ScanFlags flags{pick({0, 1}) == 1, pick({0, 1}) == 1, pick({0, 1}) == 1,
                                   pick({0, 1}) == 1};
    const harness::Type storage = type();
    harness::ScanCase given =
        harness::make_scan(random_, {b, l, d, g, n, pick({0, 1}) ? 1 : b}, flags, storage);
    const harness::ScanResult wanted = harness::scan(given);
    given.in[3].desc.dims = given.in[4].desc.dims = {b, l, g, n};
    return {true,
            storage,
            {{"has_z", flags.has_z},
             {"delta_softplus", flags.delta_softplus},
             {"reverse", flags.reverse},
             {"return_last_state", flags.return_last_state}},
            given.in,
            wanted.y,
            flags.return_last_state ? wanted.last_state : std::vector<double>(),
            wanted.y_term,
            wanted.state_term,
            l,
            1.0};
  }

  // As a training runs it: float32, from a zero state, through softplus and gate.
  harness::ScanCase training() {
    const int64_t b = pick({1, 2, 19}), g = pick({1, 1, 3}), d = g * pick(choices_.d);
    const harness::ScanFlags flags{true, true, pick({0, 1}) == 1, false};
    harness::ScanCase given = harness::make_scan(
        random_, {b, pick(choices_.scan_l), d, g, pick(choices_.n), 1}, flags, harness::Type::kFloat32);
    std::fill(given.in[7].v.begin(), given.in[7].v.end(), 0.0);
    return given;
  }

  std::vector<double> normal(size_t count) {
    std::normal_distribution<double> draw;
    std::vector<double> values(count);
    for (double &value : values)
      value = draw(random_);
    return values;
  }

  Case block() {
    const int64_t b = pick({1, 2, 3}), l = pick(choices_.l), c = pick(choices_.c), f = pick(choices_.f);
    const int64_t top_k = std::min<int64_t>(l / 2, pick({1, 3, 8})), k = pick(choices_.k),
                  weighting = pick({0, 1});
    const int64_t rule = pick({0, 1});
    const harness::MstbFlags flags{top_k, 1, 0, weighting, 1.0f, false, rule == 1};
    const harness::Type storage = type();
    const harness::MstbCase given = harness::make_mstb(random_, {b, l, c, f, k}, flags, storage);
    const harness::MstbResult wanted = harness::mstb(given);
    return {false,
            storage,
            {{"top_k", static_cast<double>(top_k)},
             {"min_bin", 1},
             {"max_bin", 0},
             {"weighting", static_cast<double>(weighting)},
             {"amplitude_scale", 1.0},
             {"period_rule", static_cast<double>(rule)}},
            given.in,
            wanted.y,
            {},
            wanted.y_term,
            0.0,
            1,
            wanted.gap};
  }

  // Leaves a tensor out, or gives it another shape.
  template <class Tensor> void change(std::unique_ptr<Tensor> &t) {
    std::vector<int64_t> dims = t->dims;
    switch (pick({0, 1, 2, 3})) {
    case 0:
      t.reset();
      return;
    case 1:
      dims.pop_back();
      break;
    case 2:
      dims.push_back(1);
      break;
    default:
      dims[random_() % dims.size()] += 1;
    }
    t = std::make_unique<Tensor>(t->type, dims);
  }

private:
  harness::Type type() { return harness::kTypes[random_() % 3]; }

  std::mt19937_64 random_;
  const Choices choices_;
};

} // namespace fake

// The two ops in float64, straight from their formulas. Shares nothing with the kernels.
#pragma once

#include "values.h"

namespace harness {

struct ScanFlags {
  bool has_z, delta_softplus, reverse, return_last_state;
  // Where in their rows B, C and z begin. Rows that begin behind 0 are longer than they need to be as well.
  int64_t B_offset = 0, C_offset = 0, z_offset = 0;
};

// Inputs in the op's order: u, delta, A, B, C, D, delta_bias, initial_state [, z]; B, C and z (b, l, row).
struct ScanCase {
  ScanFlags flags;
  Type type;
  int64_t b, l, d, g, n;
  std::vector<Array> in;
};

struct ScanSizes {
  int64_t b, l, d, g, n, state_batch;
};

ScanCase make_scan(std::mt19937_64 &random, const ScanSizes &sizes, const ScanFlags &flags, Type type);

struct ScanResult {
  std::vector<double> y, last_state;
  // Of what outputs are summed of, the largest: where the terms cancel out, float32 has the errors of the
  // terms.
  double y_term = 0.0, state_term = 0.0;
};

ScanResult scan(const ScanCase &c);

struct MstbFlags {
  int64_t top_k, min_bin, max_bin, weighting;
  float amplitude_scale;
  bool channel_first = false; // x and y (b, c, l)
  bool round_down = false;    // period_rule 1
};

// Inputs: x, w1, b1, w2, b2.
struct MstbCase {
  MstbFlags flags;
  Type type;
  int64_t b, l, c, f, k;
  std::vector<Array> in;
};

struct MstbSizes {
  int64_t b, l, c, f, k;
};

MstbCase make_mstb(std::mt19937_64 &random, const MstbSizes &sizes, const MstbFlags &flags, Type type);

struct MstbResult {
  std::vector<double> y;
  // Least distance over the windows from the last bin chosen to the next candidate, as a share of the largest
  // amplitude. Where it is tiny float32 may choose otherwise, and rightly so.
  double gap;
  double y_term = 0.0; // as above: of the window
};

MstbResult mstb(const MstbCase &c);

} // namespace harness

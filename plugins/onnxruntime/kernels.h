// What the code of each instruction set offers, in plain types: ops call it through a table.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace mimamba {

// Values of TensorProto.DataType.
enum Type : int { kF32 = 1, kF16 = 10, kBF16 = 16 };

struct Scan {
  const void *u, *delta, *B, *C, *z; // of `type`; z may be null
  const float *rates;                // A as pack_rates lays it out
  const float *D, *delta_bias, *initial_state;
  void *y;
  float *last_state; // may be null
  int64_t b, l, d, g, n, state_batch;
  Type type;
  bool delta_softplus, reverse, zero_state;
};

// Of a scan from a zero state through softplus and gate, all in float32.
struct ScanGradients {
  const float *grad_y, *u, *delta, *B, *C, *z;
  const float *rates; // A as pack_rates lays it out
  const float *D, *delta_bias;
  float *grad_u, *grad_delta, *grad_B, *grad_C, *grad_z;
  int64_t b, l, d, g, n;
  bool reverse;
};

// A fold of one window: `rows` patches of `period` samples.
struct Branch {
  const float *x; // (l, c)
  float *out;     // (l, c)
  int64_t l, c, f, k, period;
  const float *w1, *b1, *w2, *b2; // as pack_first, pad_bias, pack_second lay them out
};

struct Spectrum {
  const float *x;       // (l, c)
  const double *angles; // cosines, then sines, of 2 pi i / l for each bin i, padded to `padded` each
  double *amplitude;    // padded
  int64_t l, c, padded;
};

struct Kernels {
  const char *name;
  int lanes;

  // Floats of A as the scan reads it: by vector of channels, then by state, log2(e) times A.
  size_t (*rates_size)(int64_t d, int64_t g, int64_t n);
  void (*pack_rates)(const float *A, int64_t d, int64_t g, int64_t n, float *out);
  // Channels are cut into parts, each of one group; a part is a unit of work.
  int64_t (*parts)(int64_t d, int64_t g);
  size_t (*scan_scratch)(int64_t n); // bytes
  void (*scan)(const Scan &scan, int64_t batch, int64_t part, float *scratch);

  // Of one group of channels of one window. Adds to gradients that all windows add to, in floats: of the
  // rates as they are packed, of D and of the bias, a vector of channels each.
  size_t (*gradient_sums)(int64_t d, int64_t g, int64_t n);
  size_t (*gradient_scratch)(int64_t l, int64_t d, int64_t g, int64_t n); // bytes
  void (*scan_gradients)(const ScanGradients &scan, int64_t batch, int64_t group, float *sums,
                         float *scratch);

  int64_t (*padded)(int64_t f);                   // hidden channels, up to whole vectors
  size_t (*branch_scratch)(const Branch &branch); // bytes
  void (*branch)(const Branch &branch, float *scratch);
  void (*spectrum)(const Spectrum &spectrum);

  void (*widen)(Type type, const void *from, float *to, int64_t count);
  void (*narrow)(Type type, const float *from, void *to, int64_t count);
};

// The best table that this CPU can run; MIMAMBA_ORT_TARGET names another one, for tests and comparisons.
const Kernels &kernels();

} // namespace mimamba

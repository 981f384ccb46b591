// What a node of each op says and is given, whichever provider computes it: attributes, types, shapes.
#pragma once

#include "ops.h"
#include "tensors.h"

namespace mimamba {

struct ScanNode {
  enum Input { kU, kDelta, kA, kB, kC, kD, kBias, kState, kZ, kInputs };

  // What fits together.
  struct Given {
    Tensor t[kInputs];
    int64_t b, l, d, g, n;
  };

  // Reads the attributes. Throws Refusal where one is out of range.
  ScanNode(const ort::Api &api, const ort::KernelInfo *info, int type);

  // Throws Refusal where an input is missing, or its type or shape does not fit the others.
  Given given(const ort::KernelContext *context) const;

  ort::Api api;
  int type;
  bool has_z, softplus, reverse, last_state;
};

struct MstbNode {
  enum Input { kX, kW1, kB1, kW2, kB2, kInputs };

  struct Given {
    Tensor t[kInputs];
    int64_t b, l, c, f, k, last; // last: bin
  };

  // As those of ScanNode.
  MstbNode(const ort::Api &api, const ort::KernelInfo *info, int type);
  Given given(const ort::KernelContext *context) const;

  ort::Api api;
  int type;
  int64_t top_k, min_bin, max_bin; // max_bin 0: half the window
  bool softmax, round_down;        // round_down: a bin's period is l / bin, rounded down
  float scale;
};

} // namespace mimamba

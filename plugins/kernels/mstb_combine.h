// MultiScaleTemporalBlock, third kernel: x plus the weighted branches, groups added in a fixed order.
#pragma once

#include "body.h"
#include "mstb_plan.h"

namespace mimamba {

template <class Block> MIMAMBA_DEVICE void combine_body(Block &block, const MstbArgs &args) {
  const MstbProblem &p = args.problem;
  const int64_t window_size = p.l * p.c, size = p.b * window_size;
  block.each([&](int thread) {
    with_type(p.type, [&](auto type) {
      for (int64_t at = block.index() * block.threads() + thread; at < size;
           at += block.blocks() * block.threads()) {
        const int64_t window = at / window_size, place = at % window_size;
        const float bias = p.b2[place % p.c];
        const float *part = args.part + window * p.top_k * args.plan.groups * window_size + place;
        float y = p.x[at];
        for (int64_t branch = 0; branch < p.top_k; ++branch) {
          float sum = bias;
          for (int64_t group = 0; group < args.plan.groups; ++group, part += window_size)
            sum += *part;
          y += args.weight[window * p.top_k + branch] * sum;
        }
        decltype(type)::store(p.y, at, y);
      }
    });
  });
}

} // namespace mimamba

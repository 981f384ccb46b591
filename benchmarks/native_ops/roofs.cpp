// The vector exponential of the native ops, in registers: what the machine gives a scan at most, beside a copy.
#include "simd.h"

namespace mimamba::MIMAMBA_TARGET {

// Enough chains that one does not wait for itself, as registers allow.
constexpr int kChains = kManyRegisters ? 12 : 6;

// 2^-x settles at 0.64, where nothing overflows.
static float exponentials(int64_t count) {
  Vec x[kChains];
  MIMAMBA_UNROLL
  for (int i = 0; i < kChains; ++i)
    x[i] = all(0.05f * (float)i);
  for (int64_t done = 0; done < count; done += kChains * kLanes) {
    MIMAMBA_UNROLL
    for (int i = 0; i < kChains; ++i)
      x[i] = exp2(-x[i]);
  }
  Vec total = x[0];
  MIMAMBA_UNROLL
  for (int i = 1; i < kChains; ++i)
    total = total + x[i];
  return sum(total);
}

} // namespace mimamba::MIMAMBA_TARGET

extern "C" float exponentials(int64_t count) { return mimamba::MIMAMBA_TARGET::exponentials(count); }

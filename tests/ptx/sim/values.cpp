#include <cstring>

#include "execute.h"

namespace ptx {

void execute_pack(Warp &w, const Instruction &i, Mask m) {
  const size_t whole = i.out[0].bytes, part = whole / i.ins;
  auto *out = w.at<uint8_t>(i.out[0]);
  for (size_t p = 0; p < i.ins; ++p) {
    const auto *in = w.at<uint8_t>(i.in[p]);
    for (Mask rest = m; rest; rest &= rest - 1) {
      const auto lane = static_cast<size_t>(__builtin_ctz(rest));
      std::memcpy(out + lane * whole + p * part, in + lane * part, part);
    }
  }
}

void execute_unpack(Warp &w, const Instruction &i, Mask m) {
  const size_t whole = i.in[0].bytes, part = whole / i.outs;
  uint8_t in[kLanes * 8]; // a copy: a part may be in the same register
  std::memcpy(in, w.at<uint8_t>(i.in[0]), whole * kLanes);
  for (size_t p = 0; p < i.outs; ++p) {
    auto *out = w.at<uint8_t>(i.out[p]);
    for (Mask rest = m; rest; rest &= rest - 1) {
      const auto lane = static_cast<size_t>(__builtin_ctz(rest));
      std::memcpy(out + lane * part, in + lane * whole + p * part, part);
    }
  }
}

} // namespace ptx

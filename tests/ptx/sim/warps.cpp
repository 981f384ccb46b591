// What the lanes of a warp do together. The scheduler has brought together the lanes that the mask names.
#include "execute.h"
#include "findings.h"

namespace ptx {

void execute_nothing(Warp &, const Instruction &, Mask) {}

void execute_active(Warp &w, const Instruction &i, Mask m) {
  auto *out = w.at<uint32_t>(i.out[0]);
  for (int l = 0; l < kLanes; ++l)
    if (m >> l & 1)
      out[l] = m;
}

void execute_shuffle(Warp &w, const Instruction &i, Mask m) {
  const auto mode = static_cast<Shuffle>(i.target);
  const auto *value = w.at<uint32_t>(i.in[1]), *by = w.at<uint32_t>(i.in[2]),
             *control = w.at<uint32_t>(i.in[3]);
  uint32_t result[kLanes] = {};
  Mask inside = 0;
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    // As the PTX manual has it: c holds the last lane of a segment, and which bits of a lane name the
    // segment.
    const int b = static_cast<int>(by[lane] & 0x1f), clamp = static_cast<int>(control[lane] & 0x1f);
    const int segment = static_cast<int>(control[lane] >> 8 & 0x1f);
    const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = lane;
    bool is_inside = false;
    switch (mode) {
    case Shuffle::kUp:
      from = lane - b, is_inside = from >= last;
      break;
    case Shuffle::kDown:
      from = lane + b, is_inside = from <= last;
      break;
    case Shuffle::kButterfly:
      from = lane ^ b, is_inside = from <= last;
      break;
    case Shuffle::kIndex:
      from = first | (b & ~segment), is_inside = from <= last;
      break;
    }
    if (!is_inside)
      from = lane;
    if (!(m >> from & 1))
      tell(w, w.pc(i), lane, Fault::kWarp,
           "takes a value of lane " + std::to_string(from) + ", which does not take part");
    result[lane] = value[from];
    inside |= static_cast<Mask>(is_inside) << lane;
  }
  auto *out = w.at<uint32_t>(i.out[0]);
  for (int l = 0; l < kLanes; ++l)
    if (m >> l & 1)
      out[l] = result[l];
  if (i.outs > 1) {
    Mask &flag = *w.at<Mask>(i.out[1]);
    flag = (flag & ~m) | inside;
  }
}

void execute_vote(Warp &w, const Instruction &i, Mask m) {
  const Mask yes = *w.at<Mask>(i.in[1]) & m;
  const auto mode = static_cast<Vote>(i.target);
  if (mode == Vote::kBallot) {
    auto *out = w.at<uint32_t>(i.out[0]);
    for (int l = 0; l < kLanes; ++l)
      if (m >> l & 1)
        out[l] = yes;
    return;
  }
  const bool result = mode == Vote::kAll ? yes == m : mode == Vote::kAny ? yes != 0 : yes == 0 || yes == m;
  Mask &out = *w.at<Mask>(i.out[0]);
  out = result ? out | m : out & ~m;
}

void execute_together(Warp &w, const Instruction &i, Mask m) {
  const auto *value = w.at<uint32_t>(i.in[1]);
  const auto mode = static_cast<Together>(i.target);
  uint32_t result[kLanes] = {};
  Mask same = 0;
  uint32_t all = value[__builtin_ctz(m)];
  for (Mask rest = m & (m - 1); rest; rest &= rest - 1) {
    const uint32_t v = value[__builtin_ctz(rest)];
    const bool less = static_cast<int32_t>(v) < static_cast<int32_t>(all);
    all = mode == Together::kAdd         ? all + v
          : mode == Together::kMin       ? std::min(all, v)
          : mode == Together::kMax       ? std::max(all, v)
          : mode == Together::kSignedMin ? (less ? v : all)
          : mode == Together::kSignedMax ? (less ? all : v)
          : mode == Together::kAnd       ? all & v
          : mode == Together::kOr        ? all | v
          : mode == Together::kXor       ? all ^ v
                                         : all;
  }
  for (int l = 0; l < kLanes; ++l)
    for (int j = 0; j < kLanes; ++j)
      if ((m >> l & 1) && (m >> j & 1) && value[l] == value[j])
        result[l] |= 1u << j;
  same = result[__builtin_ctz(m)] == m ? m : 0;
  auto *out = w.at<uint32_t>(i.out[0]);
  for (int l = 0; l < kLanes; ++l)
    if (m >> l & 1)
      out[l] = mode == Together::kMatchAny ? result[l] : mode == Together::kMatchAll ? same : all;
  if (i.outs > 1) {
    Mask &flag = *w.at<Mask>(i.out[1]);
    flag = (flag & ~m) | same;
  }
}

} // namespace ptx

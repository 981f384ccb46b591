// cp.async: data arrives as late as it may, when its thread waits for it. Until then nobody may touch the
// place.
#include <cstring>

#include "execute.h"
#include "findings.h"
#include "races.h"

namespace ptx {
namespace {

LaneCopies &copies_of(Warp &w, int lane) {
  if (w.copies.empty())
    w.copies.resize(kLanes);
  return w.copies[static_cast<size_t>(lane)];
}

void mark(Warp &w, const Copy &copy, bool in_flight) {
  const uint32_t granule = w.kernel->least_shared, offset = copy.to - kSharedBase;
  for (uint32_t at = offset / granule; at <= (offset + copy.bytes - 1) / granule; ++at)
    w.block->shadow[at].in_flight = in_flight;
}

void arrive(Warp &w, uint32_t pc, int lane, const std::vector<Copy> &group) {
  for (const Copy &copy : group) {
    mark(w, copy, false);
    // It is written now, by the thread that waited: another one needs a barrier after this.
    uint8_t *to = check_shared<true>(w, pc, lane, copy.to, copy.bytes);
    const uint8_t *from = copy.valid ? check_global<false>(w, pc, lane, copy.from, copy.valid) : nullptr;
    if (!to)
      continue;
    std::memset(to, 0, copy.bytes);
    if (from)
      std::memcpy(to, from, copy.valid);
  }
}

} // namespace

void execute_copy(Warp &w, const Instruction &i, Mask m) {
  uint64_t to[kLanes], from[kLanes];
  addresses(w, i.in[0], i.displacement, to);
  addresses(w, i.in[1], static_cast<int32_t>(i.target), from);
  const auto *valid = w.at<uint32_t>(i.in[2]);
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const uint64_t place = to[lane] >= kSharedWindow ? to[lane] - kSharedWindow : to[lane];
    Copy copy{from[lane], static_cast<uint32_t>(place), i.bytes, std::min<uint32_t>(valid[lane], i.bytes)};
    // The place is taken, and the source read, from now on.
    if (!check_shared<true>(w, w.pc(i), lane, place, i.bytes))
      continue;
    if (from[lane] & (i.bytes - 1u))
      tell(w, w.pc(i), lane, Fault::kAlignment,
           "the source of a cp.async of " + std::to_string(i.bytes) + " bytes");
    if (copy.valid && !check_global<false>(w, w.pc(i), lane, copy.from, copy.valid))
      copy.valid = 0;
    mark(w, copy, true);
    copies_of(w, lane).open.push_back(copy);
  }
}

void execute_commit(Warp &w, const Instruction &, Mask m) {
  for (Mask rest = m; rest; rest &= rest - 1) {
    LaneCopies &copies = copies_of(w, __builtin_ctz(rest));
    copies.groups.push_back(std::move(copies.open));
    copies.open.clear();
  }
}

void execute_wait(Warp &w, const Instruction &i, Mask m) {
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    LaneCopies &copies = copies_of(w, lane);
    if (i.displacement < 0) {
      copies.groups.push_back(std::move(copies.open));
      copies.open.clear();
    }
    const auto left = static_cast<size_t>(std::max<int64_t>(i.displacement, 0));
    while (copies.groups.size() > left) {
      arrive(w, w.pc(i), lane, copies.groups.front());
      copies.groups.pop_front();
    }
  }
}

} // namespace ptx

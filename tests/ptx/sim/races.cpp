#include "races.h"

#include <cstring>

#include "findings.h"
#include "settings.h"

namespace ptx {

void WarpClock::synchronise(Mask lanes) {
  if (known.empty())
    known.resize(kLanes);
  ++now;
  std::array<uint32_t, kLanes> all{};
  for (size_t i = 0; i < kLanes; ++i)
    if (lanes >> i & 1)
      for (size_t j = 0; j < kLanes; ++j)
        all[j] = std::max(all[j], known[i][j]);
  for (size_t j = 0; j < kLanes; ++j)
    if (lanes >> j & 1)
      all[j] = now;
  for (size_t i = 0; i < kLanes; ++i)
    if (lanes >> i & 1)
      known[i] = all;
}

namespace {

std::string place(const Touch &t) {
  if (t.allocation == 0)
    return "byte " + std::to_string(t.offset) + " of shared memory";
  return "byte " + std::to_string(t.offset) + " of allocation " + std::to_string(t.allocation);
}

// What a read finds unwritten or an access forbidden; a write makes it written.
template <bool write>
bool acceptable(Allocation &a, uint64_t offset, uint32_t bytes, bool atomic, uint32_t *at) {
  static const Byte good[16] = {Byte::kWritten, Byte::kWritten, Byte::kWritten, Byte::kWritten,
                                Byte::kWritten, Byte::kWritten, Byte::kWritten, Byte::kWritten,
                                Byte::kWritten, Byte::kWritten, Byte::kWritten, Byte::kWritten,
                                Byte::kWritten, Byte::kWritten, Byte::kWritten, Byte::kWritten};
  if (std::memcmp(&a.state[offset], good, bytes) == 0)
    return true;
  for (*at = 0; *at < bytes; ++*at)
    if (a.state[offset + *at] == Byte::kForbidden ||
        ((!write || atomic) && a.state[offset + *at] == Byte::kUnwritten))
      return false;
  std::memcpy(&a.state[offset], good, bytes);
  return true;
}

std::string told(const char *verb, uint32_t bytes) {
  return std::string(verb) + " " + std::to_string(bytes) + " bytes";
}

void tell_outside_global(Warp &w, uint32_t pc, int lane, uint64_t address, uint32_t bytes, const char *verb) {
  std::string what = told(verb, bytes);
  if (const Allocation *a = memory().find(address, true))
    what += " at byte " + std::to_string(address - a->base) + " of allocation " + std::to_string(a->number) +
            ", which has " + std::to_string(a->bytes);
  else
    what += " at address " + std::to_string(address) + ", below all allocations";
  tell(w, pc, lane, Fault::kBounds, what);
}

} // namespace

void tell_race(const Touch &t, const Shadow &s, bool write, bool with_write) {
  const uint32_t instance = with_write ? s.write_instance : s.read_instance;
  std::string who;
  if (instance != t.block.instance)
    who = "a thread of another block";
  else if (with_write)
    who = "thread " + std::to_string(s.write_thread);
  else if (s.read_warp == Shadow::kManyWarps || s.read_warp == Shadow::kManyBlocks)
    who = "threads of several warps";
  else
    who = "thread " + std::to_string(s.read_warp * kLanes + __builtin_ctz(s.read_lanes));
  tell(t.warp, t.pc, t.lane, Fault::kRace,
       std::string(write ? "writes " : "reads ") + place(t) + ", which " + who +
           (with_write ? " wrote" : " read") + " with no barrier between\n    there " +
           where(*t.warp.kernel, with_write ? s.write_pc : s.read_pc));
}

void tell_in_flight(const Touch &t, bool write) {
  tell(t.warp, t.pc, t.lane, Fault::kAsync,
       std::string(write ? "writes " : "reads ") + place(t) + ", where a cp.async has not arrived");
}

void tell_constant(const Touch &t) {
  tell(t.warp, t.pc, t.lane, Fault::kRace,
       place(t) + " is read by ld.global.nc and written in the same launch");
}

template <bool write>
uint8_t *check_shared(Warp &w, uint32_t pc, int lane, uint64_t address, uint32_t bytes, bool atomic) {
  Block &b = *w.block;
  const uint64_t offset = address - kSharedBase, size = b.shared_bytes();
  if (offset >= size || bytes > size - offset) {
    tell(w, pc, lane, Fault::kBounds,
         told(write ? "writes" : "reads", bytes) + " at byte " +
             std::to_string(static_cast<int64_t>(offset)) + " of shared memory, which has " +
             std::to_string(size));
    return nullptr;
  }
  if (address & (bytes - 1))
    tell(w, pc, lane, Fault::kAlignment,
         std::to_string(bytes) + " bytes at byte " + std::to_string(offset) + " of shared memory");
  if (settings().check) {
    const uint32_t granule = w.kernel->least_shared;
    Touch t{w, b, pc, lane, b.instance, 0, 0, atomic, false};
    for (uint64_t at = offset / granule; at <= (offset + bytes - 1) / granule; ++at) {
      Shadow &s = b.shadow[at];
      t.offset = at * granule;
      if ((!write || atomic) && s.write_instance != b.instance) {
        tell(w, pc, lane, Fault::kUninitialised, place(t) + " was never written");
        s.write_instance = b.instance;
        s.write_epoch = 0;
      }
      touch<write>(s, t);
    }
  }
  return &b.shared[offset];
}

template <bool write>
uint8_t *check_global(Warp &w, uint32_t pc, int lane, uint64_t address, uint32_t bytes, bool atomic,
                      bool constant) {
  Allocation *a = memory().find(address);
  if (!a || bytes > a->bytes - (address - a->base)) {
    tell_outside_global(w, pc, lane, address, bytes, write ? "writes" : "reads");
    return nullptr;
  }
  auto *out = reinterpret_cast<uint8_t *>(address);
  const uint64_t offset = address - a->base;
  if (address & (bytes - 1))
    tell(w, pc, lane, Fault::kAlignment,
         std::to_string(bytes) + " bytes at byte " + std::to_string(offset) + " of allocation " +
             std::to_string(a->number));
  if (!settings().check)
    return out;
  uint32_t bad = 0;
  if (!acceptable<write>(*a, offset, bytes, atomic, &bad)) {
    const bool canary = a->state[offset + bad] == Byte::kForbidden;
    const std::string at = "byte " + std::to_string(offset + bad) + " of allocation " +
                           std::to_string(a->number) + " (" + std::to_string(a->bytes) + " bytes)";
    tell(w, pc, lane, canary ? Fault::kCanary : Fault::kUninitialised,
         canary ? (write ? "writes " : "reads ") + at + ", which is a canary" : at + " was never written");
    if (canary)
      return nullptr;
  }
  const uint32_t granule = w.kernel->least_global;
  if (a->granule != granule) {
    a->shadow.assign(a->bytes / granule + 1, Shadow{});
    a->granule = granule;
  }
  Block &b = *w.block;
  Touch t{w, b, pc, lane, b.launch->first_instance, 0, a->number, atomic, constant};
  for (uint64_t at = offset / granule; at <= (offset + bytes - 1) / granule; ++at) {
    t.offset = at * granule;
    touch<write>(a->shadow[at], t);
  }
  return out;
}

template uint8_t *check_shared<false>(Warp &, uint32_t, int, uint64_t, uint32_t, bool);
template uint8_t *check_shared<true>(Warp &, uint32_t, int, uint64_t, uint32_t, bool);
template uint8_t *check_global<false>(Warp &, uint32_t, int, uint64_t, uint32_t, bool, bool);
template uint8_t *check_global<true>(Warp &, uint32_t, int, uint64_t, uint32_t, bool, bool);

} // namespace ptx

// The check of one access to one granule of memory.
#pragma once

#include "machine.h"
#include "memory.h"

namespace ptx {

struct Touch {
  Warp &warp;
  Block &block;
  uint32_t pc;
  int lane;
  uint32_t first_instance; // of the blocks that it may race with
  uint64_t offset;         // of the granule, for the message
  int allocation;          // 0: shared memory
  bool atomic, constant;
};

[[gnu::cold, gnu::noinline]] void tell_race(const Touch &, const Shadow &, bool write, bool with_write);
[[gnu::cold, gnu::noinline]] void tell_in_flight(const Touch &, bool write);
[[gnu::cold, gnu::noinline]] void tell_constant(const Touch &);

template <bool write> inline void touch(Shadow &s, const Touch &t) {
  const Block &b = t.block;
  const uint32_t thread = t.warp.thread(t.lane);
  if (s.in_flight) {
    if (s.write_instance == b.instance)
      tell_in_flight(t, write);
    s.in_flight = s.write_instance == b.instance;
  }
  if (s.write_instance >= t.first_instance) {
    const bool together = s.write_instance == b.instance && s.write_epoch == b.epoch;
    const bool same_warp = s.write_thread / kLanes == static_cast<uint32_t>(t.warp.index);
    if ((s.write_instance != b.instance || (together && s.write_thread != thread)) &&
        !(t.atomic && s.write_atomic) &&
        !(together && same_warp && t.warp.clock.sees(t.lane, s.write_thread % kLanes, s.write_stamp)))
      tell_race(t, s, write, true);
    if (t.constant)
      tell_constant(t);
  }
  const Mask own = 1u << t.lane;
  const bool read_before = s.read_instance >= t.first_instance;
  if constexpr (write) {
    if (read_before) {
      const bool together =
          s.read_instance == b.instance && s.read_epoch == b.epoch && s.read_warp != Shadow::kManyBlocks;
      bool race = s.read_instance != b.instance || s.read_warp == Shadow::kManyBlocks;
      if (together && s.read_warp != t.warp.index)
        race = true;
      else if (together)
        for (Mask rest = s.read_lanes & ~own; rest && !race; rest &= rest - 1)
          race = !t.warp.clock.sees(t.lane, __builtin_ctz(rest), s.read_stamp);
      if (race)
        tell_race(t, s, write, false);
      else if (s.read_constant)
        tell_constant(t);
    }
    s.write_instance = b.instance;
    s.write_epoch = b.epoch;
    s.write_stamp = t.warp.clock.now;
    s.write_pc = t.pc;
    s.write_thread = static_cast<uint16_t>(thread);
    s.write_atomic = t.atomic;
  } else {
    const bool other_block =
        read_before && (s.read_instance != b.instance || s.read_warp == Shadow::kManyBlocks);
    const bool same = read_before && !other_block && s.read_epoch == b.epoch;
    if (same && s.read_warp == t.warp.index) {
      s.read_lanes |= own;
    } else {
      s.read_lanes = own;
      s.read_warp = other_block ? Shadow::kManyBlocks
                    : same      ? Shadow::kManyWarps
                                : static_cast<uint16_t>(t.warp.index);
    }
    s.read_constant = t.constant || (read_before && s.read_constant);
    s.read_instance = b.instance;
    s.read_epoch = b.epoch;
    s.read_stamp = t.warp.clock.now;
    s.read_pc = t.pc;
  }
}

// Where an access of `bytes` goes; null: nowhere, and told.
template <bool write>
uint8_t *check_shared(Warp &, uint32_t pc, int lane, uint64_t address, uint32_t bytes, bool atomic = false);
template <bool write>
uint8_t *check_global(Warp &, uint32_t pc, int lane, uint64_t address, uint32_t bytes, bool atomic = false,
                      bool constant = false);

} // namespace ptx

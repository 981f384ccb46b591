// Who touched a piece of memory last, and whether two accesses are ordered.
//
// Two accesses of a block are ordered by a barrier of the block between them, two of a warp also by a
// bar.warp.sync of both lanes. What is not ordered is a race if one of the two writes, whatever the order was
// in this run: the finding does not depend on the schedule.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "kernel.h"

namespace ptx {

// What lanes of a warp know of one another. `now` counts the warp's synchronisations; an access is stamped
// with it.
struct WarpClock {
  uint32_t now = 0;
  std::vector<std::array<uint32_t, kLanes>>
      known; // [i][j]: the last one by which i sees what j did; empty: none

  bool sees(int lane, int other, uint32_t stamp) const {
    return !known.empty() && known[static_cast<size_t>(lane)][static_cast<size_t>(other)] > stamp;
  }
  void synchronise(Mask lanes);
};

// Of a granule: as many bytes as the kernel's smallest access of that space.
struct Shadow {
  static constexpr uint16_t kManyWarps = 0xffff, kManyBlocks = 0xfffe;
  uint32_t write_instance = 0, write_epoch = 0, write_stamp = 0, write_pc = 0;
  uint32_t read_instance = 0, read_epoch = 0, read_stamp = 0, read_pc = 0;
  Mask read_lanes = 0;
  uint16_t write_thread = 0, read_warp = 0;
  bool write_atomic = false, read_constant = false;
  bool in_flight = false; // a cp.async has not arrived
};

} // namespace ptx

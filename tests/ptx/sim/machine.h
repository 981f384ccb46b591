// What runs: a launch, its blocks, their warps, and the diverged parts of a warp.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "kernel.h"
#include "shadow.h"

namespace ptx {

struct Launch {
  Kernel *kernel;
  std::array<uint32_t, 3> grid, block;
  uint64_t shared;             // dynamic, bytes
  uint32_t first_instance = 0; // of its blocks; set when it runs
  std::vector<uint8_t> parameters;
};

enum class Wait : uint8_t { kNone, kWarp, kBlock };

// Lanes of a warp that are at the same instruction.
struct Group {
  uint32_t pc;
  Mask lanes;
  Wait wait = Wait::kNone;
  bool forced = false; // goes on though lanes that it waits for will not come
};

// A cp.async that has not arrived.
struct Copy {
  uint64_t from;
  uint32_t to; // in shared memory
  uint32_t bytes, valid;
};

struct LaneCopies {
  std::vector<Copy> open; // not committed
  std::deque<std::vector<Copy>> groups;
};

struct Block;

struct Warp {
  uint8_t *base[2]; // registers, constants
  Block *block;
  Kernel *kernel;
  int index;
  Mask started, alive; // lanes that the block has, and that have not left the kernel
  std::vector<Group> groups;
  Mask *written; // of each register: lanes that have been given a value
  WarpClock clock;
  std::vector<LaneCopies> copies; // of each lane, once there is a cp.async

  template <class T> T *at(const Operand &o) {
    return reinterpret_cast<T *>(base[o.place >> 31] + (o.place & ~Operand::kConstant));
  }
  uint32_t pc(const Instruction &i) const { return static_cast<uint32_t>(&i - kernel->code.data()); }
  uint32_t thread(int lane) const { return static_cast<uint32_t>(index * kLanes + lane); }
};

struct Block {
  const Launch *launch;
  uint32_t number;            // in the grid
  std::array<uint32_t, 3> id; // in the grid
  uint32_t instance;          // of all blocks that ever ran
  uint32_t epoch;             // barriers passed
  uint32_t threads;
  std::vector<Warp> warps;
  std::vector<uint8_t> registers, shared, local, local_written;
  std::vector<Mask> written;
  std::vector<Shadow> shadow; // of shared memory

  uint64_t shared_bytes() const { return launch->kernel->shared_bytes + launch->shared; }
};

// Runs one launch to its end.
void run(Launch &launch);

// Runs a warp until it waits or ends, or for `quantum` instructions: true, and it can go on.
bool run_warp(Warp &warp, int64_t &quantum);

// Groups at the same instruction become one.
void merge(Warp &warp);

// Of the order of everything: seeded for each launch.
uint32_t random_number(uint32_t below);

} // namespace ptx

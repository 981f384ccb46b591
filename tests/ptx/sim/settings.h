// What a run is told: by the environment (PTXSIM_SEED=3) or by ptxsim_set("seed", 3).
#pragma once

#include <cstdint>

namespace ptx {

struct Settings {
  int64_t seed = 1;       // of the order of blocks, warps and diverged parts; 0: in turn
  int64_t quantum = 200;  // instructions that a warp may run before another one
  int64_t resident = 3;   // blocks at a time
  int64_t divergence = 1; // diverged parts of a warp in random order, not the one behind first
  int64_t check = 1;      // 0: results alone
  int64_t approx_error =
      0;               // of ex2, rcp, lg2 and the like: 1 random sign by argument, 2 up, 3 down; full size
  int64_t poison = -1; // cudaMemset to this byte: counts as never written
  int64_t canary = -1; // cudaMemset to this byte: must not be touched
  int64_t quiet = 0;   // 1: findings are kept, not printed
  int64_t lenient = 0; // 1: a program ends with its own status, findings or not
  int64_t budget = 2'000'000'000; // instructions of a warp in one launch; more is a hang
  int64_t multiprocessors = 8;
  int64_t shared_limit = 166912; // bytes that a block may opt in to
  int64_t memory_limit = int64_t{8} << 30;
};

Settings &settings();

} // namespace ptx

extern "C" int ptxsim_set(const char *name, int64_t value); // 0: no such setting

// What executes the instructions that are more than a function of one lane.
#pragma once

#include "machine.h"

namespace ptx {

// values.cpp
void execute_pack(Warp &, const Instruction &, Mask);   // one register of several
void execute_unpack(Warp &, const Instruction &, Mask); // and back

// access.cpp
void addresses(Warp &, const Operand &base, int64_t displacement, uint64_t (&out)[kLanes]);
void execute_load(Warp &, const Instruction &, Mask);
void execute_store(Warp &, const Instruction &, Mask);
// atomics.cpp: `target` says which of the Atomic operations
void execute_atomic(Warp &, const Instruction &, Mask);
int find_atomic(const std::string &name); // "add.u32"; -1: not known

// copies.cpp
void execute_copy(Warp &, const Instruction &, Mask);
void execute_commit(Warp &, const Instruction &, Mask);
void execute_wait(Warp &, const Instruction &,
                  Mask); // `displacement`: groups that may be left; -1: waits for all

// warps.cpp: in[0] is the mask of the lanes that take part
void execute_nothing(Warp &, const Instruction &, Mask);
void execute_active(Warp &, const Instruction &, Mask);
enum class Shuffle : uint32_t { kUp, kDown, kButterfly, kIndex }; // Instruction::target
void execute_shuffle(Warp &, const Instruction &, Mask);
enum class Vote : uint32_t { kAll, kAny, kUniform, kBallot };
void execute_vote(Warp &, const Instruction &, Mask);
enum class Together : uint32_t {
  kMatchAny,
  kMatchAll,
  kAdd,
  kMin,
  kMax,
  kSignedMin,
  kSignedMax,
  kAnd,
  kOr,
  kXor
};
void execute_together(Warp &, const Instruction &, Mask);

} // namespace ptx

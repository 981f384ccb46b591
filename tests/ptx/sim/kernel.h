// A kernel of PTX text, decoded: what the rest of the simulator executes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ptx {

constexpr int kLanes = 32;
using Mask = uint32_t; // one bit a lane of a warp
constexpr Mask kAllLanes = 0xffffffffu;

struct Warp;
struct Instruction;
using Execute = void (*)(Warp &, const Instruction &, Mask);

// A value of all lanes: in a warp's registers or, with the top bit of `place`, in the kernel's constants.
// A register holds its 32 lanes one after the other; a predicate is a Mask.
struct Operand {
  static constexpr uint32_t kConstant = 0x80000000u;
  static constexpr uint16_t kNone = 0xffff;
  uint32_t place = 0;
  uint16_t reg = kNone; // its number, for the check of what was never written; kNone: a constant
  uint8_t bytes = 0;    // of one lane; kPredicate: a predicate
};
constexpr uint8_t kPredicate = 255;

enum class Kind : uint8_t { kPlain, kBranch, kTable, kBarrier, kWarp, kExit };
enum class Space : uint8_t { kGeneric, kParam, kGlobal, kShared, kLocal };
enum class Reduce : uint8_t { kNone, kOr, kAnd, kPopulation };

struct Instruction {
  Execute execute = nullptr;
  Kind kind = Kind::kPlain;
  Operand out[4], in[5]; // memory: in[0] is the address, a store's data follow
  uint8_t outs = 0, ins = 0;
  bool guarded = false, negated = false;
  Operand guard;
  uint32_t target = 0; // of a branch: an instruction; of kTable: one of Kernel::tables

  Space space = Space::kGeneric;
  uint8_t elements = 1, bytes = 4; // of memory: of a vector, of one element
  bool sign = false;               // a load narrower than its register extends the sign
  bool constant = false;           // ld.global.nc: nobody may write there while the kernel runs
  int64_t displacement = 0;

  Reduce reduce = Reduce::kNone; // of a barrier
  bool aligned = false;          // all of a warp must come to the barrier together
  bool orders = false;           // of kWarp: orders memory among its lanes (bar.warp.sync)
  uint32_t source = 0;           // of Kernel::sources
};

// A line of PTX, and the source lines that it came from.
struct Source {
  std::string text;
  int line = 0;
  int file = 0, row = 0, inlined_file = 0, inlined_row = 0;
};

struct Parameter {
  uint32_t bytes, offset;
};

// A register that is filled when a block starts, such as %tid.x.
struct Special {
  int which;
  Operand at;
};

struct Kernel {
  std::string name, plain; // mangled, and readable
  std::vector<Instruction> code;
  std::vector<Source> sources;
  std::vector<std::vector<uint32_t>> tables; // of indirect branches
  std::vector<uint8_t> constants;
  std::vector<Parameter> parameters;
  std::vector<Special> specials;
  std::vector<std::string> files;
  uint32_t parameter_bytes = 0, register_bytes = 0, registers = 0;
  uint32_t shared_bytes = 0, local_bytes = 0; // static
  uint32_t max_threads = 1024;
  uint32_t least_global = 4, least_shared = 4; // bytes of the smallest access, at most 4
  int64_t dynamic_limit = 48 * 1024;           // cudaFuncSetAttribute
  std::vector<uint64_t> executed;              // times that a warp was at each instruction
  uint64_t launches = 0;
};

// The names of special registers, in the order of Special::which.
enum SpecialName { kTid, kNtid = 3, kCtaid = 6, kNctaid = 9, kLaneId = 12, kWarpId, kSpecials };
extern const char *const kSpecialNames[kSpecials];

// Address windows of the spaces in generic addresses. A global address is one of the host's.
constexpr uint64_t kSharedWindow = 1ull << 56, kLocalWindow = 2ull << 56, kParamWindow = 3ull << 56;
constexpr uint32_t kSharedBase = 1024; // address 0 of shared memory is nobody's

} // namespace ptx

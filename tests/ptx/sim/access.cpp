// Loads and stores.
#include <cstring>

#include "execute.h"
#include "findings.h"
#include "races.h"

namespace ptx {
namespace {

// Parameters and local memory are a thread's own: no races there.
template <bool write> uint8_t *check_local(Warp &w, uint32_t pc, int lane, uint64_t address, uint32_t bytes) {
  const uint64_t size = w.kernel->local_bytes;
  if (address >= size || bytes > size - address) {
    tell(w, pc, lane, Fault::kBounds,
         "byte " + std::to_string(address) + " of local memory, which has " + std::to_string(size));
    return nullptr;
  }
  const uint64_t at = w.thread(lane) * size + address;
  uint8_t *written = &w.block->local_written[at];
  if (write)
    std::memset(written, 1, bytes);
  else if (std::memchr(written, 0, bytes))
    tell(w, pc, lane, Fault::kUninitialised,
         "byte " + std::to_string(address) + " of local memory was never written");
  return &w.block->local[at];
}

template <bool write>
uint8_t *check_parameter(Warp &w, uint32_t pc, int lane, uint64_t address, uint32_t bytes) {
  const uint64_t size = w.kernel->parameter_bytes;
  if (write || address >= size || bytes > size - address) {
    tell(w, pc, lane, Fault::kBounds,
         "byte " + std::to_string(address) + " of the parameters, which have " + std::to_string(size));
    return nullptr;
  }
  return const_cast<uint8_t *>(&w.block->launch->parameters[address]);
}

template <bool write>
uint8_t *check(Warp &w, const Instruction &i, uint32_t pc, int lane, Space space, uint64_t address,
               uint32_t bytes) {
  switch (space) {
  case Space::kShared:
    return check_shared<write>(w, pc, lane, address, bytes);
  case Space::kGlobal:
    return check_global<write>(w, pc, lane, address, bytes, false, i.constant);
  case Space::kLocal:
    return check_local<write>(w, pc, lane, address, bytes);
  case Space::kParam:
    return check_parameter<write>(w, pc, lane, address, bytes);
  case Space::kGeneric:
    break;
  }
  const uint64_t window = address & (uint64_t{0xff} << 56), inside = address & ~(uint64_t{0xff} << 56);
  const Space found = window == kSharedWindow  ? Space::kShared
                      : window == kLocalWindow ? Space::kLocal
                      : window == kParamWindow ? Space::kParam
                                               : Space::kGlobal;
  return check<write>(w, i, pc, lane, found, inside, bytes);
}

template <bool write> void access(Warp &w, const Instruction &i, Mask m) {
  uint64_t address[kLanes];
  addresses(w, i.in[0], i.displacement, address);
  const uint32_t pc = w.pc(i), bytes = uint32_t{i.bytes} * i.elements;
  const Operand *data = write ? i.in + 1 : i.out;
  uint8_t *registers[4];
  for (int e = 0; e < i.elements; ++e)
    registers[e] = w.at<uint8_t>(data[e]);
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    uint8_t *place = check<write>(w, i, pc, lane, i.space, address[lane], bytes);
    for (int e = 0; e < i.elements; ++e) {
      uint8_t *reg = registers[e] + static_cast<size_t>(lane) * data[e].bytes;
      uint8_t *from = place ? place + e * i.bytes : nullptr;
      if (i.bytes == 4 && data[e].bytes == 4 && place) {
        std::memcpy(write ? from : reg, write ? reg : from, 4);
        continue;
      }
      if (write) {
        if (place)
          std::memcpy(from, reg, i.bytes);
        continue;
      }
      uint64_t value = 0x7fffdeadu;
      if (place) {
        value = 0;
        std::memcpy(&value, from, i.bytes);
        const int shift = 64 - 8 * i.bytes;
        if (i.sign && shift)
          value = static_cast<uint64_t>(static_cast<int64_t>(value << shift) >> shift);
      }
      std::memcpy(reg, &value, data[e].bytes);
    }
  }
}

} // namespace

void addresses(Warp &w, const Operand &base, int64_t displacement, uint64_t (&out)[kLanes]) {
  if (base.bytes == 4) {
    const auto *from = w.at<uint32_t>(base);
    for (int l = 0; l < kLanes; ++l)
      out[l] = from[l] + static_cast<uint32_t>(displacement);
  } else {
    const auto *from = w.at<uint64_t>(base);
    for (int l = 0; l < kLanes; ++l)
      out[l] = from[l] + static_cast<uint64_t>(displacement);
  }
}

void execute_load(Warp &w, const Instruction &i, Mask m) { access<false>(w, i, m); }
void execute_store(Warp &w, const Instruction &i, Mask m) { access<true>(w, i, m); }

} // namespace ptx

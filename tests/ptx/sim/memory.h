// Global memory: allocations, and which of their bytes hold values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "shadow.h"

namespace ptx {

enum class Byte : uint8_t { kUnwritten, kWritten, kForbidden };

struct Allocation {
  uint64_t base = 0, bytes = 0;
  int number = 0;
  std::vector<Byte> state;
  std::vector<Shadow> shadow; // made when a kernel first comes here
  uint32_t granule = 0;       // bytes of one entry of shadow
};

class Memory {
public:
  void *allocate(uint64_t bytes);
  bool release(void *address);
  // The allocation that holds `address`, or the nearest one below with `near`.
  Allocation *find(uint64_t address, bool near = false);
  // False: the bytes are not all in one allocation.
  bool mark(const void *address, uint64_t bytes, Byte state);
  uint64_t in_use() const { return in_use_; }

private:
  std::map<uint64_t, std::unique_ptr<Allocation>> all_;
  Allocation *last_ = nullptr;
  uint64_t in_use_ = 0;
  int made_ = 0;
};

Memory &memory();

} // namespace ptx

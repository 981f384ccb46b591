#include "memory.h"

#include <cstdlib>
#include <cstring>

#include "settings.h"

namespace ptx {

Memory &memory() {
  static Memory &one = *new Memory;
  return one;
}

void *Memory::allocate(uint64_t bytes) {
  if (bytes > static_cast<uint64_t>(settings().memory_limit) - in_use_)
    return nullptr;
  // Distance to the next allocation, so that a step too far is not in it.
  const uint64_t room = (bytes + 4096 + 511) / 512 * 512;
  void *address = std::aligned_alloc(512, room);
  if (!address)
    return nullptr;
  std::memset(address, 0xff, room);
  auto one = std::make_unique<Allocation>();
  one->base = reinterpret_cast<uint64_t>(address);
  one->bytes = bytes;
  one->number = ++made_;
  one->state.assign(bytes, Byte::kUnwritten);
  last_ = nullptr;
  all_[one->base] = std::move(one);
  in_use_ += bytes;
  return address;
}

bool Memory::release(void *address) {
  const auto found = all_.find(reinterpret_cast<uint64_t>(address));
  if (found == all_.end())
    return false;
  in_use_ -= found->second->bytes;
  last_ = nullptr;
  all_.erase(found);
  std::free(address);
  return true;
}

Allocation *Memory::find(uint64_t address, bool near) {
  if (last_ && address - last_->base < last_->bytes)
    return last_;
  auto at = all_.upper_bound(address);
  if (at == all_.begin())
    return nullptr;
  Allocation *below = std::prev(at)->second.get();
  if (address - below->base < below->bytes)
    return last_ = below;
  return near ? below : nullptr;
}

bool Memory::mark(const void *address, uint64_t bytes, Byte state) {
  const uint64_t start = reinterpret_cast<uint64_t>(address);
  Allocation *a = find(start);
  if (bytes == 0)
    return true;
  if (!a || bytes > a->bytes - (start - a->base))
    return false;
  std::memset(&a->state[start - a->base], static_cast<int>(state), bytes);
  return true;
}

} // namespace ptx

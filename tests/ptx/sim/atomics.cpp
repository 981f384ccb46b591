// atom and red: one lane after the other.
#include <cstring>
#include <map>
#include <string>

#include "execute.h"
#include "operations.h"
#include "races.h"

namespace ptx {
namespace {

using Combine = uint64_t (*)(uint64_t old, uint64_t b, uint64_t c);

float as_float(uint64_t bits) { return bits_as<float>(static_cast<uint32_t>(bits)); }
int32_t as_signed(uint64_t bits) { return static_cast<int32_t>(bits); }

const std::pair<const char *, Combine> kAtomics[] = {
    {"add.u32", [](uint64_t a, uint64_t b, uint64_t) { return a + b; }},
    {"add.s32", [](uint64_t a, uint64_t b, uint64_t) { return a + b; }},
    {"add.u64", [](uint64_t a, uint64_t b, uint64_t) { return a + b; }},
    {"add.f32",
     [](uint64_t a, uint64_t b, uint64_t) { return uint64_t{bits_of(as_float(a) + as_float(b))}; }},
    {"min.u32", [](uint64_t a, uint64_t b, uint64_t) { return a < b ? a : b; }},
    {"max.u32", [](uint64_t a, uint64_t b, uint64_t) { return a > b ? a : b; }},
    {"min.s32", [](uint64_t a, uint64_t b, uint64_t) { return as_signed(a) < as_signed(b) ? a : b; }},
    {"max.s32", [](uint64_t a, uint64_t b, uint64_t) { return as_signed(a) > as_signed(b) ? a : b; }},
    {"and.b32", [](uint64_t a, uint64_t b, uint64_t) { return a & b; }},
    {"or.b32", [](uint64_t a, uint64_t b, uint64_t) { return a | b; }},
    {"xor.b32", [](uint64_t a, uint64_t b, uint64_t) { return a ^ b; }},
    {"exch.b32", [](uint64_t, uint64_t b, uint64_t) { return b; }},
    {"exch.b64", [](uint64_t, uint64_t b, uint64_t) { return b; }},
    {"cas.b32", [](uint64_t a, uint64_t b, uint64_t c) { return a == b ? c : a; }},
    {"cas.b64", [](uint64_t a, uint64_t b, uint64_t c) { return a == b ? c : a; }},
};

} // namespace

int find_atomic(const std::string &name) {
  for (size_t i = 0; i < std::size(kAtomics); ++i)
    if (name == kAtomics[i].first)
      return static_cast<int>(i);
  return -1;
}

void execute_atomic(Warp &w, const Instruction &i, Mask m) {
  uint64_t address[kLanes];
  addresses(w, i.in[0], i.displacement, address);
  const auto value = [&](int n, int lane) {
    uint64_t out = 0;
    if (n < i.ins)
      std::memcpy(&out, w.at<uint8_t>(i.in[n]) + lane * i.bytes, i.bytes);
    return out;
  };
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const bool shared = i.space == Space::kShared || (address[lane] & kSharedWindow);
    const uint64_t inside = address[lane] & ~kSharedWindow;
    // One write to the check of races: atomic reads do not race with atomic writes.
    uint8_t *place = shared ? check_shared<true>(w, w.pc(i), lane, inside, i.bytes, true)
                            : check_global<true>(w, w.pc(i), lane, inside, i.bytes, true);
    if (!place)
      continue;
    uint64_t old = 0;
    std::memcpy(&old, place, i.bytes);
    const uint64_t made = kAtomics[i.target].second(old, value(1, lane), value(2, lane));
    std::memcpy(place, &made, i.bytes);
    if (i.outs)
      std::memcpy(w.at<uint8_t>(i.out[0]) + lane * i.bytes, &old, i.bytes);
  }
}

} // namespace ptx

// Chooses the kernels that this CPU can run, once.
#include "kernels.h"

#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mimamba {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels table;
}
namespace avx2 {
extern const Kernels table;
}
#endif
namespace baseline {
extern const Kernels table;
}

namespace {

#if defined(__x86_64__)
struct Cpu {
  bool avx2 = false, avx512 = false;

  // By cpuid and xgetbv (Intel SDM volume 1, 13.2 and 14.3): not every compiler's runtime answers
  // __builtin_cpu_supports.
  Cpu() {
    unsigned a, b, c, d, saved, high;
    constexpr unsigned kFma = 1u << 12, kOsSaves = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
    constexpr unsigned kAvx2 = 1u << 5, kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; // F, DQ, BW, VL
    constexpr unsigned kFirst = kFma | kOsSaves | kAvx | kF16c;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kFirst) != kFirst)
      return;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0)); // the registers that the system saves
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (saved & 0x06) != 0x06)
      return;
    avx2 = (b & kAvx2) != 0;
    avx512 = avx2 && (b & kAvx512) == kAvx512 && (saved & 0xe6) == 0xe6;
  }
};
#endif

const Kernels &choose() {
  const Kernels *able[3];
  int count = 0;
#if defined(__x86_64__)
  const Cpu cpu;
  if (cpu.avx512)
    able[count++] = &avx512::table;
  if (cpu.avx2)
    able[count++] = &avx2::table;
#endif
  able[count++] = &baseline::table;
  const char *named = std::getenv("MIMAMBA_ORT_TARGET");
  for (int i = 0; named && i < count; ++i)
    if (std::strcmp(named, able[i]->name) == 0)
      return *able[i];
  return *able[0];
}

} // namespace

const Kernels &kernels() {
  static const Kernels &chosen = choose();
  return chosen;
}

} // namespace mimamba

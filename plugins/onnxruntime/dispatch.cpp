// Chooses the kernels that this CPU can run, once.
#include "kernels.h"

#include <cstdlib>
#include <cstring>

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

const Kernels &choose() {
  const Kernels *able[3];
  int count = 0;
#if defined(__x86_64__)
  // The compiler's own question also asks whether the system saves the registers.
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    able[count++] = &avx512::table;
  if (avx2)
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

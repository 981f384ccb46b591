// The command line of both programs.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "checks.h"
#include "memory.h"

namespace harness {

// Calls body(checks, argument) with what the command line says. `argument_name`: the one argument, or null
// for none. Exit status: 0 all holds, 1 something does not, 2 could not run.
template <class Body>
int run_main(int count, char **words, const char *program, const char *argument_name, Body &&body) {
  Extent extent = Extent::kDefault;
  uint64_t seed =
      static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) % 1'000'000'007;
  const char *argument = nullptr;
  bool understood = true;
  for (int i = 1; i < count && understood; ++i) {
    if (std::strcmp(words[i], "--small") == 0)
      extent = Extent::kSmall;
    else if (std::strcmp(words[i], "--full") == 0)
      extent = Extent::kFull;
    else if (std::strcmp(words[i], "--no-poison") == 0)
      lay_no_poison();
    else if (std::strcmp(words[i], "--seed") == 0 && i + 1 < count) {
      char *end = nullptr;
      seed = std::strtoull(words[++i], &end, 10);
      understood = end != words[i] && *end == '\0';
    } else if (argument_name && !argument && words[i][0] != '-')
      argument = words[i];
    else
      understood = false;
  }
  if (!understood || (argument_name && !argument)) {
    std::fprintf(stderr, "usage: %s %s%s[--small | --full] [--seed NUMBER] [--no-poison]\n", program,
                 argument_name ? argument_name : "", argument_name ? " " : "");
    return 2;
  }
  std::printf("seed %llu (--seed repeats it)\n", static_cast<unsigned long long>(seed));
#ifdef MIMAMBA_HOST_KERNELS
  std::printf("no kernels in this build: the float64 reference computes in their place\n");
#endif
  Checks checks(extent, seed);
  try {
    require_device();
    body(checks, argument);
  } catch (const Broken &error) {
    checks.expect(false, error.what);
  } catch (const CannotRun &error) {
    std::fprintf(stderr, "%s: could not run: %s: %s\n", program, error.what, error.why);
    return 2;
  }
  return checks.finish();
}

} // namespace harness

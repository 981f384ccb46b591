#include "settings.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace ptx {
namespace {

std::map<std::string, int64_t *> names(Settings &s) {
  return {{"seed", &s.seed},
          {"quantum", &s.quantum},
          {"resident", &s.resident},
          {"divergence", &s.divergence},
          {"check", &s.check},
          {"approx_error", &s.approx_error},
          {"poison", &s.poison},
          {"canary", &s.canary},
          {"quiet", &s.quiet},
          {"lenient", &s.lenient},
          {"budget", &s.budget},
          {"multiprocessors", &s.multiprocessors},
          {"shared_limit", &s.shared_limit},
          {"memory_limit", &s.memory_limit}};
}

Settings from_environment() {
  Settings s;
  for (const auto &[name, value] : names(s)) {
    std::string variable = "PTXSIM_";
    for (const char c : name)
      variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const char *text = std::getenv(variable.c_str());
    if (!text)
      continue;
    char *end = nullptr;
    *value = std::strtoll(text, &end, 0);
    if (end == text || *end) {
      std::fprintf(stderr, "ptxsim: %s must be a number, got %s\n", variable.c_str(), text);
      std::_Exit(2);
    }
  }
  return s;
}

} // namespace

Settings &settings() {
  static Settings one = from_environment();
  return one;
}

} // namespace ptx

extern "C" int ptxsim_set(const char *name, int64_t value) {
  const auto all = ptx::names(ptx::settings());
  const auto found = all.find(name);
  if (found == all.end())
    return 0;
  *found->second = value;
  return 1;
}

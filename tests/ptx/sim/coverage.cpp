// Which instructions ran: "KERNEL\tINSTRUCTIONS\tEXECUTED" lines, and with `all` those that did not.
#include <string>

#include "findings.h"
#include "modules.h"

extern "C" const char *ptxsim_coverage(int all) {
  static std::string text;
  text.clear();
  for (const ptx::Kernel *k : ptx::kernels()) {
    size_t executed = 0;
    for (const uint64_t times : k->executed)
      executed += times > 0;
    // The last one is the end that every kernel has.
    text += k->plain + "\t" + std::to_string(k->code.size()) + "\t" + std::to_string(executed) + "\n";
    for (uint32_t pc = 0; all && k->launches && pc < k->code.size(); ++pc)
      if (k->executed[pc] == 0)
        text += "  never: " + where(*k, pc) + "\n";
  }
  return text.c_str();
}

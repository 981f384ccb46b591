// What is wrong with a kernel, told once for each instruction and kind.
#pragma once

#include <string>

#include "machine.h"

namespace ptx {

enum class Fault {
  kBounds,
  kAlignment,
  kUninitialised,
  kRace,
  kBarrier,
  kRegister,
  kCanary,
  kWarp,   // a shuffle from a lane that is not there, a warp's lanes that never meet
  kAsync,  // a cp.async that is not waited for
  kHang,
};

void tell(const Warp &warp, uint32_t pc, int lane, Fault fault, const std::string &what);
void tell_launch(const std::string &kernel, Fault fault, const std::string &what);

// "PTX line 12 `bar.sync 0` (scan.cu:31)".
std::string where(const Kernel &kernel, uint32_t pc);

uint64_t findings();

} // namespace ptx

extern "C" {
uint64_t ptxsim_findings();  // since the start
const char *ptxsim_report(); // text of the findings since the last ptxsim_forget()
void ptxsim_forget();
}

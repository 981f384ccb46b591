#include "findings.h"

#include <cstdio>
#include <mutex>
#include <set>
#include <tuple>

#include "settings.h"

namespace ptx {
namespace {

const char *const kNames[] = {
    "out of bounds", "misaligned",      "uninitialised read", "race",   "barrier", "unwritten register",
    "canary",        "lanes of a warp", "cp.async",           "launch", "hang"};

struct State {
  uint64_t count = 0;
  std::string report;
  std::set<std::tuple<std::string, uint32_t, Fault>> told;
};

// Never destroyed: kernels may run until the program ends.
State &state() {
  static State &one = *new State;
  return one;
}

void add(const std::string &kernel, uint32_t pc, Fault fault, const std::string &text) {
  State &s = state();
  ++s.count;
  if (s.told.size() >= 20 || !s.told.insert({kernel, pc, fault}).second)
    return;
  const std::string line = std::string("ptxsim: ") + kNames[static_cast<int>(fault)] + " in " + text + "\n";
  s.report += line;
  if (!settings().quiet)
    std::fputs(line.c_str(), stderr);
}

std::string source_line(const Kernel &kernel, int file, int row) {
  if (file <= 0 || file >= static_cast<int>(kernel.files.size()))
    return "";
  const std::string &name = kernel.files[static_cast<size_t>(file)];
  return name.substr(name.rfind('/') + 1) + ":" + std::to_string(row);
}

} // namespace

std::string where(const Kernel &kernel, uint32_t pc) {
  const Source &source = kernel.sources[kernel.code[pc].source];
  std::string text = "PTX line " + std::to_string(source.line) + " `" + source.text + "`";
  const std::string at = source_line(kernel, source.file, source.row);
  const std::string from = source_line(kernel, source.inlined_file, source.inlined_row);
  if (!at.empty())
    text += " (" + at + (from.empty() ? "" : " inlined at " + from) + ")";
  return text;
}

void tell(const Warp &warp, uint32_t pc, int lane, Fault fault, const std::string &what) {
  const Block &block = *warp.block;
  const auto triple = [](const std::array<uint32_t, 3> &v) {
    return std::to_string(v[0]) + "," + std::to_string(v[1]) + "," + std::to_string(v[2]);
  };
  add(warp.kernel->name, pc, fault,
      warp.kernel->plain + "<<<(" + triple(block.launch->grid) + "), (" + triple(block.launch->block) +
          ")>>> block (" + triple(block.id) + ") thread " + std::to_string(warp.thread(lane)) + ": " + what +
          "\n    at " + where(*warp.kernel, pc));
}

void tell_launch(const std::string &kernel, Fault fault, const std::string &what) {
  add(kernel, 0, fault, kernel + ": " + what);
}

uint64_t findings() { return state().count; }

} // namespace ptx

extern "C" {

uint64_t ptxsim_findings() { return ptx::findings(); }

const char *ptxsim_report() { return ptx::state().report.c_str(); }

void ptxsim_forget() {
  ptx::state().report.clear();
  ptx::state().told.clear();
}

} // extern "C"

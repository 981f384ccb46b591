// What the code that nvcc adds to a host object calls: registration of fat binaries and kernels.
#include "modules.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector_types.h>

#include "findings.h"
#include "parser.h"
#include "settings.h"
#include "text.h"

namespace ptx {
namespace {

struct Modules {
  std::vector<std::unique_ptr<Kernel>> owned;
  std::vector<Kernel *> all;
  std::map<std::string, Kernel *> by_name;
  std::map<const void *, Kernel *> by_function;
};

Modules &modules() {
  static Modules &one = *new Modules;
  return one;
}

[[noreturn]] void stop(const std::string &why) {
  std::fprintf(stderr, "ptxsim: %s\n", why.c_str());
  std::_Exit(3);
}

template <class T> T read(const uint8_t *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// A fat binary: a header, then entries of PTX or machine code, each with a header of its own.
std::string ptx_of(const uint8_t *data) {
  constexpr uint32_t kMagic = 0xba55ed50;
  constexpr uint16_t kPtx = 1;
  constexpr uint64_t kCompressed = 0xa000;
  if (read<uint32_t>(data) != kMagic)
    stop("not a fat binary");
  const uint8_t *at = data + read<uint16_t>(data + 6), *end = at + read<uint64_t>(data + 8);
  while (at < end) {
    const uint32_t header = read<uint32_t>(at + 4);
    const uint64_t bytes = read<uint64_t>(at + 8);
    if (read<uint16_t>(at) == kPtx) {
      if (read<uint64_t>(at + 40) & kCompressed)
        stop("the PTX is compressed: compile with --no-compress");
      const char *text = reinterpret_cast<const char *>(at + header);
      return std::string(text, strnlen(text, bytes));
    }
    at += header + bytes;
  }
  stop("a fat binary without PTX: compile with -gencode arch=compute_80,code=compute_80");
}

void load(const uint8_t *data) {
  Modules &m = modules();
  try {
    for (auto &kernel : parse(ptx_of(data))) {
      m.by_name[kernel->name] = kernel.get();
      m.all.push_back(kernel.get());
      m.owned.push_back(std::move(kernel));
    }
  } catch (const Unsupported &unsupported) {
    stop(unsupported.what);
  }
}

// A program ends with 86 where there were findings.
void end() {
  if (findings() && !settings().quiet)
    std::fprintf(stderr, "ptxsim: %llu findings\n", static_cast<unsigned long long>(findings()));
  std::fflush(stdout);
  if (findings() && !settings().lenient)
    std::_Exit(86);
}

} // namespace

Kernel *kernel_of(const void *host_function) {
  const auto found = modules().by_function.find(host_function);
  return found == modules().by_function.end() ? nullptr : found->second;
}

const std::vector<Kernel *> &kernels() { return modules().all; }

} // namespace ptx

extern "C" {

void **__cudaRegisterFatBinary(void *wrapper) {
  struct Wrapper {
    int magic, version;
    const uint8_t *data;
    void *file;
  };
  static const bool registered = (std::atexit(ptx::end), true);
  (void)registered;
  ptx::load(static_cast<const Wrapper *>(wrapper)->data);
  static void *handle;
  return &handle;
}

char __cudaInitModule(void **) { return 1; }
// Variables of a module live where the parser put them; the host cannot name them here.
void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}
void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}

void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, uint3 *, uint3 *,
                            dim3 *, dim3 *, int *) {
  const auto found = ptx::modules().by_name.find(name);
  if (found == ptx::modules().by_name.end())
    ptx::stop(std::string("no PTX of the kernel ") + name);
  ptx::modules().by_function[host] = found->second;
}

} // extern "C"

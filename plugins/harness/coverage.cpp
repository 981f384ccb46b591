#include "coverage.h"

#include <cuda_runtime_api.h>
#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

namespace harness {
namespace {

struct Kernels {
  std::mutex mutex; // threads of the checks launch at once
  std::map<const void *, std::string> names;
  std::map<const void *, int64_t> launches;       // by the same address: the kernel's on the host
  std::map<const void *, const void *> functions; // handle of a launch -> that address
};

// Made when the first kernel registers, which is before main().
Kernels &kernels() {
  static Kernels all;
  return all;
}

void registered(const void *function, const char *name) {
  const std::lock_guard<std::mutex> lock(kernels().mutex);
  kernels().names[function] = name;
}

void named(const void *handle, const void *function) {
  const std::lock_guard<std::mutex> lock(kernels().mutex);
  kernels().functions[handle] = function;
}

void launched(const void *function) {
  const std::lock_guard<std::mutex> lock(kernels().mutex);
  const auto found = kernels().functions.find(function);
  ++kernels().launches[found == kernels().functions.end() ? function : found->second];
}

// scan_kernel<float, 4, 4, 8> of void mimamba::(anonymous namespace)::scan_kernel<float, 4, 4,
// 8>(ScanProblem, bool).
std::string plain(const std::string &mangled) {
  int status = 0;
  char *const text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? text : mangled;
  std::free(text);
  for (const std::string outer : {"mimamba::", "(anonymous namespace)::", "void "})
    for (size_t at = name.find(outer); at != std::string::npos; at = name.find(outer))
      name.erase(at, outer.size());
  return name.substr(0, name.rfind('('));
}

} // namespace

void check_coverage(Checks &checks) {
  checks.group("every kernel was launched");
  const std::lock_guard<std::mutex> lock(kernels().mutex);
  // Another nvcc may write other calls. That says nothing against the kernels.
  if (kernels().names.empty() || kernels().launches.empty()) {
    checks.pass_over("not known: this nvcc starts kernels in a way that is not followed here");
    return;
  }
  std::map<std::string, int64_t> counts;
  for (const auto &[function, mangled] : kernels().names) {
    const auto found = kernels().launches.find(function);
    counts[plain(mangled)] += found == kernels().launches.end() ? 0 : found->second;
  }
  for (const auto &[name, count] : counts) {
    std::printf("kernel %s: %lld launches\n", name.c_str(), static_cast<long long>(count));
    checks.expect(count > 0, name + " was never launched");
  }
}

} // namespace harness

// __real_NAME is what the program would have called, __wrap_NAME is called in its place (--wrap of the
// linker). All four are in the runtimes of CUDA 12.6 and 13; which ones nvcc calls differs.
extern "C" {

void __real___cudaRegisterFunction(void **, const char *, char *, const char *, int, void *, void *, dim3 *,
                                   dim3 *, int *);
cudaError_t __real_cudaLaunchKernel(const void *, dim3, dim3, void **, size_t, cudaStream_t);
cudaError_t __real___cudaGetKernel(const void **, const void *);
cudaError_t __real___cudaLaunchKernel(const void *, dim3, dim3, void **, size_t, cudaStream_t);

void __wrap___cudaRegisterFunction(void **module, const char *function, char *device_function,
                                   const char *name, int limit, void *thread, void *block, dim3 *block_size,
                                   dim3 *grid_size, int *shared) {
  harness::registered(function, name);
  __real___cudaRegisterFunction(module, function, device_function, name, limit, thread, block, block_size,
                                grid_size, shared);
}

cudaError_t __wrap_cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments,
                                    size_t shared, cudaStream_t stream) {
  harness::launched(function);
  return __real_cudaLaunchKernel(function, grid, block, arguments, shared, stream);
}

cudaError_t __wrap___cudaGetKernel(const void **kernel, const void *function) {
  const cudaError_t error = __real___cudaGetKernel(kernel, function);
  if (error == cudaSuccess)
    harness::named(*kernel, function);
  return error;
}

cudaError_t __wrap___cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments,
                                      size_t shared, cudaStream_t stream) {
  harness::launched(kernel);
  return __real___cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}

} // extern "C"

// Drives the kernels' launchers, without TensorRT's headers.
#include "coverage.h"
#include "kernel_ops.h"
#include "options.h"

int main(int count, char **words) {
  using namespace harness;
  return run_main(count, words, "mimamba_harness_kernels", nullptr, [](Checks &checks, const char *) {
    mimamba::Device device;
#ifndef MIMAMBA_HOST_KERNELS
    const mimamba::Status status = mimamba::query_device(0, &device);
    if (!status.ok())
      throw CannotRun{"the CUDA device could not be asked", status.message};
#endif
    KernelOps ops(device);
    check_scan(checks, ops);
    check_mstb(checks, ops);
#ifndef MIMAMBA_HOST_KERNELS
    check_paths(checks, device);
    check_coverage(checks);
#endif
  });
}

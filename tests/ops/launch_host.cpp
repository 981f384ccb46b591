// c_api.h over the host build: the launchers that export/ops/cuda.py calls, on host memory and at once. They
// count their calls, so that a test sees that it went through here.
#include "c_api.h"

#include "host.cpp"

static int32_t launches = 0;

extern "C" {

int32_t launches_so_far() { return launches; }

int32_t mimamba_query_device(int32_t number, Device *device, const char **message) {
  *message = number == 0 ? "" : "no such device";
  *device = Device{};
  device->multiprocessors = 8;
  return number == 0 ? 0 : 3;
}

int32_t mimamba_launch_scan(const ScanProblem *problem, const Device *device, void *workspace,
                            int64_t workspace_bytes, void *, const char **message) {
  int32_t kernels = 0;
  ++launches;
  return mimamba_scan(problem, device, workspace, workspace_bytes, Order::kForward, &kernels, message);
}

int32_t mimamba_launch_mstb(const MstbProblem *problem, const Device *device, void *workspace,
                            int64_t workspace_bytes, void *, const char **message) {
  int32_t kernels = 0;
  ++launches;
  return mimamba_mstb(problem, device, workspace, workspace_bytes, Order::kForward, &kernels, message);
}

} // extern "C"

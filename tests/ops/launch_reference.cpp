// c_api.h over the float64 reference of the harness: the launchers that export/ops/cuda.py calls, on host
// memory and at once. They count their calls, so that a test sees that it went through here.
#include "c_api.h"

#include "kernels.h"

using namespace mimamba;

static int32_t launches = 0;

static int32_t answer(const Status &status, const char **message) {
  *message = status.message;
  return static_cast<int32_t>(status.code);
}

extern "C" {

int32_t launches_so_far() { return launches; }

int32_t mimamba_query_device(int32_t number, Device *device, const char **message) {
  *message = number == 0 ? "" : "no such device";
  *device = Device{};
  return number == 0 ? 0 : 3;
}

int32_t mimamba_scan_workspace(const ScanProblem *problem, const Device *, int64_t *bytes,
                               const char **message) {
  *bytes = 0;
  return answer(check(*problem), message);
}

int32_t mimamba_launch_scan(const ScanProblem *problem, const Device *device, void *, int64_t, void *,
                            const char **message) {
  ++launches;
  return answer(launch_scan(*problem, *device, nullptr), message);
}

int32_t mimamba_mstb_workspace(const MstbProblem *problem, const Device *device, int64_t *bytes,
                               const char **message) {
  return answer(mstb_workspace(*problem, *device, bytes), message);
}

int32_t mimamba_launch_mstb(const MstbProblem *problem, const Device *device, void *workspace,
                            int64_t workspace_bytes, void *, const char **message) {
  ++launches;
  return answer(launch_mstb(*problem, *device, workspace, workspace_bytes, nullptr), message);
}

} // extern "C"

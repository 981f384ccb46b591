#include "c_api.h"

#include "kernels.h"

using namespace mimamba;

namespace {

int32_t answer(const Status &status, const char **message) {
  *message = status.message;
  return static_cast<int32_t>(status.code);
}

} // namespace

extern "C" {

int32_t mimamba_query_device(int32_t number, Device *device, const char **message) {
  *device = Device{};
  return answer(query_device(number, device), message);
}

int32_t mimamba_scan_workspace(const ScanProblem *problem, const Device *, int64_t *bytes,
                               const char **message) {
  *bytes = 0;
  return answer(check(*problem), message);
}

int32_t mimamba_launch_scan(const ScanProblem *problem, const Device *device, void *, int64_t, void *stream,
                            const char **message) {
  const auto on = static_cast<cudaStream_t>(stream);
  return answer(launch_scan(*problem, *device, on), message);
}

int32_t mimamba_mstb_workspace(const MstbProblem *problem, const Device *device, int64_t *bytes,
                               const char **message) {
  return answer(mstb_workspace(*problem, *device, bytes), message);
}

int32_t mimamba_launch_mstb(const MstbProblem *problem, const Device *device, void *workspace,
                            int64_t workspace_bytes, void *stream, const char **message) {
  const auto on = static_cast<cudaStream_t>(stream);
  return answer(launch_mstb(*problem, *device, workspace, workspace_bytes, on), message);
}

} // extern "C"

// The kernels' launchers, called as a plugin would: for machines without TensorRT's headers.
#pragma once

#include "kernels.h"
#include "ops.h"

namespace harness {

// What a problem forces on its plan. 0 or false: the plan decides.
struct Forced {
  int64_t segments = 0, groups = 0;
  bool images_in_workspace = false;
};

// Both ops on a device that may be described as smaller than it is, or as larger.
class KernelOps final : public Ops {
public:
  explicit KernelOps(const mimamba::Device &device, const Forced &forced = {})
      : device_(device), forced_(forced) {}
  bool knows_workspace() const override { return true; }
  std::unique_ptr<Op> scan(const ScanFlags &flags, int64_t groups, const Call &) override;
  std::unique_ptr<Op> mstb(const MstbFlags &flags, const Call &) override;

private:
  mimamba::Device device_;
  Forced forced_;
};

// Every way that the plans can take, on `device` and on such as it is not.
void check_paths(Checks &checks, const mimamba::Device &device);

} // namespace harness

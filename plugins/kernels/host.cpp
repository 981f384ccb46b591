#include "host.h"

#include "mstb_combine.h"
#include "mstb_conv.h"
#include "mstb_spectrum.h"
#include "scan_body.h"

using namespace mimamba;

namespace {

constexpr Status kOverrun{Code::kBadArgument, "a block wrote past its shared memory"};

template <class Body>
Status run_blocks(int64_t blocks, int threads, int64_t shared_bytes, Order order, Body &&body) {
  for (int64_t i = 0; i < blocks; ++i) {
    HostBlock block(i, blocks, threads, shared_bytes, order);
    body(block);
    if (!block.intact())
      return kOverrun;
  }
  return kDone;
}

int32_t answer(const Status &status, const char **message) {
  *message = status.message;
  return static_cast<int32_t>(status.code);
}

} // namespace

extern "C" {

int32_t mimamba_scan_workspace(const ScanProblem *problem, const Device *device, int64_t *bytes,
                               const char **message) {
  return answer(scan_workspace(*problem, *device, bytes), message);
}

int32_t mimamba_scan(const ScanProblem *problem, const Device *device, void *workspace,
                     int64_t workspace_bytes, Order order, int32_t *kernels, const char **message) {
  *kernels = 0;
  const auto launch = [&](auto lanes, auto state_only, int64_t blocks, const ScanArgs &args) {
    ++*kernels;
    return run_blocks(blocks, kScanThreads, args.plan.shared_bytes, order, [&](HostBlock &block) {
      ScanBody<HostBlock, decltype(lanes), decltype(state_only)::value>(block, args).run();
    });
  };
  return answer(run_scan(*problem, *device, workspace, workspace_bytes, launch), message);
}

int32_t mimamba_mstb_workspace(const MstbProblem *problem, const Device *device, int64_t *bytes,
                               const char **message) {
  return answer(mstb_workspace(*problem, *device, bytes), message);
}

int32_t mimamba_mstb(const MstbProblem *problem, const Device *device, void *workspace,
                     int64_t workspace_bytes, Order order, int32_t *kernels, const char **message) {
  *kernels = 0;
  const auto launch = [&](int kernel, int64_t blocks, const MstbArgs &args) {
    ++*kernels;
    const MstbPlan &plan = args.plan;
    if (kernel == 0)
      return run_blocks(blocks, kSpectrumThreads, plan.spectrum_shared, order,
                        [&](HostBlock &block) { SpectrumBody<HostBlock>(block, args).run(); });
    if (kernel == 2)
      return run_blocks(blocks, kCombineThreads, 0, order,
                        [&](HostBlock &block) { combine_body(block, args); });
    return run_blocks(blocks, plan.conv_threads, plan.conv_shared, order, [&](HostBlock &block) {
      if (plan.images_in_workspace)
        ConvBody<HostBlock, false>(block, args).run();
      else
        ConvBody<HostBlock, true>(block, args).run();
    });
  };
  return answer(run_mstb(*problem, *device, workspace, workspace_bytes, launch), message);
}

void mimamba_round(int32_t type, const float *from, void *to, int64_t count) {
  with_type(static_cast<Dtype>(type), [&](auto storage) {
    for (int64_t i = 0; i < count; ++i)
      decltype(storage)::store(to, i, from[i]);
  });
}

} // extern "C"

// What ONNX Runtime calls, and what a program asks before it lets it.
#include "kernels.h"
#include "ops.h"

#include <memory>

#ifndef MIMAMBA_VERSION
#define MIMAMBA_VERSION "unknown"
#endif

namespace mimamba {
namespace {

constexpr int kTypes[] = {ort::kFloat, ort::kFloat16, ort::kBFloat16};
#ifdef MIMAMBA_CUDA
constexpr TypedOp (*kOps[])(int) = {scan_op, mstb_op, cuda_scan_op, cuda_mstb_op};
constexpr const char *kProviders = "cpu cuda";
#else
constexpr TypedOp (*kOps[])(int) = {scan_op, mstb_op};
constexpr const char *kProviders = "cpu";
#endif

// The domain and its ops: ONNX Runtime keeps pointers to both while a session lives.
class Domain {
public:
  explicit Domain(const ort::Api &api) : api_(api) {
    check(api_.create_domain("mimamba", &domain_));
    for (const int type : kTypes)
      for (const auto make : kOps)
        ops_.push_back(std::make_unique<TypedOp>(make(type)));
    for (const auto &op : ops_)
      check(api_.add_op(domain_, op.get()));
  }
  void add_to(ort::SessionOptions *options) const { check(api_.add_domain(options, domain_)); }

private:
  ort::Api api_;
  ort::CustomOpDomain *domain_ = nullptr;
  std::vector<std::unique_ptr<TypedOp>> ops_;
};

} // namespace
} // namespace mimamba

#define MIMAMBA_EXPORT __attribute__((visibility("default")))

extern "C" {

struct MimambaOrtInfo {
  const char *version; // of mimamba-edge
  const char *target;  // instruction set that the kernels of this process use
  int scan_version, mstb_version;
  const char *providers; // execution providers that there are ops for, separated by spaces
};

// Never fails; callable without ONNX Runtime.
MIMAMBA_EXPORT void mimamba_ort_info(MimambaOrtInfo *out) {
  *out = {MIMAMBA_VERSION, mimamba::kernels().name, mimamba::kScanVersion, mimamba::kMstbVersion,
          mimamba::kProviders};
}

MIMAMBA_EXPORT mimamba::ort::Status *RegisterCustomOps(mimamba::ort::SessionOptions *options,
                                                       const mimamba::ort::ApiBase *base) {
  using namespace mimamba;
  const void *table = base->get_api(ort::kApiVersion);
  if (!table)
    // Every runtime has had the first functions of the table since its first release.
    return ort::Api(base->get_api(1))
        .create_status(ort::kFail, "mimamba: ONNX Runtime 1.20 or later is needed");
  const ort::Api api(table);
  return guarded(api, [&] {
    // One for the process, never taken down: sessions may outlive every other static object.
    static const Domain *const domain = new Domain(api);
    domain->add_to(options);
  });
}
}

// The kernels of one instruction set: compiled once for each, with its options and MIMAMBA_TARGET.
#include "mstb_kernel.h"
#include "scan_gradients.h"
#include "scan_kernel.h"

namespace mimamba::MIMAMBA_TARGET {

template <class T> static void widen_all(const void *from, float *to, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes)
    narrow<F32>(to + i, widen<T>((const typename T::Stored *)from + i, count - i), count - i);
}
template <class T> static void narrow_all(const float *from, void *to, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes)
    narrow<T>((typename T::Stored *)to + i, widen<F32>(from + i, count - i), count - i);
}

static void widen_type(Type type, const void *from, float *to, int64_t count) {
  (type == kF16 ? widen_all<F16> : type == kBF16 ? widen_all<BF16> : widen_all<F32>)(from, to, count);
}
static void narrow_type(Type type, const float *from, void *to, int64_t count) {
  (type == kF16 ? narrow_all<F16> : type == kBF16 ? narrow_all<BF16> : narrow_all<F32>)(from, to, count);
}

#define MIMAMBA_STRING_OF(name) #name
#define MIMAMBA_STRING(name) MIMAMBA_STRING_OF(name)

extern const Kernels table;
const Kernels table = {
    MIMAMBA_STRING(MIMAMBA_TARGET),
    kLanes,
    rates_size,
    pack_rates,
    parts,
    scan_scratch,
    scan,
    gradient_sums,
    gradient_scratch,
    scan_gradients,
    padded,
    branch_scratch,
    branch,
    spectrum,
    widen_type,
    narrow_type,
};

} // namespace mimamba::MIMAMBA_TARGET

// The ops that are registered: one CustomOp for each op, type and provider.
#pragma once

#include "ort_abi.h"
#include "tensors.h"

namespace mimamba {

// A CustomOp with the type T of its tensors and its provider, for the callbacks.
struct TypedOp : ort::CustomOp {
  int type = 0;
  const char *on = nullptr; // null: the CPU's
};

inline int type_of(const ort::CustomOp *op) { return static_cast<const TypedOp *>(op)->type; }

// Name, inputs, outputs, versions: all but what computes.
TypedOp describe_scan(int type);
TypedOp describe_mstb(int type);

// Adds what computes to a description. A Kernel is made of (api, info, type) and has compute(context). All
// inputs and outputs lie where the provider computes.
template <class Kernel> TypedOp with_kernel(TypedOp op, const char *provider = nullptr) {
  op.on = provider;
  op.provider = [](const ort::CustomOp *self) { return static_cast<const TypedOp *>(self)->on; };
  op.input_memory = [](const ort::CustomOp *, size_t) { return 0; };
  op.create = [](const ort::CustomOp *self, const void *table, const ort::KernelInfo *info, void **kernel) {
    const ort::Api api(table);
    return guarded(api, [&] { *kernel = new Kernel(api, info, type_of(self)); });
  };
  op.compute = [](void *kernel, ort::KernelContext *context) {
    return static_cast<Kernel *>(kernel)->compute(context);
  };
  op.destroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
  return op;
}

TypedOp scan_op(int type);
TypedOp mstb_op(int type);
// Where the library is built with CUDA.
TypedOp cuda_scan_op(int type);
TypedOp cuda_mstb_op(int type);

// Versions of the ops, as the nodes' opset and mimamba_edge/contract.py have them.
constexpr int kScanVersion = 1;
constexpr int kMstbVersion = 1;

} // namespace mimamba

// The ops that are registered: one CustomOp for each op and type.
#pragma once

#include "ort_abi.h"
#include "tensors.h"

namespace mimamba {

// A CustomOp with the type T of its tensors, for the callbacks.
struct TypedOp : ort::CustomOp {
  int type = 0;
};

inline int type_of(const ort::CustomOp *op) { return static_cast<const TypedOp *>(op)->type; }

// What all ops of the CPU have in common. A Kernel is made of (api, info, type) and has compute(context).
template <class Kernel> void set_common(TypedOp *op) {
  op->provider = [](const ort::CustomOp *) -> const char * { return nullptr; }; // null: the CPU's
  op->input_presence = [](const ort::CustomOp *, size_t) -> int { return ort::kRequired; };
  op->output_presence = op->input_presence;
  op->input_memory = [](const ort::CustomOp *, size_t) { return 0; };
  op->create = [](const ort::CustomOp *self, const void *table, const ort::KernelInfo *info, void **kernel) {
    const ort::Api api(table);
    return guarded(api, [&] { *kernel = new Kernel(api, info, type_of(self)); });
  };
  op->compute = [](void *kernel, ort::KernelContext *context) {
    return static_cast<Kernel *>(kernel)->compute(context);
  };
  op->destroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
}

TypedOp scan_op(int type);
TypedOp mstb_op(int type);

// Versions of the ops, as the nodes' opset and mimamba_edge/contract.py have them.
constexpr int kScanVersion = 1;
constexpr int kMstbVersion = 1;

} // namespace mimamba

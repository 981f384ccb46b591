// The part of ONNX Runtime's C interface that this library uses, declared by the binary layout it has had
// since API version 17 (ONNX Runtime 1.17). The interface is append-only: a function keeps its place in the
// table for ever (https://github.com/microsoft/onnxruntime, onnxruntime_c_api.cc, "Rules on how to add a new
// Ort API version"). No header of ONNX Runtime is needed, which its wheels do not hold.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mimamba::ort {

// The oldest release that is supported, 1.20. A runtime refuses ops that ask for a later version than its
// own.
constexpr uint32_t kApiVersion = 20;

struct Status; // null: no error
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct ShapeInfo;
struct Allocator;
struct MemoryInfo;

// Values of TensorProto.DataType.
enum ElementType : int { kUndefined = 0, kFloat = 1, kFloat16 = 10, kBFloat16 = 16 };
enum ErrorCode : int { kFail = 1, kInvalidArgument = 2, kNotImplemented = 9 };
enum Presence : int { kRequired = 0, kOptional = 1 };

struct ApiBase {
  const void *(*get_api)(uint32_t version);
  const char *(*version_string)();
};

// Calls by place in the table. Statuses that are not null belong to the caller.
class Api {
public:
  explicit Api(const void *table) : table_(static_cast<void *const *>(table)) {}

  Status *create_status(ErrorCode code, const char *message) const {
    return at<Status *(int, const char *)>(0)(code, message);
  }
  void release(Status *status) const { at<void(Status *)>(93)(status); }

  Status *create_domain(const char *name, CustomOpDomain **out) const {
    return at<Status *(const char *, CustomOpDomain **)>(26)(name, out);
  }
  Status *add_op(CustomOpDomain *domain, const struct CustomOp *op) const {
    return at<Status *(CustomOpDomain *, const CustomOp *)>(27)(domain, op);
  }
  Status *add_domain(SessionOptions *options, CustomOpDomain *domain) const {
    return at<Status *(SessionOptions *, CustomOpDomain *)>(28)(options, domain);
  }
  void release(CustomOpDomain *domain) const { at<void(CustomOpDomain *)>(101)(domain); }

  Status *attribute(const KernelInfo *info, const char *name, float *out) const {
    return at<Status *(const KernelInfo *, const char *, float *)>(85)(info, name, out);
  }
  Status *attribute(const KernelInfo *info, const char *name, int64_t *out) const {
    return at<Status *(const KernelInfo *, const char *, int64_t *)>(86)(info, name, out);
  }
  // The value of an input that is an initializer and cannot be overridden; `*out` is null otherwise.
  Status *constant_input(const KernelInfo *info, size_t index, const Value **out) const {
    int constant = 0;
    *out = nullptr;
    Status *status =
        at<Status *(const KernelInfo *, size_t, int *, const Value **)>(249)(info, index, &constant, out);
    if (!constant)
      *out = nullptr;
    return status;
  }

  Status *input_count(const KernelContext *context, size_t *out) const {
    return at<Status *(const KernelContext *, size_t *)>(88)(context, out);
  }
  Status *output_count(const KernelContext *context, size_t *out) const {
    return at<Status *(const KernelContext *, size_t *)>(89)(context, out);
  }
  Status *input(const KernelContext *context, size_t index, const Value **out) const {
    return at<Status *(const KernelContext *, size_t, const Value **)>(90)(context, index, out);
  }
  Status *output(KernelContext *context, size_t index, const int64_t *dims, size_t rank, Value **out) const {
    return at<Status *(KernelContext *, size_t, const int64_t *, size_t, Value **)>(91)(context, index, dims,
                                                                                        rank, out);
  }
  // Calls `work(data, i)` for i below `total` on the session's threads; 0 batches: ONNX Runtime chooses.
  Status *parallel_for(const KernelContext *context, void (*work)(void *, size_t), size_t total,
                       size_t batches, void *data) const {
    return at<Status *(const KernelContext *, void (*)(void *, size_t), size_t, size_t, void *)>(274)(
        context, work, total, batches, data);
  }

  // The GPU stream that a call's work belongs on; null on a CPU.
  Status *stream(const KernelContext *context, void **out) const {
    return at<Status *(const KernelContext *, void **)>(193)(context, out);
  }
  // The allocator of a kernel's provider, where its tensors lie. It belongs to the caller.
  Status *allocator(const KernelInfo *info, Allocator **out) const {
    return at<Status *(const KernelInfo *, int, Allocator **)>(278)(info, 0, out);
  }
  Status *memory_info(const Allocator *allocator, const MemoryInfo **out) const {
    return at<Status *(const Allocator *, const MemoryInfo **)>(77)(allocator, out);
  }
  Status *device_number(const MemoryInfo *info, int *out) const {
    return at<Status *(const MemoryInfo *, int *)>(72)(info, out);
  }
  // Memory for work on a call's stream, which must not be null. What is freed while that work goes on is
  // handed to nobody but work behind it. It throws in place of a Status where there is too little memory.
  Status *scratch(const KernelContext *context, const MemoryInfo *info, size_t bytes, void **out) const {
    return at<Status *(const KernelContext *, const MemoryInfo *, size_t, void **)>(277)(context, info, bytes,
                                                                                         out);
  }
  Status *free(Allocator *allocator, void *memory) const {
    return at<Status *(Allocator *, void *)>(76)(allocator, memory);
  }
  void release(Allocator *allocator) const { at<void(Allocator *)>(132)(allocator); }

  Status *data(Value *value, void **out) const { return at<Status *(Value *, void **)>(51)(value, out); }
  Status *shape_info(const Value *value, ShapeInfo **out) const {
    return at<Status *(const Value *, ShapeInfo **)>(65)(value, out);
  }
  Status *element_type(const ShapeInfo *info, int *out) const {
    return at<Status *(const ShapeInfo *, int *)>(60)(info, out);
  }
  Status *rank(const ShapeInfo *info, size_t *out) const {
    return at<Status *(const ShapeInfo *, size_t *)>(61)(info, out);
  }
  Status *dims(const ShapeInfo *info, int64_t *out, size_t rank) const {
    return at<Status *(const ShapeInfo *, int64_t *, size_t)>(62)(info, out, rank);
  }
  void release(ShapeInfo *info) const { at<void(ShapeInfo *)>(99)(info); }

private:
  template <class F> F *at(size_t place) const { return reinterpret_cast<F *>(table_[place]); }

  void *const *table_;
};

// One op for one type and provider. ONNX Runtime reads no member that is younger than `version`.
struct CustomOp {
  uint32_t version = kApiVersion;
  void *(*create_kernel)(const CustomOp *, const void *api, const KernelInfo *) = nullptr; // before API 16
  const char *(*name)(const CustomOp *) = nullptr;
  const char *(*provider)(const CustomOp *) = nullptr;
  int (*input_type)(const CustomOp *, size_t) = nullptr;
  size_t (*inputs)(const CustomOp *) = nullptr;
  int (*output_type)(const CustomOp *, size_t) = nullptr;
  size_t (*outputs)(const CustomOp *) = nullptr;
  void (*compute_void)(void *, KernelContext *) = nullptr; // before API 16
  void (*destroy)(void *) = nullptr;
  int (*input_presence)(const CustomOp *, size_t) = nullptr;
  int (*output_presence)(const CustomOp *, size_t) = nullptr;
  int (*input_memory)(const CustomOp *, size_t) = nullptr;
  int (*variadic_input_least)(const CustomOp *) = nullptr;
  int (*variadic_input_alike)(const CustomOp *) = nullptr;
  int (*variadic_output_least)(const CustomOp *) = nullptr;
  int (*variadic_output_alike)(const CustomOp *) = nullptr;
  Status *(*create)(const CustomOp *, const void *api, const KernelInfo *, void **kernel) = nullptr;
  Status *(*compute)(void *kernel, KernelContext *) = nullptr;
  Status *(*infer_shape)(const CustomOp *, void *context) = nullptr;
  int (*first_opset)(const CustomOp *) = nullptr;
  int (*last_opset)(const CustomOp *) = nullptr;
  size_t (*may_inplace)(int **inputs, int **outputs) = nullptr;
  void (*release_may_inplace)(int *inputs, int *outputs) = nullptr;
  size_t (*aliases)(int **inputs, int **outputs) = nullptr;
  void (*release_aliases)(int *inputs, int *outputs) = nullptr;
};

} // namespace mimamba::ort

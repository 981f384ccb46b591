// Between TensorRT's terms and the core's: types, shapes, field collections, the log.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core.h"

namespace mimamba {

constexpr const char *kNamespace = "mimamba", *kVersion = "1";

// What differs from version to version of TensorRT is defined beside the creators (creators.cpp).
// To the host's log; to stderr where a host gave none, since without it a refusal has no reason.
void log_error(const char *text) noexcept;
// Where setLoggerFinder() leaves what it was given.
void set_logger_finder(nvinfer1::ILoggerFinder *finder) noexcept;

// Logs what went wrong. Returns 0 for nothing, as TensorRT's error codes do.
inline int32_t answer(const Report &report) noexcept {
  if (!report.ok())
    log_error(report.text);
  return static_cast<int32_t>(report.code);
}

// Nothing for a type that no kernel has.
std::optional<Dtype> dtype_of(nvinfer1::DataType type) noexcept;

// Sizes of up to kMaxInputs tensors in the core's form. A count beyond that is refused by the core, unread.
struct Shapes {
  Shape of[kMaxInputs];

  template <class Get> Shapes(int32_t count, Get &&get) {
    for (int32_t i = 0; i < count && i < kMaxInputs; ++i)
      of[i] = get(i);
  }
  static Shape from(const nvinfer1::Dims &dims) {
    Shape shape;
    shape.rank = dims.nbDims;
    for (int32_t i = 0; i < dims.nbDims && i < kMaxDims; ++i)
      shape.d[i] = dims.d[i];
    return shape;
  }
  static Shape from(const nvinfer1::DimsExprs &dims) {
    Shape shape;
    shape.rank = dims.nbDims;
    for (int32_t i = 0; i < dims.nbDims && i < kMaxDims; ++i)
      shape.d[i] = dims.d[i]->isConstant() ? dims.d[i]->getConstantValue() : -1;
    return shape;
  }
  static Shapes of_descs(const nvinfer1::PluginTensorDesc *descs, int32_t count) {
    return Shapes(count, [&](int32_t i) { return from(descs[i].dims); });
  }
  static Shapes of_dynamic(const nvinfer1::DynamicPluginTensorDesc *descs, int32_t count,
                           nvinfer1::Dims nvinfer1::DynamicPluginTensorDesc::*bound) {
    return Shapes(count, [&](int32_t i) { return from(descs[i].*bound); });
  }
};

inline nvinfer1::PluginFieldType field_type(const int32_t &) { return nvinfer1::PluginFieldType::kINT32; }
inline nvinfer1::PluginFieldType field_type(const float &) { return nvinfer1::PluginFieldType::kFLOAT32; }

// The attributes as fields: with pointers to their values, or names and types alone.
template <class Op> struct Fields {
  nvinfer1::PluginField fields[Op::kAttributes];
  nvinfer1::PluginFieldCollection collection{Op::kAttributes, fields};

  explicit Fields(const Op &op, bool values) {
    int32_t i = 0;
    Op::visit(op, [&](const char *name, const auto &value) {
      fields[i++] = {name, values ? &value : nullptr, field_type(value), 1};
    });
  }
  Fields(const Fields &) = delete;
  Fields &operator=(const Fields &) = delete;
};

// False where the field is of another type, or its value too large for this one.
bool read_field(const nvinfer1::PluginField &field, int32_t *value) noexcept;

inline bool read_field(const nvinfer1::PluginField &field, float *value) {
  if (field.type != nvinfer1::PluginFieldType::kFLOAT32)
    return false;
  std::memcpy(value, field.data, sizeof *value);
  return true;
}

// The op that a field collection describes: each attribute once, no other field.
template <class Op> Report read_fields(const nvinfer1::PluginFieldCollection *collection, Op *op) {
  if (!collection || collection->nbFields < 0 || (collection->nbFields > 0 && !collection->fields))
    return bad("%s: no field collection", Op::kName);
  Report report;
  int32_t used = 0;
  Op::visit(*op, [&](const char *name, auto &value) {
    int32_t found = 0;
    for (int32_t i = 0; i < collection->nbFields; ++i) {
      const nvinfer1::PluginField &field = collection->fields[i];
      if (!field.name || std::strcmp(field.name, name) != 0)
        continue;
      ++found;
      if (report.ok() && (!field.data || field.length != 1 || !read_field(field, &value)))
        report = bad("%s: the field %s must be one number of type %s", Op::kName, name,
                     std::is_same_v<decltype(value), float &> ? "FLOAT32" : "INT32");
    }
    if (report.ok() && found == 0)
      report =
          bad("%s: the field %s is missing: export the model again with the mimamba-edge of this library",
              Op::kName, name);
    if (report.ok() && found > 1)
      report = bad("%s: the field %s is there %d times, expected once", Op::kName, name, found);
    used += found;
  });
  for (int32_t i = 0; report.ok() && used < collection->nbFields && i < collection->nbFields; ++i) {
    const char *given = collection->fields[i].name ? collection->fields[i].name : "(null)";
    bool known = false;
    Op::visit(*op, [&](const char *name, auto &) { known = known || std::strcmp(given, name) == 0; });
    if (!known)
      report = bad("%s: %s is not a field of version %s", Op::kName, given, kVersion);
  }
  return report.ok() ? op->check() : report;
}

// Axes of an output as expressions of the inputs' axes.
template <class Op>
nvinfer1::DimsExprs output_shape(const Op &op, int32_t output, const nvinfer1::DimsExprs *inputs) {
  const Signature signature = op.signature();
  nvinfer1::DimsExprs shape{};
  shape.nbDims = static_cast<int32_t>(std::strlen(signature.outputs[output].axes));
  for (int32_t i = 0; i < shape.nbDims; ++i) {
    const Axis from = source(signature, output, i);
    shape.d[i] = inputs[from.input].d[from.axis];
  }
  return shape;
}

template <class Op>
nvinfer1::DataType output_type(const Op &op, int32_t output, const nvinfer1::DataType *inputs) {
  const Signature signature = op.signature();
  return signature.outputs[output].is_t ? inputs[signature.first_t()] : nvinfer1::DataType::kFLOAT;
}

template <class Op, class Get>
bool supports_formats(const Op &op, int32_t position, int32_t input_count, int32_t output_count,
                      Get &&desc_of) {
  Format formats[kMaxTensors] = {};
  const int32_t count = std::min(input_count + output_count, kMaxTensors);
  for (int32_t i = 0; i <= position && i < count; ++i) // those behind hold nothing valid yet
    formats[i] = {desc_of(i).format == nvinfer1::TensorFormat::kLINEAR, dtype_of(desc_of(i).type)};
  return supports(op.signature(), position, formats, input_count, output_count);
}

template <class Op>
Report check_shapes(const Node<Op> &node, const nvinfer1::PluginTensorDesc *in, int32_t input_count,
                    const nvinfer1::PluginTensorDesc *out, int32_t output_count) {
  Sizes sizes;
  return node.check(Shapes::of_descs(in, input_count).of, input_count, Shapes::of_descs(out, output_count).of,
                    output_count, &sizes);
}

template <class Op>
Report enqueue_node(const Node<Op> &node, const nvinfer1::PluginTensorDesc *in,
                    const nvinfer1::PluginTensorDesc *out, const void *const *inputs, void *const *outputs,
                    void *workspace, cudaStream_t stream) {
  const Signature signature = node.op.signature();
  return node.enqueue(Shapes::of_descs(in, signature.input_count).of,
                      Shapes::of_descs(out, signature.output_count).of,
                      dtype_of(in[signature.first_t()].type), inputs, outputs, workspace, stream);
}

} // namespace mimamba

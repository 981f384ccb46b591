// IPluginV3 and its creator: one source for TensorRT 10.0.1 to 11.1, whose headers agree on them.
#pragma once

#include <cstdio>
#include <new>

#include "adapter.h"

namespace mimamba {

template <class Op>
class PluginV3 final : public nvinfer1::IPluginV3,
                       public nvinfer1::IPluginV3OneCore,
                       public nvinfer1::IPluginV3OneBuild,
                       public nvinfer1::IPluginV3OneRuntime {
  using Desc = nvinfer1::PluginTensorDesc;
  using Bounds = nvinfer1::DynamicPluginTensorDesc;

public:
  explicit PluginV3(const Node<Op> &node) : node_(node), fields_(node_.op, true) { write_id(); }

  nvinfer1::IPluginCapability *getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore *>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild *>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime *>(this);
    }
    return nullptr;
  }
  nvinfer1::IPluginV3 *clone() noexcept override { return new (std::nothrow) PluginV3(node_); }

  const char *getPluginName() const noexcept override { return Op::kName; }
  const char *getPluginVersion() const noexcept override { return kVersion; }
  const char *getPluginNamespace() const noexcept override { return kNamespace; }

  int32_t configurePlugin(const Bounds *in, int32_t inputs, const Bounds *,
                          int32_t outputs) noexcept override {
    for (const auto bound : {&Bounds::min, &Bounds::opt, &Bounds::max}) {
      Sizes sizes;
      const Shapes shapes = Shapes::of_dynamic(in, inputs, bound);
      if (const int32_t code = answer(node_.check(shapes.of, inputs, nullptr, outputs, &sizes)))
        return code;
    }
    return 0;
  }
  int32_t getOutputDataTypes(nvinfer1::DataType *types, int32_t outputs, const nvinfer1::DataType *in,
                             int32_t inputs) const noexcept override {
    const Signature signature = node_.op.signature();
    if (inputs != signature.input_count || outputs != signature.output_count)
      return answer(bad("%s: got %d inputs and %d outputs, expected %d and %d", Op::kName, inputs, outputs,
                        signature.input_count, signature.output_count));
    for (int32_t i = 0; i < outputs; ++i)
      types[i] = output_type(node_.op, i, in);
    return 0;
  }
  int32_t getOutputShapes(const nvinfer1::DimsExprs *in, int32_t inputs, const nvinfer1::DimsExprs *, int32_t,
                          nvinfer1::DimsExprs *out, int32_t outputs,
                          nvinfer1::IExprBuilder &) noexcept override {
    Sizes sizes;
    const Shapes shapes(inputs, [&](int32_t i) { return Shapes::from(in[i]); });
    const Report report = node_.check(shapes.of, inputs, nullptr, outputs, &sizes);
    for (int32_t i = 0; report.ok() && i < outputs; ++i)
      out[i] = output_shape(node_.op, i, in);
    return answer(report);
  }
  bool supportsFormatCombination(int32_t position, const Bounds *descs, int32_t inputs,
                                 int32_t outputs) noexcept override {
    return supports_formats(node_.op, position, inputs, outputs,
                            [&](int32_t i) -> const Desc & { return descs[i].desc; });
  }
  int32_t getNbOutputs() const noexcept override { return node_.op.signature().output_count; }
  size_t getWorkspaceSize(const Bounds *in, int32_t inputs, const Bounds *,
                          int32_t outputs) const noexcept override {
    size_t bytes = 0;
    for (const auto bound : {&Bounds::min, &Bounds::opt, &Bounds::max}) {
      Sizes sizes;
      const Shapes shapes = Shapes::of_dynamic(in, inputs, bound);
      if (answer(node_.check(shapes.of, inputs, nullptr, outputs, &sizes)) == 0 &&
          sizes.known(node_.op.signature()))
        bytes = std::max(bytes, static_cast<size_t>(node_.op.workspace(sizes)));
    }
    return bytes;
  }
  // What tells two nodes apart, beside shapes and formats: without it no timing would be cached.
  const char *getTimingCacheID() noexcept override { return id_; }
  const char *getMetadataString() noexcept override { return id_; }

  int32_t onShapeChange(const Desc *in, int32_t inputs, const Desc *out, int32_t outputs) noexcept override {
    if (const int32_t code = answer(check_shapes(node_, in, inputs, out, outputs)))
      return code;
    return answer(node_.prepare_device());
  }
  int32_t enqueue(const Desc *in, const Desc *out, const void *const *inputs, void *const *outputs,
                  void *workspace, cudaStream_t stream) noexcept override {
    return answer(enqueue_node(node_, in, out, inputs, outputs, workspace, stream));
  }
  nvinfer1::IPluginV3 *attachToContext(nvinfer1::IPluginResourceContext *) noexcept override {
    Node<Op> node{node_.op, {}, false}; // a context may run on another device than its engine was built on
    return answer(node.prepare_device()) == 0 ? new (std::nothrow) PluginV3(node) : nullptr;
  }
  const nvinfer1::PluginFieldCollection *getFieldsToSerialize() noexcept override {
    return &fields_.collection;
  }

private:
  void write_id() {
    size_t at = 0;
    Op::visit(node_.op, [&](const char *name, const auto &value) {
      const auto count = std::snprintf(id_ + at, sizeof id_ - at, "%s%s=%.9g", at ? " " : "", name,
                                       static_cast<double>(value));
      at = std::min(at + static_cast<size_t>(count), sizeof id_ - 1);
    });
  }

  Node<Op> node_;
  Fields<Op> fields_; // points into node_
  char id_[192] = "";
};

template <class Op> class CreatorV3 final : public nvinfer1::IPluginCreatorV3One {
public:
  nvinfer1::IPluginV3 *createPlugin(const char *, const nvinfer1::PluginFieldCollection *fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    Node<Op> node;
    if (answer(read_fields(fields, &node.op)) != 0)
      return nullptr;
    return new (std::nothrow) PluginV3<Op>(node);
  }
  const nvinfer1::PluginFieldCollection *getFieldNames() noexcept override { return &fields_.collection; }
  const char *getPluginName() const noexcept override { return Op::kName; }
  const char *getPluginVersion() const noexcept override { return kVersion; }
  const char *getPluginNamespace() const noexcept override { return kNamespace; }

private:
  Fields<Op> fields_{Op{}, false};
};

using CreatorInterface = nvinfer1::IPluginCreatorInterface;
template <class Op> using Creator = CreatorV3<Op>;

} // namespace mimamba

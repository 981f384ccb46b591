// IPluginV2DynamicExt for TensorRT 8.6, for tests only: 8.6 is the one full
// TensorRT that comes from the Python package index, and so the one that proves
// parser, file and kernels together on any machine with a GPU.
#include <cstdio>
#include <new>

#include "adapter.h"

namespace mimamba {

template <class Op> class PluginV2 final : public nvinfer1::IPluginV2DynamicExt {
  using Desc = nvinfer1::PluginTensorDesc;
  using Bounds = nvinfer1::DynamicPluginTensorDesc;

public:
  explicit PluginV2(const Node<Op> &node) : node_(node) {}

  nvinfer1::IPluginV2DynamicExt *clone() const noexcept override {
    return new (std::nothrow) PluginV2(node_);
  }
  nvinfer1::DimsExprs getOutputDimensions(int32_t output, const nvinfer1::DimsExprs *in, int32_t inputs,
                                          nvinfer1::IExprBuilder &) noexcept override {
    Sizes sizes;
    const Shapes shapes(inputs, [&](int32_t i) { return Shapes::from(in[i]); });
    const Report report = node_.check(shapes.of, inputs, nullptr, getNbOutputs(), &sizes);
    return answer(report) == 0 ? output_shape(node_.op, output, in) : nvinfer1::DimsExprs{-1, {}};
  }
  bool supportsFormatCombination(int32_t position, const Desc *descs, int32_t inputs,
                                 int32_t outputs) noexcept override {
    return supports_formats(node_.op, position, inputs, outputs,
                            [&](int32_t i) -> const Desc & { return descs[i]; });
  }
  // Called at build time and before the first enqueue of a shape; it cannot
  // refuse, enqueue can.
  void configurePlugin(const Bounds *, int32_t, const Bounds *, int32_t) noexcept override {
    answer(node_.prepare_device());
  }
  size_t getWorkspaceSize(const Desc *in, int32_t inputs, const Desc *,
                          int32_t outputs) const noexcept override {
    Sizes sizes;
    if (answer(node_.check(Shapes::of_descs(in, inputs).of, inputs, nullptr, outputs, &sizes)) != 0 ||
        !sizes.known(node_.op.signature()))
      return 0;
    return static_cast<size_t>(node_.op.workspace(sizes));
  }
  int32_t enqueue(const Desc *in, const Desc *out, const void *const *inputs, void *const *outputs,
                  void *workspace, cudaStream_t stream) noexcept override {
    return answer(enqueue_node(node_, in, out, inputs, outputs, workspace, stream));
  }
  nvinfer1::DataType getOutputDataType(int32_t output, const nvinfer1::DataType *in,
                                       int32_t) const noexcept override {
    return output_type(node_.op, output, in);
  }
  const char *getPluginType() const noexcept override { return Op::kName; }
  const char *getPluginVersion() const noexcept override { return kVersion; }
  const char *getPluginNamespace() const noexcept override { return kNamespace; }
  void setPluginNamespace(const char *) noexcept override {}
  int32_t getNbOutputs() const noexcept override { return node_.op.signature().output_count; }
  int32_t initialize() noexcept override { return answer(node_.prepare_device()); }
  void terminate() noexcept override {}
  size_t getSerializationSize() const noexcept override { return sizeof(Op); }
  void serialize(void *buffer) const noexcept override { std::memcpy(buffer, &node_.op, sizeof(Op)); }
  void destroy() noexcept override { delete this; }

private:
  Node<Op> node_;
};

template <class Op> class CreatorV2 final : public nvinfer1::IPluginCreator {
public:
  nvinfer1::IPluginV2DynamicExt *
  createPlugin(const char *, const nvinfer1::PluginFieldCollection *fields) noexcept override {
    Node<Op> node;
    return make(node, read_fields(fields, &node.op));
  }
  nvinfer1::IPluginV2DynamicExt *deserializePlugin(const char *, const void *data,
                                                   size_t bytes) noexcept override {
    Node<Op> node;
    if (bytes != sizeof(Op))
      return make(node, bad("%s: %zu bytes to read it from, expected %zu", Op::kName, bytes, sizeof(Op)));
    std::memcpy(&node.op, data, bytes);
    return make(node, node.op.check());
  }
  const nvinfer1::PluginFieldCollection *getFieldNames() noexcept override { return &fields_.collection; }
  const char *getPluginName() const noexcept override { return Op::kName; }
  const char *getPluginVersion() const noexcept override { return kVersion; }
  const char *getPluginNamespace() const noexcept override { return kNamespace; }
  void setPluginNamespace(const char *) noexcept override {}

private:
  static nvinfer1::IPluginV2DynamicExt *make(const Node<Op> &node, const Report &report) {
    return answer(report) == 0 ? new (std::nothrow) PluginV2<Op>(node) : nullptr;
  }
  Fields<Op> fields_{Op{}, false};
};

namespace {
nvinfer1::ILoggerFinder *logger_finder = nullptr;
} // namespace

void log_error(const char *text) noexcept {
  nvinfer1::ILogger *const logger = logger_finder ? logger_finder->findLogger() : nullptr;
  if (logger)
    logger->log(nvinfer1::ILogger::Severity::kERROR, text);
  else
    std::fprintf(stderr, "[mimamba] %s\n", text);
}

std::optional<Dtype> dtype_of(nvinfer1::DataType type) noexcept {
  switch (type) {
  case nvinfer1::DataType::kFLOAT:
    return Dtype::kFloat32;
  case nvinfer1::DataType::kHALF:
    return Dtype::kFloat16;
  default:
    return std::nullopt;
  }
}

bool read_field(const nvinfer1::PluginField &field, int32_t *value) noexcept {
  if (field.type != nvinfer1::PluginFieldType::kINT32)
    return false;
  std::memcpy(value, field.data, sizeof *value);
  return true;
}

} // namespace mimamba

#define MIMAMBA_EXPORT extern "C" __attribute__((visibility("default")))

MIMAMBA_EXPORT nvinfer1::IPluginCreator *const *getPluginCreators(int32_t &count) {
  static mimamba::CreatorV2<mimamba::ScanOp> scan;
  static mimamba::CreatorV2<mimamba::MstbOp> mstb;
  static nvinfer1::IPluginCreator *const all[] = {&scan, &mstb};
  count = 2;
  return all;
}

MIMAMBA_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder *finder) { mimamba::logger_finder = finder; }
